import math

import pytest
import torch
from torch import Tensor, nn

from measurebench.measures.margins.boundary_thickness import BoundaryThickness, _batches
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, examples, network, two_class_linear

WIDTH = 16


def along_the_weight(length: float, n: int = 8) -> tuple[nn.Module, Tensor, Tensor, float]:
    """A two-class linear network with weights of one size, images on the side of class 1, and ||w||_2."""
    weight = torch.ones(WIDTH, dtype=torch.float64) * length / math.sqrt(WIDTH)
    starts = torch.linspace(0.55, 0.62, n, dtype=torch.float64)
    return two_class_linear(weight), starts[:, None].repeat(1, WIDTH), torch.ones(n, dtype=torch.int64), length


def expected(length: float, start: Tensor, end: Tensor) -> Tensor:
    """The length of the part of [m_end, m_start] inside (0, ln 7), over ||w||, with g = tanh(m / 2) < 0.75."""
    low, high = end.clamp_min(0.0), start.clamp_max(math.log(7))
    return (high - low).clamp_min(0) / length


@pytest.mark.parametrize(("points", "tolerance"), [(128, 2 / 128), (8192, 2 / 8192)])
def test_a_linear_network_has_thickness_ln7_over_its_weight_norm(points: int, tolerance: float) -> None:
    # The attack moves straight along -w, so the margin falls linearly from m_s to m_r = m_s - ||w|| * distance and
    # g = tanh(m / 2) lies in (0, 3/4) while 0 < m < ln 7. The grid errs by at most one step at either end.
    net, images, labels, length = along_the_weight(40.0)
    attack = BoundaryThickness(n_points=points, steps=40)
    found = attack(context(net, images, labels))
    margins = 40.0 / math.sqrt(WIDTH) * (images - 0.5).sum(1)
    assert bool((margins > math.log(7)).all())
    assert found.diagnostics["attack_success"] == 1
    distance = found.diagnostics["mean_length"]
    assert found.per_example.tolist() == pytest.approx([math.log(7) / length] * len(images), abs=tolerance * distance)


def test_a_segment_that_starts_inside_counts_from_there() -> None:
    net, images, labels, length = along_the_weight(4.0)
    found = BoundaryThickness(n_points=4096)(context(net, images, labels))
    start = 4.0 / math.sqrt(WIDTH) * (images - 0.5).sum(1)
    assert bool((start < math.log(7)).all())
    assert torch.allclose(found.per_example, expected(length, start, torch.full_like(start, -9.0)), atol=2 / 4096 * 2)


def test_an_image_already_given_to_the_target_has_thickness_zero() -> None:
    net, images, labels, _ = along_the_weight(40.0)
    found = BoundaryThickness()(context(net, images, 1 - labels))  # misclassified: the only target is the prediction
    assert found.value == 0
    assert found.diagnostics["same_class"] == 1


def test_targets_are_other_classes_each_as_likely() -> None:
    net = network("wide")
    images, labels = torch.rand(3000, 1, 8, 8, dtype=torch.float64), torch.arange(3000) % 10
    targets = BoundaryThickness()._targets(context(net, images, labels))
    assert not bool((targets == labels).any())
    counts = torch.bincount((targets - labels) % 10, minlength=10)[1:]
    # nine offsets of 333 each; five standard deviations of a binomial count, sqrt(3000 / 9 * 8 / 9) = 17
    assert bool(((counts - 3000 / 9).abs() < 5 * 17.2).all())


def test_targets_do_not_depend_on_the_other_examples() -> None:
    net = network("wide")
    images, labels = examples(net)
    whole = BoundaryThickness()._targets(context(net, images, labels))
    part = BoundaryThickness()._targets(context(net, images[5:9], labels[5:9]))
    assert torch.equal(whole[5:9], part)


def test_a_single_class_has_no_boundary() -> None:
    net = nn.Linear(2, 1).requires_grad_(False)
    with pytest.raises(UndefinedMeasureError, match="two classes"):
        BoundaryThickness()(context(net, torch.rand(3, 2), torch.zeros(3, dtype=torch.int64)))


def test_the_draft_attacks_in_fifty_steps_within_the_radius_of_the_threat_model() -> None:
    # its ends lie on the L2 sphere whose radius is the Linf one, 1/16, and the whole way is below g = 3/4
    net, images, labels, length = along_the_weight(4.0)
    draft = BoundaryThickness(n_points=4096, variant="draft")(context(net, images, labels))
    assert draft.diagnostics["mean_length"] == pytest.approx(1 / 16, rel=1e-9)
    start = 4.0 / math.sqrt(WIDTH) * (images - 0.5).sum(1)
    assert torch.allclose(draft.per_example, expected(length, start, start - length / 16), atol=1e-3)


def test_a_pass_takes_fewer_points_of_large_images_and_never_more_than_the_batch_allows() -> None:
    small, large = torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 32, 32)
    assert [_batches(100, images).size for images in (small, large)] == [200, 32]
    assert [_batches(5, images).size for images in (small, large)] == [10, 10]
    assert _batches(100, torch.zeros(1, 3, 512, 512)).size == 1
