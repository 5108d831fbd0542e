import pytest
import torch

from measurebench.measures.margins.subspace_margin import SubspaceMargin, principal_directions
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, two_class_linear

WEIGHT = torch.tensor([3.0, -2.0, 1.0, 4.0], dtype=torch.float64)


def test_a_linear_network_has_the_margin_over_the_norm_of_the_projected_weight() -> None:
    # images vary in the first two pixels alone, so only these may change
    images = torch.full((12, 4), 0.5, dtype=torch.float64)
    images[:, :2] += 0.2 * (torch.rand(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5)
    net = two_class_linear(WEIGHT)
    expected = ((images - 0.5) @ WEIGHT).abs() / WEIGHT[:2].norm()
    found = SubspaceMargin(explained=1.0, halvings=20)(context(net, images, net(images).argmax(1)))
    assert found.diagnostics["n_directions"] == 2
    assert torch.allclose(found.per_example, expected, rtol=1e-5)


def test_the_fewest_directions_that_explain_the_share_are_kept() -> None:
    # variances 16 : 4 : 1
    points = torch.zeros(6, 3, dtype=torch.float64)
    for axis, size in enumerate((4.0, 2.0, 1.0)):
        points[2 * axis, axis], points[2 * axis + 1, axis] = size, -size
    assert [principal_directions(points, share).shape[1] for share in (0.7, 16 / 21, 0.8, 20 / 21, 1.0)] == [
        1,
        1,
        2,
        2,
        3,
    ]


def test_images_that_do_not_vary_span_nothing() -> None:
    images = torch.full((3, 4), 0.6, dtype=torch.float64)
    with pytest.raises(UndefinedMeasureError, match="do not vary"):
        SubspaceMargin()(context(two_class_linear(WEIGHT), images, torch.ones(3, dtype=torch.int64)))


def test_a_boundary_along_the_subspace_is_never_reached() -> None:
    images = torch.full((4, 4), 0.6, dtype=torch.float64)
    images[:, 0] = torch.linspace(0.1, 0.9, 4, dtype=torch.float64)
    net = two_class_linear(torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    with pytest.raises(UndefinedMeasureError, match="subspace"):
        SubspaceMargin()(context(net, images, torch.ones(4, dtype=torch.int64)))
