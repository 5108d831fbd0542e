"""SAM and ASAM: closed forms, and agreement with a step written out by hand."""

import pytest
import torch

from measurebench.training.grid import training_name
from measurebench.training.sam import ASAM, SAM
from measurebench.training.training_config import TrainingConfig

WEIGHTS = {"a.weight": torch.tensor([1.0, -2.0]), "a.bias": torch.tensor([0.5])}
GRADIENTS = {"a.weight": torch.tensor([2.0, 1.0]), "a.bias": torch.tensor([2.0])}


def test_sam_moves_by_rho_along_the_gradient_of_all_parameters_together() -> None:
    """The gradient (2, 1, 2) has norm 3."""
    offsets = SAM(0.6).offsets(WEIGHTS, GRADIENTS)
    assert torch.allclose(offsets["a.weight"], torch.tensor([0.4, 0.2]))
    assert torch.allclose(offsets["a.bias"], torch.tensor([0.4]))


def test_asam_scales_weights_by_their_size_and_biases_not_at_all() -> None:
    """T = (1, 2, 1) without eta, so T g = (2, 2, 2) of norm sqrt(12), and T^2 g = (2, 4, 2)."""
    offsets = ASAM(1.0, eta=0.0).offsets(WEIGHTS, GRADIENTS)
    assert torch.allclose(offsets["a.weight"], torch.tensor([2.0, 4.0]) / 12**0.5)
    assert torch.allclose(offsets["a.bias"], torch.tensor([2.0]) / 12**0.5)


def test_asam_searches_the_same_when_a_layer_is_rescaled() -> None:
    """Weights times c, gradients over c: the relative move of every weight stays."""
    once = ASAM(0.3, eta=0.0).offsets({"weight": torch.tensor([1.0, 3.0])}, {"weight": torch.tensor([4.0, 1.0])})
    scaled = ASAM(0.3, eta=0.0).offsets({"weight": torch.tensor([10.0, 30.0])}, {"weight": torch.tensor([0.4, 0.1])})
    assert torch.allclose(10 * once["weight"], scaled["weight"])


def test_a_zero_gradient_moves_nothing() -> None:
    for rule in (SAM(1.0), ASAM(1.0)):
        offsets = rule.offsets(WEIGHTS, {name: torch.zeros_like(value) for name, value in GRADIENTS.items()})
        assert all(not offset.any() for offset in offsets.values())


@pytest.mark.parametrize(("optimizer", "part"), [("SAM", "-sam-"), ("ASAM", "-asam-")])
def test_a_run_of_another_optimizer_has_another_name(optimizer: str, part: str) -> None:
    values = {"architecture": "digits-plain", "defense": "AT", "norm": "Linf", "radius": "0.1"}
    values |= {"epochs": 1, "learning_rate": 0.1}
    config = TrainingConfig.from_mapping(values | {"optimizer": optimizer}, "test")
    assert part in training_name(config)
    assert part not in training_name(TrainingConfig.from_mapping(values, "test"))
