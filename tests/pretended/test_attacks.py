"""Attacks on the pretended GPU: the CPU's images to the last bit, and steps that never make the host wait."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from measurebench.attacks import noise
from measurebench.attacks.perform import perform
from measurebench.attacks.pgd import PGD
from measurebench.attacks.registry import all_attacks
from measurebench.attacks.standard import StandardSettings, standard_attack
from measurebench.attacks.stock import run_stock
from measurebench.checks import check_model
from measurebench.checks.masking import robustness_lines
from measurebench.checks.results import Effort
from measurebench.core.threat import ThreatModel
from tests.pretended import counting, pretended_gpu
from tests.pretended.counts import Counts
from tests.pretended.subjects import THREATS, attack_context, examples, network, on_both, same, short_autoattack

N = 5

NUMBERS: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda keys: noise.uniform(keys, (3, 2), 0, "stream"),
    "normal": lambda keys: noise.normal(keys, (3, 2), 0, "stream"),
    "integers": lambda keys: noise.integers(keys, 7, 0, "stream"),
    "float64": lambda keys: noise.uniform(keys, (3,), 0, "stream", dtype=torch.float64),
    "content keys": lambda keys: noise.content_keys(noise.uniform(keys, (4, 4), 1)),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_keyed_noise_is_the_same_on_every_device(name: str) -> None:
    plain, there = on_both(lambda device: NUMBERS[name](torch.arange(50, device=device)))
    assert there.is_cuda
    assert same(plain, there)


def attack(device: str, norm: str, **settings: Any) -> Any:
    """Return the audited outcome of PGD with these settings."""
    net = network("preactivation")
    images, labels = examples(net, N)
    target = settings.pop("target", None)
    given = attack_context(device, norm, N, target)
    return perform(PGD(**settings), net.to(device), images.to(device), labels.to(device), given)


@pytest.mark.parametrize("norm", THREATS)
@pytest.mark.parametrize("settings", [{}, {"target": 3}, {"restarts": 2}, {"start": False}], ids=str)
def test_pgd_and_its_audit_agree_with_the_cpu(norm: str, settings: dict[str, Any]) -> None:
    plain, there = on_both(lambda device: attack(device, norm, steps=3, **settings))
    for name in ("adversarial", "correct", "robust", "distances", "violations"):
        assert same(getattr(plain, name), getattr(there, name)), name


def steps_of_pgd(steps: int, norm: str) -> tuple[int, int, int]:
    """Return operations, synchronisations and uploads of PGD with so many steps."""
    net = network("convolutional")
    images, labels = examples(net, N)
    with pretended_gpu():
        moved, given = net.to("cuda"), attack_context("cuda", norm, N)
        images, labels = images.to("cuda"), labels.to("cuda")
        with counting() as counts:
            PGD(steps=steps)(moved, images, labels, given)
    return counts.operations, counts.synchronisations, counts.uploads


@pytest.mark.parametrize("norm", THREATS)
def test_a_step_of_pgd_never_makes_the_host_wait_and_issues_few_operations(norm: str) -> None:
    (few, waits, uploads), (many, more_waits, more_uploads) = steps_of_pgd(2, norm), steps_of_pgd(6, norm)
    assert more_waits == waits
    assert more_uploads == uploads
    # The network takes about 30 operations forward and back; the step itself, projection included, as many again.
    assert (many - few) / 4 <= 60


@pytest.mark.parametrize("name", [name for name in all_attacks() if name != "autoattack-stock"])
def test_every_registered_attack_agrees_with_the_cpu(name: str) -> None:
    def outcome(device: str) -> Tensor:
        net = network("convolutional")
        images, labels = examples(net, N)
        given = attack_context(device, "Linf", N)
        with short_autoattack():
            attack = all_attacks()[name]
            return perform(attack, net.to(device), images.to(device), labels.to(device), given).adversarial

    assert same(*on_both(outcome))


def passes_of_engine(attack: str, norm: str, steps: int) -> Counts:
    """Return what one attack of the standard evaluation asks of the device for steps that break nothing."""
    net = network("convolutional").eval().requires_grad_(False)
    images = torch.rand(N, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    labels, tiny = net(images).argmax(1), ThreatModel.parse(norm, "1e-5")
    numbers = {"apgd_steps": steps, "fab_steps": steps, "square_queries": steps}
    settings = StandardSettings(attacks=(attack,), candidates=1, targets=2, **numbers)
    with pretended_gpu():
        place = [part.to("cuda") for part in (net, images, labels, torch.arange(N))]
        with counting() as counts:
            result = standard_attack(
                *place[:3], tiny, keys=place[3], seed=0, n_classes=10, settings=settings, search="reference"
            )
    assert int(result.n_forward.max()) > steps
    return counts


# Waits: the pool looks at every fourth pass which rows have ended; FAB needs to know which rows want a verdict, and
# looks once or twice whether its projections have arrived. Operations: the network's 20 and the attack's own.
@pytest.mark.parametrize(
    ("attack", "norm", "waits", "operations"),
    [
        ("apgd-ce", "Linf", 0.25, 108),
        ("apgd-ce", "L2", 0.25, 130),
        ("apgd-t", "Linf", 0.25, 135),
        ("apgd-t", "L2", 0.25, 155),
        ("fab-t", "Linf", 2.25, 275),
        ("fab-t", "L2", 3.25, 320),
        ("square", "Linf", 0.25, 58),
        ("square", "L2", 0.25, 140),
    ],
)
def test_a_pass_of_the_engine_rarely_makes_the_host_wait(attack: str, norm: str, waits: float, operations: int) -> None:
    few, many = passes_of_engine(attack, norm, 8), passes_of_engine(attack, norm, 24)
    assert many.uploads == few.uploads
    # A search of FAB whose verdict comes with a gradient of no use takes a pass more than it has steps.
    back = many.by_operation["convolution_backward"] - few.by_operation["convolution_backward"]
    passes = 16 if attack == "square" else back / 3
    assert 16 <= passes <= 20
    assert (many.synchronisations - few.synchronisations) / passes <= waits
    assert (many.operations - few.operations) / passes <= operations


def test_no_product_of_the_engine_loses_digits_where_a_user_allows_it() -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        counts = passes_of_engine("fab-t", "Linf", 3)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert not counts.by_reduced


def stock(device: str, norm: str, at_once: int = 64) -> Any:
    """Return pyautoattack's result for a few images."""
    net = network("convolutional")
    images, labels = examples(net, N)
    with short_autoattack():
        given = attack_context(device, norm, N)
        return run_stock(net.to(device), images.to(device), labels.to(device), given, at_once=at_once)


@pytest.mark.parametrize("norm", THREATS)
def test_autoattack_agrees_with_the_cpu(norm: str) -> None:
    plain, there = on_both(lambda device: stock(device, norm))
    assert same(plain.adversarial, there.adversarial)
    assert plain.n_passes == there.n_passes


def test_autoattack_in_parts_that_are_computed_again_agrees_with_the_cpu() -> None:
    plain, there = on_both(lambda device: stock(device, "Linf", at_once=2))
    assert same(plain.adversarial, there.adversarial)


@pytest.mark.filterwarnings("ignore:CUDA reports that you have")
def test_autoattack_leaves_the_other_cards_alone() -> None:
    net = network("convolutional")
    images, labels = examples(net, N)
    with pretended_gpu(n_devices=3), short_autoattack(), counting() as counts:
        run_stock(net.to("cuda"), images.to("cuda"), labels.to("cuda"), attack_context("cuda", "Linf", N))
    touched = {name for name in counts.by_synchronisation if name.startswith("random state")}
    assert len(touched) == 1


def test_the_hints_at_gradient_masking_are_the_same_on_the_gpu() -> None:
    def lines(device: str) -> list[Any]:
        net = network("convolutional")
        images, labels = examples(net, N)
        right = net(images).argmax(1) == labels
        with short_autoattack():
            effort = Effort(10, N, True, device)
            return robustness_lines(net.to(device), images[right], labels[right], THREATS["Linf"], 10, effort)

    plain, there = on_both(lines)
    assert plain == there
    assert len(plain) > 2


def checked(device: str, manifest: Any, images_file: Any) -> Any:
    return check_model(f"{manifest}#net0", f"arrays:{images_file}", attack_examples=4, device=device)


def test_a_whole_check_of_a_model_is_the_same_on_the_gpu(manifest, images_file) -> None:
    plain, there = on_both(lambda device: checked(device, manifest, images_file))
    assert plain == there
    assert plain.is_sound


def test_the_gallery_is_the_same_on_the_gpu(manifest, images_file) -> None:
    from dataclasses import astuple, replace

    from measurebench.gallery import attack_images, dataset_subjects
    from measurebench.models import load_model

    def pictures(device: str) -> list[Any]:
        loaded = load_model(f"{manifest}#net0")
        subjects = dataset_subjects(loaded, count=3, dataset=f"arrays:{images_file}")
        moved = replace(loaded, network=loaded.network.to(device))
        return attack_images(moved, subjects, steps=3)

    plain, there = on_both(pictures)
    for a, b in zip(plain, there, strict=True):
        for one, other in zip(astuple(a), astuple(b), strict=True):
            assert str(one) == str(other)


class Counted(nn.Module):
    """A network that takes its mean from the host at every pass, with the code of RobustBench's RobustArch networks."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.mean, self.std = torch.full((1, 1, 1), 0.25), torch.full((1, 1, 1), 0.5)
        self.mean_cuda = self.std_cuda = None

    def forward(self, images: Tensor) -> Tensor:
        if images.is_cuda:
            self.mean_cuda = self.mean.to(images.device)
            self.std_cuda = self.std.to(images.device)
            out = (images - self.mean_cuda) / self.std_cuda
        else:
            out = (images - self.mean) / self.std
        return self.inner(out)


@pytest.mark.parametrize(("mended", "uploads"), [(False, 6), (True, 0)])
def test_a_network_that_copies_its_mean_from_the_host_is_mended_at_loading(mended: bool, uploads: int) -> None:
    from measurebench.models.robustbench.loading import move_constants_along

    images, _ = examples(network("convolutional"), N)
    plain = Counted(network("convolutional"))
    expected, keys = plain(images), list(plain.state_dict())
    with pretended_gpu():
        if mended:
            move_constants_along(plain)
        net, there = plain.to("cuda"), images.to("cuda")
        with counting() as counts:
            found = [net(there) for _ in range(3)]
    assert counts.uploads == uploads
    assert all(same(expected, logits) for logits in found)
    assert list(net.state_dict()) == keys
