"""Every ascent on images equals its plain loop, to the last bit."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.attacks.pgd import PGD
from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.measures.perturbation.image_ascent import Ascent
from measurebench.measures.perturbation.input_margin import input_margins
from measurebench.measures.perturbation.weight_ascent import WeightBall, WorstCase
from measurebench.measures.registry import find_measure
from measurebench.training.inner import InnerMaximization
from measurebench.training.objectives import objective_for
from tests.golden import ascents_reference as plain

NORMS = [("Linf", "1/20"), ("L2", "3/10")]
SEED = 3


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return plain.network()


@pytest.fixture(scope="module")
def data(net: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    return plain.examples(net)


def context(net: nn.Module, data: tuple, norm: str, radius: str) -> MeasureContext:
    images, labels, keys = data
    settings = MeasureSettings(ThreatModel.parse(norm, radius), SEED)
    return MeasureContext(net, images, labels, settings, keys=keys)


@pytest.mark.parametrize(("norm", "radius"), NORMS)
def test_pgd(net: nn.Module, data: tuple, norm: str, radius: str) -> None:
    images, labels, keys = data
    here = context(net, data, norm, radius)
    assert torch.equal(here.adversarial, plain.pgd(net, images, labels, keys, norm, here.threat.radius, SEED))


@pytest.mark.parametrize(("norm", "radius"), NORMS)
def test_pgd_towards_a_target_without_a_random_start(net: nn.Module, data: tuple, norm: str, radius: str) -> None:
    images, labels, _keys = data
    here, targets = context(net, data, norm, radius), (labels + 2) % 5
    found = here.attack(PGD(7, 0.2, start=False), targets=targets)
    r = here.threat.radius
    loss = plain.cross_entropy(net, targets)
    assert torch.equal(found, plain.climb(loss, images, images, norm, r, 0.2 * r, 7, sign=-1.0))


@pytest.mark.parametrize(("norm", "radius"), NORMS)
@pytest.mark.parametrize("start", ["uniform", "gaussian"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_ascent_of_a_measure(net: nn.Module, data: tuple, norm: str, radius: str, start: str, sign: float) -> None:
    images, _labels, keys = data
    here = context(net, data, norm, radius)
    clean = here.clean_logits
    found = Ascent("climb", 6, 1 / 3, start, sign)(here, lambda rows, x: (net(x) - clean[rows]).square().sum(1))
    begin = plain.uniform_start if start == "uniform" else plain.gaussian_start
    r = here.threat.radius
    first = begin(images, keys, norm, r, SEED, "climb")
    expected = plain.climb(lambda x: (net(x) - clean).square().sum(1).sum(), images, first, norm, r, 1 / 3 * r, 6, sign)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("norm", "radius"), NORMS)
def test_local_lipschitz(net: nn.Module, data: tuple, norm: str, radius: str) -> None:
    images, _labels, keys = data
    here = context(net, data, norm, radius)

    def ratio(x: Tensor) -> Tensor:
        difference = (images - x).flatten(1)
        size = difference.abs().amax(1) if norm == "Linf" else difference.norm(dim=1)
        return (here.clean_logits - net(x)).abs().sum(1) / size.clamp_min(torch.finfo(torch.float32).tiny)

    r = here.threat.radius
    start = plain.uniform_start(images, keys, norm, r, SEED, "local_lip")
    ends = plain.climb(lambda x: ratio(x).sum(), images, start, norm, r, 1 / 3 * r, 10)
    with torch.no_grad():
        assert torch.equal(find_measure("local_lip")(here).per_example, ratio(ends).double())


@pytest.mark.parametrize(("norm", "radius"), NORMS)
def test_kl_divergence_with_its_own_attack(net: nn.Module, data: tuple, norm: str, radius: str) -> None:
    images, _labels, keys = data
    here = context(net, data, norm, radius)
    clean = F.log_softmax(here.clean_logits, 1)

    def objective(x: Tensor) -> Tensor:
        return F.kl_div(F.log_softmax(net(x), 1), clean, reduction="none", log_target=True).sum(1).sum()

    r = here.threat.radius
    start = plain.gaussian_start(images, keys, norm, r, SEED, "tpgd")
    ends = plain.climb(objective, images, start, norm, r, 0.25 * r, 10)
    with torch.no_grad():
        p, q = (F.log_softmax(logits.double(), 1) for logits in (here.clean_logits, net(ends)))
    expected = F.kl_div(q, p, reduction="none", log_target=True).sum(1).clamp_min(0)
    assert torch.equal(find_measure("kl_divergence_tpgd")(here).per_example, expected)


@pytest.mark.parametrize(("norm", "radius"), NORMS)
def test_local_linearity(net: nn.Module, data: tuple, norm: str, radius: str) -> None:
    images, labels, keys = data
    here = context(net, data, norm, radius)
    shared = here.gradients("clean")

    def error(x: Tensor) -> Tensor:
        loss = F.cross_entropy(net(x).double(), labels, reduction="none")
        base = F.cross_entropy(shared.logits.double(), labels, reduction="none")
        return (loss - base - ((x - images).double() * shared.inputs).flatten(1).sum(1)).abs()

    r = here.threat.radius
    start = plain.uniform_start(images, keys, norm, r, SEED, "llr")
    ends = plain.climb(lambda x: error(x).sum(), images, start, norm, r, 0.25 * r, 10)
    with torch.no_grad():
        assert torch.equal(find_measure("llr_gamma")(here).per_example, error(ends))


@pytest.mark.parametrize(("norm", "radius"), NORMS)
def test_input_margins(net: nn.Module, data: tuple, norm: str, radius: str) -> None:
    images, labels, _keys = data
    here, index = context(net, data, norm, radius), torch.arange(1, len(images), 2)
    found = input_margins(here, index, 4 * here.threat.radius, 6)
    expected = plain.input_margins(net, images[index], labels[index], norm, 4 * here.threat.radius, 6)
    assert torch.equal(found, expected)
    assert bool(found.isfinite().any())


@pytest.mark.parametrize(("norm", "radius"), NORMS)
def test_images_that_climb_beside_weights(net: nn.Module, data: tuple, norm: str, radius: str) -> None:
    images, labels, _keys = data
    here = context(net, data, norm, radius)
    still = WorstCase(WeightBall({"5.weight": 1.0}, "l2", 0.0), [1.0] * 4, attack_images=True)
    iterates = [iterate.images for iterate in still.iterates(here, "pgd", len(images))]
    expected = plain.images_beside_weights(net, images, here.adversarial, labels, norm, here.threat.radius, 4)
    assert all(torch.equal(a, b) for a, b in zip(iterates, expected, strict=True))


@pytest.mark.parametrize(("norm", "radius"), NORMS)
@pytest.mark.parametrize("start", ["uniform", "gaussian", "none"])
@pytest.mark.parametrize(("defense", "beta"), [("Standard", None), ("AT", None), ("TRADES", 6.0), ("MART", 5.0)])
@pytest.mark.parametrize(("steps", "share"), [(1, 1.0), (5, 0.3)])
def test_inner_maximisation_of_training(
    net: nn.Module,
    data: tuple,
    norm: str,
    radius: str,
    start: str,
    defense: str,
    beta: float | None,
    steps: int,
    share: float,
) -> None:
    images, labels, _keys = data
    threat = ThreatModel.parse(norm, radius)
    attack = InnerMaximization(threat, steps, 0.25, start)
    found = attack(net, images, labels, objective_for(defense, beta), torch.Generator().manual_seed(9), share)
    net.eval()
    first = plain.training_start(images, start, norm, threat.radius, share, torch.Generator().manual_seed(9))
    with torch.no_grad():
        clean = F.softmax(net(images), dim=1)
    losses = {"TRADES": lambda x: F.kl_div(F.log_softmax(net(x), dim=1), clean, reduction="sum")}
    loss = losses.get(defense, plain.cross_entropy(net, labels))
    reach = share * threat.radius
    assert torch.equal(found, plain.climb(loss, images, first, norm, reach, 0.25 * reach, steps))
