import itertools

import pytest
import torch
from torch import nn

from measurebench.core.threat import ThreatModel
from measurebench.measures.perturbation.image_ascent import Ascent
from measurebench.measures.registry import find_measure
from measurebench.measures.smoothness.local_lip import LocalLipschitz
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, examples, linear_fixture, network


def largest_change(net: nn.Linear) -> float:
    """max over u in {-1, 1}^d of ||W u||_1, by trying all."""
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=net.in_features)), dtype=torch.float64)
    return float((signs @ net.weight.T).abs().sum(1).max())


def test_ratio_at_given_examples_of_the_linear_fixture() -> None:
    net, images, labels, attacked = linear_fixture()
    found = LocalLipschitz("pgd")(context(net, images, labels, adversarial=attacked))
    assert found.value == pytest.approx(8.219268141876, abs=1e-11)
    assert found.value <= largest_change(net)
    assert largest_change(net) == pytest.approx(11.337918981555, abs=1e-11)


def test_a_linear_network_is_never_above_its_operator_norm_and_the_search_comes_near() -> None:
    net, images, labels, _ = linear_fixture()
    inside = 0.3 + 0.4 * images  # away from the box, where the best corner is admissible
    found = LocalLipschitz()(context(net, inside, labels, threat=ThreatModel.parse("Linf", "8/255")))
    assert float(found.per_example.max()) <= largest_change(net) * (1 + 1e-12)
    assert found.value > 0.75 * largest_change(net)


def test_ascent_finds_more_than_the_published_descent() -> None:
    net = network("convolutional")
    images, labels = examples(net)
    here = context(net, images, labels)
    ascent, descent = (find_measure(name)(here).value for name in ("local_lip", "local_lip:reference"))
    assert ascent > 2 * descent > 0


def test_the_search_stays_within_ball_and_box() -> None:
    net = network("residual")
    images, labels = examples(net)
    for threat in (ThreatModel.parse("Linf", "1/10"), ThreatModel.parse("L2", "0.5")):
        here = context(net, images, labels, threat=threat)
        points = Ascent("x")(here, lambda _rows, x, here=here: here.network(x).square().sum(1))
        moved = (points - images).flatten(1)
        sizes = moved.abs().amax(1) if threat.norm.value == "Linf" else moved.norm(dim=1)
        assert float(sizes.max()) <= threat.radius * (1 + 1e-9)
        assert 0 <= float(points.min()) <= float(points.max()) <= 1


def test_the_radius_and_the_seed_act() -> None:
    net = network("convolutional")
    images, labels = examples(net)
    near, far = (
        LocalLipschitz()(context(net, images, labels, threat=ThreatModel.parse("Linf", r))).value
        for r in ("1/100", "1/4")
    )
    assert near != far


def test_images_that_no_attack_moved_are_left_out() -> None:
    net, images, labels, attacked = linear_fixture()
    attacked[0] = images[0]
    found = LocalLipschitz("pgd")(context(net, images, labels, adversarial=attacked))
    assert found.diagnostics["n_unmoved"] == 1
    assert found.n == 4
    with pytest.raises(UndefinedMeasureError, match="moved no image"):
        LocalLipschitz("pgd")(context(net, images, labels, adversarial=images))


def test_the_draft_divides_by_linf_and_climbs() -> None:
    net = network("wide")
    images, labels = examples(net)
    flat = context(net, images, labels, threat=ThreatModel.parse("L2", 1 / 16))
    cube = context(net, images, labels, threat=ThreatModel.parse("Linf", 1 / 16))
    draft = LocalLipschitz(variant="draft")
    assert draft(flat).value == draft(cube).value
    assert draft(cube).value > LocalLipschitz(variant="reference")(cube).value
    assert draft(cube).value == pytest.approx(LocalLipschitz()(cube).value, rel=0.1)
