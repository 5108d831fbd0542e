"""The cost model: its parts with numbers known beforehand, and how its errors are told."""

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.scheduling import images, study
from measurebench.core.specs import ModelSpec
from measurebench.datasets import load_dataset
from measurebench.engine.events import BlockTime
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Part, Task, chosen_measures, pairs_of
from measurebench.engine.scheduling.blocks import blocks_of_all, n_units
from measurebench.engine.scheduling.costs import CostModel
from measurebench.engine.scheduling.equivalents import forward_equivalents
from measurebench.engine.scheduling.flops import architecture_key, flops_of, forward_flops
from measurebench.models import resolve
from measurebench.store.costs import prediction_errors
from measurebench.store.folder import ResultsFolder
from tests.engine.scheduling.test_queue import CONFIG


@pytest.mark.parametrize(
    ("cost", "passes"),
    [
        ("F", 1),
        ("0", 0),
        ("shared", 0),
        ("shared + 2F", 2),
        ("shared (F+B) + F", 1),  # what is shared is counted once for all
        ("900(2F+B)", 900 * 4),
        ("about 10^4 F", 10_000),
        ("30(F+B)+12F", 30 * 3 + 12),
        ("F+2.5(F+B)", 8.5),
        ("F+KB", 21),
        ("30 products with H (about 4 (F+B) each) on the first 128 examples", 30 * 4 * 3 * 0.5),
        ("10 x (10(F+B)+F) on the first 128 examples", 155),
        ("one eigenvalue problem per layer", 0),
        ("unknown", 30),
    ],
)
def test_costs_in_words_are_read_as_passes(cost: str, passes: float) -> None:
    assert forward_equivalents(cost, 256) == passes


def test_operations_are_those_of_the_textbook() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 64, 10))
    assert forward_flops(network, torch.zeros(1, 3, 8, 8)) == 2 * (64 * 4 * 27 + 256 * 10)


def test_counting_neither_changes_a_network_nor_draws_random_numbers() -> None:
    class Restless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls, self.layer = 0, nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return self.layer(x.flatten(1)) + torch.rand(1)

    network, state = Restless(), torch.random.get_rng_state()
    assert forward_flops(network, torch.zeros(1, 1, 2, 2)) == 16
    assert network.calls == 0
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_network_that_cannot_be_counted_has_no_number_and_is_tried_once() -> None:
    calls = []

    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(x)
            raise RuntimeError("no")

    spec = ModelSpec("m", "local", "m.pt", architecture="broken.py:net")
    assert [flops_of(spec, Broken(), torch.zeros(1, 1)) for _ in range(2)] == [None, None]
    assert len(calls) == 1


def test_a_part_costs_its_share_and_a_network_of_twice_the_operations_twice_as_much() -> None:
    options, data = RunOptions("arrays:x.npz", train_examples=1000, test_examples=1000, device="cpu"), images(1000)
    small, large = (ModelSpec(name, "local", name, architecture=name) for name in ("small", "large"))
    entries = [{"architecture_key": architecture_key(spec), "flops": n} for spec, n in ((small, 1e6), (large, 2e6))]
    earlier = [{"device": "cpu", "kind": "attack", "work": 1e9, "seconds": 1.2}]  # 10^9 in a second, and 0.2 besides
    costs = CostModel(options, data, entries, earlier)

    def seconds(spec: ModelSpec, stop: int) -> float:
        part = Part("autoattack_accuracy", "test", 0, stop)
        return costs.seconds(Task(spec, "", CONFIG, (), part=part)) - 0.2

    passes = 10_000 * (0.4 + 0.6 * 0.05)  # 40 % withstand; the others cost a twentieth
    assert seconds(small, 100) == pytest.approx(100 * passes * 1e6 / 1e9)
    assert seconds(small, 200) == pytest.approx(2 * seconds(small, 100))
    assert seconds(large, 100) == pytest.approx(2 * seconds(small, 100))


def test_lines_of_costs_that_are_told_badly_do_not_count() -> None:
    options, data = RunOptions("arrays:x.npz", device="cpu"), images(10)
    good = {"device": "cpu", "kind": "attack", "work": 1e9, "seconds": 1.2}
    bad = [{"device": "cpu"}, *(good | {name: odd} for name in ("work", "seconds") for odd in ("1", None, True, -1.0))]
    task = Task(ModelSpec("m", "local", "m.pt"), "", CONFIG, (("pgd_accuracy", "test"),))
    assert CostModel(options, data, (), [*bad, good]).seconds(task) == CostModel(options, data, (), [good]).seconds(
        task
    )


def test_without_anything_on_record_the_size_of_the_file_decides(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(bytes(4000))
    (tmp_path / "b.pt").write_bytes(bytes(8000))
    options = RunOptions("arrays:x.npz", device="cpu")
    costs = CostModel(options, images(10))
    a, b = (
        costs.seconds(Task(ModelSpec(n, "local", str(tmp_path / n)), "", CONFIG, (("pgd_accuracy", "test"),))) - 0.2
        for n in ("a.pt", "b.pt")
    )
    assert b == pytest.approx(2 * a)


def test_small_models_of_small_images_are_no_work_for_a_second_process() -> None:
    specs = resolve(["digits:plain-at-10-b64-s0-last", "digits:resnet-at-10-b64-s0-last"])
    options = RunOptions("digits", attacks="pgd", device="cpu")
    data = load_dataset("digits")
    pairs = tuple((item.info.id, split) for item, split in pairs_of(chosen_measures(options), options))
    tasks = [Task(spec, "", CONFIG, pairs) for spec in specs]
    costs = CostModel(options, data)
    assert sum(map(costs.seconds, tasks)) < 60
    assert n_units(tasks, blocks_of_all(tasks, options, data), costs.seconds) == 2


def test_predictions_are_told_beside_what_blocks_took(tmp_path: Path) -> None:
    blocks, costs = study(1, 1000)
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        for block, factor in zip(blocks, (2.0, 0.5, 4.0), strict=True):
            cost = costs.compared(BlockTime(block, 1.0, factor * costs.seconds(block)))
            folder.costs.append(cost.to_json())
    attack, measures = prediction_errors(tmp_path / "out")
    assert (attack.kind, attack.n_blocks, attack.bias) == ("attack", 1, pytest.approx(4.0))
    assert (measures.kind, measures.n_blocks, measures.bias) == ("measures", 2, pytest.approx(1.25))
    assert measures.typical_factor == pytest.approx(2.0)
    assert attack.seconds == pytest.approx(4 * attack.predicted_seconds)
