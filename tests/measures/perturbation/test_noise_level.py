import math

import pytest
import torch
from scipy.stats import norm

from measurebench.measures.perturbation.noise_level import DisplacementSearch
from measurebench.measures.value import UndefinedMeasureError


def gaussian(scale):
    return lambda level, draw: norm.cdf(scale * (1 + 0.1 * draw) / level)


def test_a_gaussian_curve_is_crossed_at_its_quantile():
    # Phi(m / s) = 0.9 at s = m / 1.2815516; within a bracket of 1 % the curve is linear to (0.01)^2 / 8 of itself
    search = DisplacementSearch(gaussian(0.03), 1.0, 0.1, n_draws=1, tolerance=0.01)
    assert search.find().level == pytest.approx(0.03 / 1.2815515655446004, rel=2e-5)


def test_the_mean_over_draws_is_crossed():
    search = DisplacementSearch(gaussian(0.03), 1.0, 0.1, n_draws=10, tolerance=1e-6)
    level = search.find().level
    assert sum(norm.cdf(0.03 * (1 + 0.1 * d) / level) for d in range(10)) / 10 == pytest.approx(0.9, abs=1e-6)


def test_a_curve_of_tensors_is_read_once_a_level():
    reads = []

    class Watched(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func in (torch.Tensor.tolist, torch.Tensor.item, torch.Tensor.__float__):
                reads.append(func)
            return super().__torch_function__(func, types, args, kwargs or {})

    curve = gaussian(0.03)
    levels = set()

    def tensors(level, draw):
        levels.add((level, draw > 1))  # two draws first, the others later
        return torch.tensor(curve(level, draw), dtype=torch.float64).as_subclass(Watched)

    found = DisplacementSearch(tensors, 1.0, 0.1).find()
    assert found == DisplacementSearch(curve, 1.0, 0.1).find()
    assert 0 < len(reads) <= len(levels)


def test_tighter_tolerance_costs_few_more_evaluations():
    loose, tight = (
        DisplacementSearch(gaussian(0.03), 1.0, 0.1, tolerance=t).find().n_evaluations for t in (0.01, 1e-4)
    )
    assert loose <= 80
    assert tight <= loose + 50


def test_the_slope_and_the_error_follow_the_curves():
    found = DisplacementSearch(gaussian(0.03), 1.0, 0.1, n_draws=10).find()
    # the mean fall has slope d/dlog s of 1 - Phi(m/s), about 1.28 phi(1.28) = 0.225 at one draw; the octave's secant
    assert 0.1 < found.log_slope < 0.4
    assert 0 < found.log_level_error < 0.2


def test_a_larger_fall_needs_more_noise():
    levels = [DisplacementSearch(gaussian(0.03), 1.0, fall).find().level for fall in (0.05, 0.1, 0.2)]
    assert levels == sorted(levels)


def test_a_step_is_found_to_the_tolerance():
    search = DisplacementSearch(lambda level, _: float(level < 0.017), 1.0, 0.5, n_draws=1, tolerance=1e-3)
    assert math.log(search.find().level) == pytest.approx(math.log(0.017), abs=1e-3)


@pytest.mark.parametrize(
    ("curve", "start", "words"),
    [
        (lambda _level, _draw: 0.05, 0.05, "starts below that"),
        (lambda _level, _draw: 0.95, 1.0, "levels off near chance"),
        (lambda level, _draw: 0.5 + min(level, 0.1), 0.5, "noise raises accuracy"),
        (lambda _level, _draw: 0.0, 1.0, "the smallest noise"),
    ],
)
def test_an_unreachable_fall_is_undefined_with_its_reason(curve, start, words):
    with pytest.raises(UndefinedMeasureError, match=words):
        DisplacementSearch(curve, start, 0.1).find()


def test_draws_that_disagree_with_the_first_two_move_the_octave():
    # two draws cross at 1, the other eight at 1/64: the mean of ten falls by a tenth already near 1/64
    search = DisplacementSearch(lambda level, d: float(level < (1.0 if d < 2 else 1 / 64)), 1.0, 0.1, tolerance=1e-3)
    assert search.find().level == pytest.approx(1 / 64, rel=2e-3)
