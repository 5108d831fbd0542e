"""Every registered measure has on the GPU the value that it has on the CPU, within a stated tolerance."""

from collections.abc import Iterator

import pytest
import torch

from measurebench.measures.api import evaluate
from measurebench.measures.registry import all_measures, find_measure, parameters_of, with_settings
from measurebench.measures.value import MeasureValue
from tests.gpu.subjects import digits_context
from tests.pretended.subjects import short_autoattack

N = 24
SHORT = {"n_draws": 2, "n_steps": 6, "n_restarts": 1, "n_probes": 8, "halvings": 6}
# In float64 the order of a sum changes about the 15th digit, and iterated searches multiply that. In float32 it changes
# the 7th; a sign of a gradient near zero then turns over, and a step of PGD with it.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 2e-2}
# In float32 these take a step back for every example that changes sides, or differences of nearly equal losses.
COARSE_IN_FLOAT32 = ("pacbayes", "sharpness", "flat", "hess", "effective_dim", "wci", "autoattack")


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    with short_autoattack():
        yield


def measured(name: str, device: str, dtype: torch.dtype) -> MeasureValue:
    item = find_measure(name)
    short = {setting: value for setting, value in SHORT.items() if setting in parameters_of(item)}
    return evaluate(with_settings(item, short), digits_context(device, dtype, N))


def compare(name: str, device: str, dtype: torch.dtype, tolerance: float) -> None:
    plain, there = measured(name, "cpu", dtype), measured(name, device, dtype)
    assert there.status == plain.status, there.reason
    if plain.value is not None:
        assert there.value == pytest.approx(plain.value, rel=tolerance, abs=1e-9)


@pytest.mark.parametrize("name", all_measures())
def test_values_agree_in_float64(device: str, name: str) -> None:
    compare(name, device, torch.float64, TOLERANCES[torch.float64])


@pytest.mark.parametrize("name", [name for name in all_measures() if not any(s in name for s in COARSE_IN_FLOAT32)])
def test_values_agree_in_float32(device: str, name: str) -> None:
    compare(name, device, torch.float32, TOLERANCES[torch.float32])
