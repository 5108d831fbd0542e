"""Every stream of random numbers of an analysis has a name of its own."""

from collections import Counter

import numpy as np
import pytest

from measurebench.stats import analyze
from measurebench.stats.regressions.added import n_divisions
from measurebench.stats.resampling import draws
from measurebench.stats.resampling.draws import donations, moves, stream
from tests.stats.tables import grid


@pytest.fixture(autouse=True, scope="module")
def libraries() -> None:
    """Let one analysis load the libraries, some of which make generators of their own as they are imported."""
    analyze(grid(), bootstrap=20, permutations=19)


def streams(monkeypatch: pytest.MonkeyPatch, seed: int) -> list[int]:
    """Return the seed of every generator that one analysis makes."""
    made: list[int] = []
    original = np.random.default_rng

    def counted(given: int | np.random.Generator) -> np.random.Generator:
        if not isinstance(given, np.random.Generator):  # scipy passes on the one it has
            made.append(given)
        return original(given)

    table = grid()
    table.loc[table["defense"] == "MART", "defense"] = "Standard"  # so that tau without Standard is found as well
    draws.bootstrap_weights.cache_clear()
    draws.bootstrap_weights_double.cache_clear()
    draws._drawn_units.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(np.random, "default_rng", counted)
        analyze(table, seed=seed, bootstrap=20, permutations=19)
    return made


def test_no_stream_of_an_analysis_is_used_twice_and_two_seeds_share_none(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = streams(monkeypatch, 0), streams(monkeypatch, 1)
    assert len(first) == len(second) > 30
    n_runs = grid()["run"].nunique()
    for seed, made in ((0, first), (1, second)):
        # What controls add is found in the same folds as what measures add, so that the two can be compared.
        folds = {stream("added", "runs", str(k), "", seed=seed) for k in range(n_divisions(n_runs))}
        assert {name for name, times in Counter(made).items() if times > 1} == folds
    assert not set(first) & set(second)


def test_the_streams_of_an_analysis_are_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert streams(monkeypatch, 3) == streams(monkeypatch, 3)


def test_strata_of_one_seed_are_not_those_of_the_next() -> None:
    # Two strata of four runs each: with seed + stratum the second stratum of seed 0 would be the first of seed 1.
    strata, units = np.repeat([0, 1], 4), np.arange(8)
    one, other = moves(strata, units, 50, 0), moves(strata, units, 50, 1)
    assert not np.array_equal(one[:, 4:] - 4, other[:, :4])
    assert not np.array_equal(one[:, 4:] - 4, one[:, :4])


def test_a_stream_depends_on_every_part_of_its_name() -> None:
    names = [("pi", "a"), ("pi", "b"), ("pi", "a", ""), ("pi a",), ("psi", "a")]
    seeds = [stream(*name, seed=seed) for name in names for seed in (0, 1)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_another_seed_moves_intervals_and_p_values_but_no_estimate() -> None:
    found = [analyze(grid(), measures=["signal"], seed=seed, bootstrap=40, permutations=39) for seed in (0, 1)]
    a, b = (analysis.correlations for analysis in found)
    np.testing.assert_array_equal(a["estimate"], b["estimate"])
    assert (a["ci_low"] != b["ci_low"]).mean() > 0.9
    for name in ("regressions", "residuals", "fits", "axes_r2", "matching"):
        assert getattr(found[0], name).equals(getattr(found[1], name))


def test_donations_of_one_seed_are_alike() -> None:
    units = np.array([0, 0, 1, 2])
    assert np.array_equal(donations(units, 20, 5), donations(units, 20, 5))
