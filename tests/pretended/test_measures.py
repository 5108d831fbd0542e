"""Every registered measure on the pretended GPU: its value is the CPU's, and its loops do not run over examples."""

from collections.abc import Iterator
from functools import cache

import pytest

from measurebench.measures.api import evaluate
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import all_measures, find_measure, parameters_of, with_settings
from measurebench.measures.value import MeasureValue
from tests.pretended import counting, pretended_gpu
from tests.pretended.counts import Counts
from tests.pretended.subjects import measure_context, same, short_autoattack

IDS = list(all_measures())
N = 6
SHORT = {"n_draws": 2, "n_steps": 3, "n_restarts": 1, "n_probes": 8, "halvings": 3}
KIND = "residual"  # convolutions, strides, batch norm that can be folded, a shortcut and a linear layer
# The most that any measure asks for with these settings is 8,706 operations, 397 synchronisations and 240 uploads; a
# measure that needs a quarter more would starve a GPU, and so would one whose loop was written badly.
OPERATIONS, SYNCHRONISATIONS, UPLOADS = 11_000, 500, 300


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    with short_autoattack():
        yield


@cache
def context(device: str) -> MeasureContext:
    """Return one context for all measures: work that several share is computed once."""
    return measure_context(device, KIND, N)


def measured(name: str, device: str) -> tuple[MeasureValue, Counts]:
    """Return a measure's value and what it asked of the device."""
    item = find_measure(name)
    short = {setting: value for setting, value in SHORT.items() if setting in parameters_of(item)}
    with counting() as counts:
        return evaluate(with_settings(item, short), context(device)), counts


@pytest.mark.parametrize("name", IDS)
def test_a_measure_has_on_the_gpu_the_value_that_it_has_on_the_cpu(name: str) -> None:
    plain, _ = measured(name, "cpu")
    with pretended_gpu():
        there, counts = measured(name, "cuda")
    assert (there.status, there.reason) == (plain.status, plain.reason)
    assert there.value == plain.value
    assert there.standard_error == plain.standard_error
    assert same(plain.per_example, there.per_example)
    assert there.per_example is None or not there.per_example.is_cuda, "values per example lie on the CPU"
    assert counts.synchronisations <= SYNCHRONISATIONS
    assert counts.operations <= OPERATIONS
    assert counts.uploads <= UPLOADS
