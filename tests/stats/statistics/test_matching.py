"""Matched pairs, their exchanges and sign errors, on levels written by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest

from measurebench.stats.resampling.draws import bootstrap_weights
from measurebench.stats.statistics.estimates import Draws
from measurebench.stats.statistics.granulated import granulated, moves, permuted_signs, psi_mean
from measurebench.stats.statistics.matching import matching
from measurebench.stats.statistics.sign_error import Changes, environments, pair_weights, sign_errors

DRAWS = Draws(bootstrap_weights(8, 30, 0), 39, 0)
LEVELS = {"a": ["x", "y"] * 4, "b": ["1", "1", "2", "2"] * 2, "c": ["p"] * 4 + ["q"] * 4}
UNITS = np.arange(8)


def test_pairs_agree_in_all_settings_but_one() -> None:
    found = matching("a", LEVELS, UNITS)
    assert sorted(zip(found.i.tolist(), found.j.tolist(), strict=True)) == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert (found.n_groups, found.n_models, found.levels) == (4, 8, ("x", "y"))
    assert found.low.tolist() == [0] * 4
    assert found.high.tolist() == [1] * 4


def test_the_first_of_a_pair_has_the_smaller_level_whatever_the_order_of_rows() -> None:
    reversed_levels = {axis: names[::-1] for axis, names in LEVELS.items()}
    found = matching("a", reversed_levels, UNITS)
    assert all(
        reversed_levels["a"][i] == "x" and reversed_levels["a"][j] == "y" for i, j in zip(found.i, found.j, strict=True)
    )


def test_two_models_of_one_level_are_no_pair_and_one_without_a_partner_has_no_stratum() -> None:
    found = matching("a", {"a": ["x", "x", "y", "x"], "b": ["1", "1", "1", "2"]}, np.arange(4))
    assert list(zip(found.i.tolist(), found.j.tolist(), strict=True)) == [(0, 2), (1, 2)]
    assert found.strata.tolist()[3] == -1
    assert (found.strata[:3] >= 0).all()


def test_exchanges_of_a_matching_stay_inside_its_groups() -> None:
    found = matching("a", LEVELS, UNITS)
    moved = moves(found, DRAWS)
    assert np.array_equal(found.strata[moved], np.tile(found.strata, (39, 1)))
    signs = permuted_signs(found, np.arange(8.0), moved)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert signs.shape == (39, 4)


@pytest.mark.parametrize(("x", "expected"), [(np.arange(8.0), 1.0), (-np.arange(8.0), -1.0), (np.ones(8), 0.0)])
def test_psi_of_a_perfect_opposite_and_constant_measure(x: np.ndarray, expected: float) -> None:
    match = matching("a", LEVELS, UNITS)
    found = granulated(match, x, np.arange(8.0), DRAWS, permuted_signs(match, x, moves(match, DRAWS)))
    assert found.row.estimate == expected
    assert (found.row.n_models, found.row.n_pairs) == (8, 4)
    assert found.deviations.sum() == pytest.approx(0, abs=1e-12)


def test_groups_count_alike_whatever_their_number_of_pairs() -> None:
    levels = {"a": ["x", "y", "z", "x", "y"], "b": ["1", "1", "1", "2", "2"]}
    match = matching("a", levels, np.arange(5))
    x, y = np.array([1.0, 2, 3, 2, 1]), np.array([1.0, 2, 3, 1, 2])
    found = granulated(match, x, y, DRAWS, permuted_signs(match, x, moves(match, DRAWS)))
    assert found.row.estimate == 0  # 1 over three pairs of the one group, -1 over one pair of the other


def test_a_mean_of_psi_without_comparisons_or_error_says_why() -> None:
    assert psi_mean([]).reason == "no two models differ in one setting alone"
    match = matching("a", LEVELS, UNITS)
    x = np.arange(8.0)
    perfect = granulated(match, x, x, DRAWS, permuted_signs(match, x, moves(match, DRAWS)))
    assert psi_mean([(match, perfect)]).reason == "4 independent comparisons, all alike, give no interval"
    mean = psi_mean([(match, perfect)])
    assert mean.p_value == pytest.approx(binomtest(4, 4).pvalue)  # a sign test


def test_weights_grow_with_the_difference_and_the_number_of_images() -> None:
    differences = np.linspace(0, 0.3, 7)
    few, many = (pair_weights(differences, np.full(7, 2 / n)) for n in (1000, 10_000))
    assert (np.diff(few) >= 0).all()
    assert (many >= few).all()
    assert (few >= 0).all()
    assert (many <= 0.5).all()
    np.testing.assert_array_equal(pair_weights(np.array([0.0, 1e-9, -0.2]), None), [0.0, 0.5, 0.5])
    assert pair_weights(np.array([0.2]), np.array([np.inf]))[0] == 0  # of unknown error


def test_a_tie_in_the_measure_is_half_an_error_and_the_direction_turns_it() -> None:
    levels = {"a": ["x", "y"] * 16, "b": [str(k // 2) for k in range(32)]}
    match = matching("a", levels, np.arange(32))
    y = np.arange(32.0)
    changes = Changes.of(match, y, None)
    assert changes.names == [("x", "y")]
    assert changes.effective.tolist() == [16.0]
    draws = Draws(bootstrap_weights(32, 30, 0), 39, 0)
    for x, sign, expected in ((y, 1, 0.0), (y, -1, 1.0), (-y, 1, 1.0), (np.ones(32), 1, 0.5)):
        env = environments(changes, x, sign, permuted_signs(match, x, moves(match, draws)), draws)
        assert env.losses.tolist() == [expected]
        rows = sign_errors([env])
        assert [row.statistic for row in rows] == ["sign_error_mean", "sign_error_max"] * 2
        assert {row.estimate for row in rows} == {expected}
        assert rows[1].level == "x -> y"


def test_changes_that_few_sure_pairs_support_are_not_resampled() -> None:
    levels = {"a": ["x", "y"] * 5, "b": [str(k // 2) for k in range(10)]}
    match = matching("a", levels, np.arange(10))
    x = np.arange(10.0)
    draws = Draws(bootstrap_weights(10, 30, 0), 39, 0)
    env = environments(Changes.of(match, x, None), x, 1, permuted_signs(match, x, moves(match, draws)), draws)
    assert env.losses.tolist() == [0.0]
    assert not env.changes.kept.any()
    assert np.isnan(env.drawn).all()
    assert np.isnan(env.permuted).all()
    assert all(np.isnan(row.estimate) and "surely differ" in row.reason for row in sign_errors([env]))
