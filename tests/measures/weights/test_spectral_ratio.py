import pytest
import torch
from torch import nn

from measurebench.measures.value import UndefinedMeasureError
from measurebench.measures.weights.spectral_ratio import DistSpecInit, FroOverSpec
from tests.measures.cases import context

IMAGES, LABELS = torch.rand(2, 3, dtype=torch.float64), torch.tensor([0, 1])


def linear(weight: torch.Tensor) -> nn.Module:
    layer = nn.Linear(3, 3).double()
    layer.weight.data = weight.double()
    return nn.Sequential(layer).requires_grad_(False)


def test_the_identity_has_full_stable_rank_and_a_dyad_rank_one() -> None:
    assert FroOverSpec()(context(linear(torch.eye(3)), IMAGES, LABELS)).value == pytest.approx(3, rel=1e-14)
    dyad = torch.outer(torch.tensor([1.0, 2, 3]), torch.tensor([2.0, 0, 1]))
    assert FroOverSpec()(context(linear(dyad), IMAGES, LABELS)).value == pytest.approx(1, rel=1e-14)


def test_the_spectral_distance_is_that_of_the_difference() -> None:
    here = context(linear(torch.diag(torch.tensor([4.0, 1, 1]))), IMAGES, LABELS, initial=linear(torch.eye(3)))
    assert DistSpecInit()(here).value == pytest.approx(9, rel=1e-14)


def test_a_layer_of_zeros_has_no_stable_rank() -> None:
    with pytest.raises(UndefinedMeasureError, match="is zero"):
        FroOverSpec()(context(linear(torch.zeros(3, 3)), IMAGES, LABELS))
