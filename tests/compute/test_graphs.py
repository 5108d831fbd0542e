"""What decides whether a pass is replayed, with a graph that repeats the pass itself; tests/gpu replays real ones."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from measurebench.compute import graphs
from measurebench.compute.graphs import SWITCH, Replayed, bucket, graphs_wanted


class Repeated:
    """A stand-in for a captured graph: it holds the batch's memory as one does, and computes in place of replaying."""

    made: list[tuple[int, bool]]
    off = 0.0

    def __init__(self, network: Any, points: Tensor, size: int, _: Any, gradients: bool) -> None:
        self.network, self.points = network, torch.zeros(size, *points.shape[1:])
        self.made.append((size, gradients))

    def run(self, points: Tensor) -> Tensor:
        self.points[: len(points)] = points
        self.leaf = self.points.clone().requires_grad_()
        with torch.enable_grad():
            self.logits = self.network(self.leaf)
        return self.logits[: len(points)].detach() + self.off

    def back(self, slope: Tensor) -> Tensor:
        whole = torch.zeros_like(self.logits)
        whole[: len(slope)] = slope
        return torch.autograd.grad(self.logits, self.leaf, whole)[0][: len(slope)]


@pytest.fixture(autouse=True)
def _no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    Repeated.made, Repeated.off = [], 0.0
    monkeypatch.setattr(graphs, "graphs_wanted", lambda _: True)
    monkeypatch.setattr(graphs, "_Graph", Repeated)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).requires_grad_(False)


def test_buckets_hold_their_batch_and_are_at_most_a_quarter_larger() -> None:
    sizes = [bucket(n) for n in range(1, 3000)]
    assert all(n <= size <= max(16, 1.25 * n + 4) for n, size in enumerate(sizes, start=1))
    assert len(set(sizes)) < 35
    assert sizes == sorted(sizes)


def test_the_fourth_pass_of_a_size_is_replayed_with_the_same_numbers() -> None:
    replayed, plain = Replayed(network()), network()
    for turn in range(6):
        points = torch.randn(10, 5, generator=torch.Generator().manual_seed(turn))
        assert torch.allclose(replayed.logits(points), plain(points))
        assert Repeated.made == ([(16, False)] if turn >= 3 else [])


def test_gradients_are_those_of_the_pass_whatever_the_batch() -> None:
    replayed, plain = Replayed(network()), network()
    for n in (10, 10, 9, 12, 11, 16):
        points = torch.randn(n, 5, generator=torch.Generator().manual_seed(n))
        logits, back = replayed.forward(points)
        slope = torch.cos(logits)
        leaf = points.clone().requires_grad_()
        (expected,) = torch.autograd.grad(plain(leaf), leaf, slope)
        assert torch.allclose(back(slope), expected)
    assert Repeated.made == [(16, True)]


def test_a_network_that_changes_from_call_to_call_is_not_replayed() -> None:
    Repeated.off = 0.1
    replayed, points = Replayed(network()), torch.ones(4, 5)
    found = [replayed.logits(points) for _ in range(8)]
    assert len(Repeated.made) == 1
    assert all(torch.equal(logits, found[0]) for logits in found)


def test_a_capture_that_fails_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def failing(*_: Any) -> None:
        tried.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graphs, "_Graph", failing)
    replayed, points = Replayed(network()), torch.ones(4, 5)
    found = [replayed.logits(points) for _ in range(8)]
    assert tried == [1]
    assert all(torch.equal(logits, found[0]) for logits in found)


def test_without_leave_nothing_is_captured() -> None:
    replayed = Replayed(network(), graphs=False)
    for _ in range(8):
        replayed.logits(torch.ones(4, 5))
    assert Repeated.made == []


def test_logits_that_do_not_depend_on_the_points_have_no_gradient() -> None:
    replayed = Replayed(lambda points: torch.ones(len(points), 3), graphs=False)
    logits, back = replayed.forward(torch.ones(4, 5))
    assert torch.equal(back(torch.ones_like(logits)), torch.zeros(4, 5))


def test_a_cpu_has_no_graphs_and_a_gpu_has_a_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnCard:
        is_cuda = True

    assert not graphs_wanted(torch.ones(2))
    assert graphs_wanted(OnCard())  # type: ignore[arg-type]
    monkeypatch.setenv(SWITCH, "0")
    assert not graphs_wanted(OnCard())  # type: ignore[arg-type]


def test_a_graph_whose_gradients_are_not_the_pass_s_own_is_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Turned(Repeated):
        def back(self, slope: Tensor) -> Tensor:
            return -super().back(slope)

    monkeypatch.setattr(graphs, "_Graph", Turned)
    replayed, plain = Replayed(network()), network()
    for _ in range(6):
        points = torch.ones(4, 5).requires_grad_()
        logits, back = replayed.forward(points.detach())
        (expected,) = torch.autograd.grad(plain(points), points, torch.ones_like(logits))
        assert torch.allclose(back(torch.ones_like(logits)), expected)
    assert Repeated.made == [(16, True)]
    assert not replayed.allowed


def test_a_gradient_does_not_import_sympy() -> None:
    code = (
        "import sys, torch; from measurebench.compute.graphs import Replayed;"
        "logits, back = Replayed(torch.nn.Linear(4, 3), False).forward(torch.rand(5, 4));"
        "assert back(torch.ones_like(logits)).abs().sum() > 0; sys.exit('sympy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
