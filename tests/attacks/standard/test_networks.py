"""Planted networks: what a fast search, a coarse head, a fickle network or an odd gradient must not do unseen."""

import pytest
import torch
from torch import Tensor, nn

from measurebench.attacks.standard import StandardResult, StandardSettings, evaluation, networks, standard_attack
from measurebench.attacks.standard.folding import folded
from measurebench.core.threat import Norm, ThreatModel
from tests.attacks.standard.stock import examples, radius_that_splits, small_network

N = 6
STEPS = StandardSettings(apgd_steps=10, fab_steps=4, square_queries=30)
NETWORK = small_network()
IMAGES, LABELS = examples(NETWORK, N)
THREAT = radius_that_splits(NETWORK, IMAGES, LABELS, Norm.LINF)


def attack(network: nn.Module, images: Tensor = IMAGES, settings: StandardSettings = STEPS, **options: object):
    keys = torch.arange(len(images))
    threat = options.pop("threat", THREAT)
    return standard_attack(
        network, images, LABELS[: len(images)], threat, keys=keys, seed=0, n_classes=10, settings=settings, **options
    )


def planted(monkeypatch: pytest.MonkeyPatch, search: object) -> StandardResult:
    """Attack the reference through a search network that is not quite the same."""
    monkeypatch.setattr(evaluation, "search_networks", lambda *_: [("planted", search)])
    return attack(NETWORK)


def shifted(by: float) -> object:
    """Return the network with the label's logit moved: more (robust to look at) or less (broken to look at)."""

    def logits(points: Tensor) -> Tensor:
        nearest = (points[:, None] - IMAGES[None]).flatten(2).norm(dim=2).argmin(1)
        return NETWORK(points).scatter_add(1, LABELS[nearest][:, None], torch.full_like(points[:, :1, 0, 0], by))

    return logits


def margins() -> Tensor:
    logits = NETWORK(IMAGES)
    return logits.gather(1, LABELS[:, None])[:, 0] - logits.scatter(1, LABELS[:, None], -torch.inf).amax(1)


@pytest.mark.parametrize("direction", [-1, 1])
def test_a_search_network_that_errs_neither_breaks_nor_spares(monkeypatch: pytest.MonkeyPatch, direction: int) -> None:
    expected = attack(NETWORK, search="reference")
    by = direction * 0.05 * float(margins().median())
    result = planted(monkeypatch, shifted(by))
    assert result.diagnostics["search_network"] == "planted"
    assert result.diagnostics["margin_difference"] == pytest.approx(abs(by))
    assert torch.equal(result.robust, expected.robust)
    assert (NETWORK(result.adversarial).argmax(1) != LABELS).equal(~result.robust)


def test_near_misses_are_found_by_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    shift = 0.05 * float(margins().median())
    settings = StandardSettings(attacks=("apgd-ce",), apgd_steps=10)
    radii = (ThreatModel.parse("Linf", THREAT.radius * factor) for factor in torch.linspace(0.7, 1.3, 25).tolist())
    for threat in radii:  # until one barely breaks an image, by less than the search network's error
        expected = attack(NETWORK, settings=settings, search="reference", threat=threat)
        if bool(((expected.margins < 0) & (expected.margins > -0.8 * shift)).any()):
            break
    monkeypatch.setattr(evaluation, "search_networks", lambda *_: [("planted", shifted(shift))])
    result = attack(NETWORK, settings=settings, threat=threat)
    assert result.diagnostics["near_misses"] > 0
    assert torch.equal(result.robust, expected.robust)
    monkeypatch.setattr(evaluation, "_NEAR", 0.0)
    assert int(attack(NETWORK, settings=settings, threat=threat).robust.sum()) > int(expected.robust.sum())


def test_a_16_bit_head_fails_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    result = planted(monkeypatch, lambda points: NETWORK(points).bfloat16().double())
    assert result.diagnostics["search_network"] == "reference"
    assert "computes in 16 bits" in result.diagnostics["refused"]


@pytest.mark.parametrize("change", [lambda logits: logits * torch.nan, lambda logits: logits.flip(1)])
def test_a_search_network_of_other_margins_fails_calibration(monkeypatch: pytest.MonkeyPatch, change: object) -> None:
    result = planted(monkeypatch, lambda points: change(NETWORK(points)))
    assert result.diagnostics["search_network"] == "reference"
    assert "margins differ" in result.diagnostics["refused"]


def test_a_network_whose_own_head_has_16_bits_is_flagged() -> None:
    class Coarse(nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            return NETWORK(points).bfloat16().double()

    result = attack(Coarse(), IMAGES[:4], StandardSettings(attacks=("square",), square_queries=3))
    assert any("16 bits only" in flag for flag in result.flags)


def test_16_bit_layers_with_a_float32_head_never_break_what_the_reference_holds() -> None:
    network = small_network().float()
    images, labels = IMAGES.float(), LABELS
    options = {"keys": torch.arange(N), "seed": 0, "n_classes": 10, "settings": STEPS}
    fast = standard_attack(network, images, labels, THREAT, search="fast", **options)
    slow = standard_attack(network, images, labels, THREAT, search="reference", **options)
    assert fast.diagnostics["search_network"] in ("bfloat16 layers, float32 head", "reference")
    assert (network(fast.adversarial).argmax(1) != labels)[~fast.robust].all()
    assert torch.equal(fast.robust, slow.robust)
    half = networks.half_body(network)
    assert half is not None
    assert half(images).dtype == torch.float32
    assert not networks.coarse(half(images))


class Scaled(nn.Module):
    """A network on images whose differences, of a hundredth, are scaled up before it."""

    def __init__(self, network: nn.Module, mean: float = 0.7, std: float = 0.01) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, points: Tensor) -> Tensor:
        return self.network((points - self.mean) / self.std)


def test_images_are_normalised_in_float32_before_16_bit_layers() -> None:
    inner = small_network().float()
    network = Scaled(inner).eval().requires_grad_(False)
    images = 0.7 + 0.01 * (IMAGES.float() - 0.5)  # 16 bits tell only three values of them apart
    exact, half = network(images), networks.half_body(network)
    assert half is not None
    layers = half.get_submodule("network.network.0"), half.get_submodule("network.network.3")
    assert [layer.weight.dtype for layer in layers] == [torch.bfloat16, torch.float32]
    error, careless = (float((half(points) - exact).abs().amax()) for points in (images, images.bfloat16().float()))
    assert error < 0.02 * float(exact.abs().amax()) < careless
    labels = exact.argmax(1)
    splits = radius_that_splits(inner, (images - 0.7) / 0.01, labels, Norm.LINF)
    threat = ThreatModel.parse("Linf", splits.radius * 0.01)
    options = {"keys": torch.arange(N), "seed": 0, "n_classes": 10, "settings": STEPS}
    fast = standard_attack(network, images, labels, threat, search="fast", **options)
    slow = standard_attack(network, images, labels, threat, search="reference", **options)
    assert fast.diagnostics["search_network"] == "bfloat16 layers, float32 head"
    assert torch.equal(fast.robust, slow.robust)
    assert 0 < int(slow.robust.sum()) < N


def test_batch_norm_of_the_images_themselves_stays_in_float32() -> None:
    layers = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    network = nn.Sequential(*layers, nn.Linear(256, 10)).eval()
    half = networks.half_body(network)
    assert half is not None
    types = [module.weight.dtype for module in half.modules() if hasattr(module, "weight")]
    assert types == [torch.float32, torch.bfloat16, torch.float32]  # the second batch norm is folded


def test_a_copy_in_16_bits_that_does_not_run_is_refused() -> None:
    class Own(nn.Module):
        """A network that multiplies by weights of its own, in float32."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(300, 10), nn.Linear(10, 10)
            self.matrix = nn.Parameter(torch.eye(10))

        def forward(self, points: Tensor) -> Tensor:
            return self.last(self.first(points.flatten(1)) @ self.matrix)

    torch.manual_seed(0)
    result = attack(Own().eval().requires_grad_(False), IMAGES.float(), search="fast")
    assert result.diagnostics["search_network"] == "reference"
    assert "does not run: RuntimeError" in result.diagnostics["refused"]


def test_a_network_that_changes_its_mind_is_flagged() -> None:
    class Fickle(nn.Module):
        calls = 0

        def forward(self, points: Tensor) -> Tensor:
            self.calls += 1
            return NETWORK(points) * (-1) ** (self.calls // 3)

    result = attack(Fickle(), IMAGES[:4], StandardSettings(attacks=("apgd-ce",), apgd_steps=3))
    assert any("differ from call to call" in flag for flag in result.flags)


def test_a_network_that_computes_gradients_to_predict_is_flagged() -> None:
    class Dynamic(nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            with torch.enable_grad():
                inner = points.detach().requires_grad_(True)
                torch.autograd.grad(NETWORK(inner).sum(), inner)
            return NETWORK(points)

    result = attack(Dynamic(), IMAGES[:4], StandardSettings(attacks=("square",), square_queries=2))
    assert any("dynamic defense" in flag for flag in result.flags)


def test_probabilities_are_flagged_and_logits_are_not() -> None:
    short = StandardSettings(attacks=("square",), square_queries=2)
    result = attack(nn.Sequential(NETWORK, nn.Softmax(1)), IMAGES[:4], short)
    assert any("probabilities" in flag for flag in result.flags)
    assert attack(NETWORK, IMAGES[:4], short).flags == ()


class Rooted(nn.Module):
    """The same function, whose gradient is NaN at black pixels."""

    def forward(self, points: Tensor) -> Tensor:
        return NETWORK(torch.sqrt(points) ** 2)


def test_gradients_that_are_not_finite_count_as_zero_and_are_told() -> None:
    threat = radius_that_splits(NETWORK, IMAGES, LABELS, Norm.L2, 0.8)
    settings = StandardSettings(attacks=("apgd-ce", "apgd-t"), apgd_steps=20)
    plain = attack(NETWORK, settings=settings, threat=threat)
    result = attack(Rooted(), settings=settings, threat=threat)
    assert torch.equal(result.robust, plain.robust)
    assert 0 < result.diagnostics["share_odd_gradients"] < 1
    assert any("not finite and count as zero" in flag for flag in result.flags)
    assert plain.diagnostics["share_odd_gradients"] == 0


class Undefined(nn.Module):
    """The network, with outputs that are NaN farther from the clean images than a limit."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, points: Tensor) -> Tensor:
        far = (points[:, None] - IMAGES[None]).abs().flatten(2).amax(2).amin(1) > self.limit
        return NETWORK(points).masked_fill(far[:, None], torch.nan)


@pytest.mark.parametrize("name", ["apgd-ce", "apgd-t", "fab-t", "square"])
def test_outputs_that_are_not_finite_are_no_robustness(name: str) -> None:
    tiny = ThreatModel.parse("Linf", "0.01")  # far from any boundary, so that nothing is broken
    settings = StandardSettings(attacks=(name,), apgd_steps=10, fab_steps=15, square_queries=80)
    result = attack(Undefined(0.001), settings=settings, threat=tiny)
    assert bool(result.clean.all())
    assert not bool((result.robust & result.failed).any())
    assert int(result.failed.sum()) > 0
    assert any("not finite; they are not robust" in flag for flag in result.flags)
    assert torch.isfinite(result.adversarial).all()


def test_clean_outputs_that_are_not_finite_are_wrong() -> None:
    result = attack(Undefined(-1.0), IMAGES[:4], StandardSettings(attacks=("square",), square_queries=2))
    assert not bool(result.clean.any())
    assert not bool(result.robust.any())
    assert any("logits of 4 of 4 images are not finite" in flag for flag in result.flags)


def test_folding_batch_norm_leaves_the_function_and_what_cannot_be_traced() -> None:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    network = nn.Sequential(block, nn.Flatten(), nn.Linear(4 * 64, 8), nn.BatchNorm1d(8), nn.BatchNorm1d(8))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    network.double().eval()
    made = folded(network)
    assert made is not None
    assert sum(isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d) for m in made.modules()) <= 1
    torch.testing.assert_close(made(IMAGES), network(IMAGES), atol=1e-12, rtol=1e-12)
    assert folded(NETWORK) is None

    class Branching(nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            return points if points.sum() > 0 else -points

    assert folded(Branching()) is None


def test_the_folded_network_searches_and_the_reference_judges() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))
    network = network.double().eval().requires_grad_(False)
    labels = network(IMAGES).argmax(1)
    threat = radius_that_splits(network, IMAGES, labels, Norm.LINF)
    options = {"keys": torch.arange(N), "seed": 0, "n_classes": 10, "settings": STEPS}
    result = standard_attack(network, IMAGES, labels, threat, **options)
    expected = standard_attack(network, IMAGES, labels, threat, search="reference", **options)
    assert result.diagnostics["search_network"] == "batch norm folded"
    assert torch.equal(result.robust, expected.robust)
    torch.testing.assert_close(result.adversarial, expected.adversarial, atol=1e-9, rtol=0)
