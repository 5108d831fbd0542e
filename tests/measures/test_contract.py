"""What every registered measure promises, checked with the same functions as third-party measures; none is exempt."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

import tests.measures as here
from measurebench.measures.api import measure
from measurebench.measures.registry import all_measures, find_measure
from measurebench.testing.measures import MEASURE_PROMISES, Case
from measurebench.testing.small_networks import initial_of, network
from measurebench.testing.workbench import Workbench, left_as_found, reads_examples, trained_network
from tests.attacks.short import shorten_autoattack

BUILT_IN = [name for name in all_measures() if all_measures().origin(name).is_built_in]
MEASURES = pytest.mark.parametrize("name", BUILT_IN)
# The others take minutes; what differs between networks differs between these two.
QUICK = ("precision_convolutional", "precision_preactivation")


@pytest.fixture(scope="module", autouse=True)
def _short_autoattack() -> Iterator[None]:
    """AutoAttack with few steps: what is tested here is the measure, and the attack itself takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        shorten_autoattack(patch, apgd_steps=5, queries=20, targets=2)
        yield


@cache
def bench() -> Workbench:
    """All measures on one workbench, so that they share their contexts; radii of a grid are hard to change."""
    measures = [find_measure(name) for name in BUILT_IN]
    return Workbench(measures, stubborn=[name for name in BUILT_IN if name.startswith("sharpness_")])


def slow_where_slow(promise: str) -> tuple[pytest.MarkDecorator, ...]:
    return (pytest.mark.slow,) if promise.startswith("precision_") and promise not in QUICK else ()


EVERYTHING = [
    pytest.param(name, promise, marks=slow_where_slow(promise))
    for promise in MEASURE_PROMISES
    for name in BUILT_IN
    if reads_examples(find_measure(name)) or not promise.startswith("logit_")
]


@pytest.mark.parametrize(("name", "promise"), EVERYTHING)
def test_every_measure_keeps_every_promise(name: str, promise: str) -> None:
    MEASURE_PROMISES[promise](Case(find_measure(name), bench()))


def test_measures_together_leave_the_network_as_found() -> None:
    net, state, modes = trained_network()
    images, labels = bench().data("residual", torch.float32)
    start = initial_of(network("residual", torch.float32))
    shared = ["average_ce_pgd", "x_grad_norm", "w_grad_norm_pgd", "kl_divergence_pgd"]
    measure(net, images, labels, shared, radius=1 / 16, initial_network=start)
    assert left_as_found(net, state, modes)


@MEASURES
def test_variants_are_found_by_their_id(name: str) -> None:
    for variant in find_measure(name).info.variants:
        assert find_measure(f"{name}:{variant}").info.id == f"{name}:{variant}"


@MEASURES
def test_a_test_of_its_own_exists(name: str) -> None:
    module = type(all_measures()[name]).__module__.removeprefix("measurebench.measures.").split(".")
    folder = Path(here.__file__).parent
    assert folder.joinpath(*module[:-1], f"test_{module[-1]}.py").is_file()
