import logging
import sys

import pytest
import torch
from pyautoattack import AutoAttack, checks
from torch import nn

from measurebench.attacks.ascent import NONFINITE_GRADIENTS
from measurebench.attacks.audit import AttackOutcome
from measurebench.attacks.perform import perform
from measurebench.attacks.protocol import AttackContext
from measurebench.attacks.registry import find_attack
from measurebench.attacks.stock import run_stock
from measurebench.core.digests import seed_from
from measurebench.core.errors import ModelError
from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext, MeasureSettings

THREAT = ThreatModel.parse("Linf", "1/50")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 5)).eval()


@pytest.fixture(scope="module")
def examples(network: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(10, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return images, network(images).argmax(1)


def given(seed: int = 0, n: int = 10, n_classes: int = 5) -> AttackContext:
    return AttackContext(THREAT, torch.arange(n), seed, n_classes=n_classes)


@pytest.mark.usefixtures("short_autoattack")
def test_it_is_what_stock_pyautoattack_finds_in_its_own_batches(network: nn.Module, examples: tuple) -> None:
    images, labels = examples
    ours = find_attack("autoattack-stock:batch=4")(network, images, labels, given(3))
    seed = seed_from("autoattack-stock", 3, "test") % 2**31
    stock = AutoAttack(network, eps=THREAT.radius, norm="Linf", seed=seed, device="cpu")
    stock.verbose = False
    stock.apgd_targeted.n_target_classes = stock.fab.n_target_classes = 4
    expected, _ = stock.run_standard_evaluation(images, labels, batch_size=4)
    assert torch.equal(ours.adversarial, expected)
    assert ours.n_passes > 50


@pytest.mark.usefixtures("short_autoattack")
def test_memory_that_runs_out_makes_the_parts_smaller_and_changes_no_verdict(
    network: nn.Module, examples: tuple
) -> None:
    images, labels = examples
    sizes: list[int] = []

    class Small(nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            sizes.append(len(batch))
            if len(batch) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return network(batch)

    def outcome(model: nn.Module) -> tuple[AttackOutcome, int]:
        settings = MeasureSettings(THREAT, attacked={"autoattack-stock": 10})
        context = MeasureContext(model, images, labels, settings, batch_size=2)
        return context.outcome("autoattack-stock"), context.n_classes

    small, whole = outcome(Small()), outcome(network)
    assert max(sizes[sizes.index(10) + 1 :]) == 5
    assert torch.equal(small[0].robust, whole[0].robust)
    assert small[0].n_passes == whole[0].n_passes
    torch.testing.assert_close(small[0].adversarial, whole[0].adversarial, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("short_autoattack")
def test_nothing_of_it_leaks(network: nn.Module, examples: tuple, caplog: pytest.LogCaptureFixture) -> None:
    images, labels = examples
    torch.manual_seed(5)
    before, tracer = torch.get_rng_state(), sys.gettrace()
    checks.funcs["grad"] = 7
    with caplog.at_level(logging.WARNING):
        run_stock(network, images[:2], labels[:2], given(n=2))
    assert torch.equal(torch.get_rng_state(), before)
    assert sys.gettrace() is tracer
    assert set(checks.funcs.values()) == {0}
    assert logging.getLogger("auto-attack").handlers == []
    assert caplog.records == []


def test_a_randomised_network_is_flagged_as_data(examples: tuple) -> None:
    class Noisy(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = images.flatten(1)[:, :5]
            return logits + torch.randn_like(logits)

    images, labels = examples
    result = run_stock(Noisy(), images[:2], labels[:2], given(n=2))
    assert any("randomized defense" in flag for flag in result.flags)


def test_three_classes_are_too_few(examples: tuple) -> None:
    images, labels = examples
    with pytest.raises(ModelError, match="expected at least 4 classes"):
        run_stock(nn.Flatten(), images, labels, given(n_classes=3))


def test_other_versions_are_other_attacks(network: nn.Module, examples: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(self: AutoAttack, images: torch.Tensor, labels: torch.Tensor, **_: object) -> tuple:
        ran.append(self.version)
        return images, labels

    monkeypatch.setattr(AutoAttack, "run_standard_evaluation", run)
    for version in ("standard", "plus", "rand"):
        find_attack(f"autoattack-stock:version={version}")(network, *examples, given())
    assert ran == ["standard", "plus", "rand"]
    assert find_attack("autoattack-stock:version=rand").info.id == "autoattack-stock:version=rand"
    assert find_attack("autoattack-stock:version=rand").info.counted_by == "autoattack"


@pytest.mark.usefixtures("short_autoattack")
def test_weights_get_no_gradients(network: nn.Module, examples: tuple) -> None:
    images, labels = examples
    network.zero_grad()
    assert all(parameter.requires_grad for parameter in network.parameters())
    run_stock(network, images[:2], labels[:2], given(n=2))
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


@pytest.mark.usefixtures("short_autoattack")
def test_gradients_that_are_not_finite_do_not_make_a_network_robust(network: nn.Module, examples: tuple) -> None:
    class BlackRoot(nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return network(batch.sqrt().square())

    images, threat = examples[0].clone(), ThreatModel.parse("L2", "3/4")
    images[:, 0, 0, 0] = 0.0
    labels = network(images).argmax(1)
    context = AttackContext(threat, torch.arange(10), n_classes=5)
    attack = find_attack("autoattack-stock")
    plain, masked = (perform(attack, net, images, labels, context) for net in (network, BlackRoot()))
    assert int(plain.robust.sum()) < 10
    assert int(masked.robust.sum()) <= int(plain.robust.sum()) + 1
    assert NONFINITE_GRADIENTS in masked.flags
    assert NONFINITE_GRADIENTS not in plain.flags
