"""One step of every defense gives on the GPU the weights that it gives on the CPU."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from measurebench.datasets import Dataset, load_dataset
from measurebench.training.objectives import DEFENSES
from tests.pretended.test_training import BETAS, PERTURBATIONS, step


@cache
def few_digits() -> Dataset:
    whole = load_dataset("digits")
    return replace(whole, train=whole.train.first(40), test=whole.test.first(20))


@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize("perturbation", ["plain", "global"])
def test_one_step_gives_the_same_weights(device: str, defense: str, perturbation: str) -> None:
    # TRADES and MART start so near to the image that the gradient of their attack is rounding, whose signs differ.
    settings = {"defense": defense, "random_start": "uniform", **BETAS.get(defense, {}), **PERTURBATIONS[perturbation]}
    plain, there = (step(few_digits(), place, **settings) for place in ("cpu", device))
    for name, value in plain.items():
        # a sign of the image's gradient that turns over moves single pixels of an attacked image
        gap = float((value.double() - there[name].double()).abs().max())
        assert gap <= 1e-2 * max(float(value.double().abs().max()), 1e-3), name


def test_mixed_precision_gives_a_finite_step(device: str) -> None:
    found = step(few_digits(), device, defense="AT", precision="mixed")
    assert all(torch.isfinite(value.double()).all() for value in found.values())
