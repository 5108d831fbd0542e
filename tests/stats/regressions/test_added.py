"""What a measure adds to the settings, beside dense reference solutions and tables whose answer is known."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from measurebench.stats import analyze
from measurebench.stats.population.population import read_population
from measurebench.stats.regressions import ridge as ridge_fit
from measurebench.stats.regressions.added import _division_errors, _interval, _ranks, division_t, n_divisions
from measurebench.stats.regressions.settings_fit import TERMS, Beside, Design, Designs, curves, folds
from tests.stats.tables import grid

QUICK = {"bootstrap": 200, "permutations": 99}


def hats(mains: np.ndarray, pairs: np.ndarray, penalty: float) -> np.ndarray:
    """Return the projection on a constant and mains, and beside it the ridge smoother of the pairs, densely."""
    base = np.column_stack([np.ones(len(mains)), mains])
    h = base @ np.linalg.pinv(base)
    z = pairs - h @ pairs
    return h + z @ np.linalg.solve(z.T @ z + penalty * np.eye(z.shape[1]), z.T) @ (np.eye(len(h)) - h)


def solved(mains, pairs, y, x, train, test, penalty):
    """Predict by one penalised least squares problem: effects free, pairs penalised, the terms x [n, terms] free."""
    free = np.column_stack([np.ones(len(y))[:, None], mains, x])
    n_free, everything = free.shape[1], np.column_stack([free, pairs])
    a = everything[train]
    penalties = np.diag(np.r_[np.zeros(n_free), np.full(pairs.shape[1], penalty)])
    return everything[test] @ (np.linalg.pinv(a.T @ a + penalties, rcond=1e-11) @ (a.T @ y[train]))


def test_both_predictions_equal_one_penalised_least_squares_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge_fit, "_ENOUGH", 10**6)  # without the square and cube of a first fit
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(0, k, 90) for k in (3, 2, 4))
    one = [np.eye(k)[v] for v, k in ((a, 3), (b, 2), (c, 4))]
    mains = np.column_stack(one)
    pairs = np.column_stack(
        [(u[:, :, None] * v[:, None, :]).reshape(90, -1) for u, v in itertools.combinations(one, 2)]
    )
    y = a + b * c + 0.3 * rng.normal(size=90)
    x = 0.5 * y + rng.normal(size=90)
    x = (x - x.mean()) / x.std()
    train, test = np.arange(70), np.arange(70, 90)
    terms = curves(x[:, None])
    found = Beside.predicted(Design(mains, pairs), y, terms, (train, test), repeats=2.0)
    base = np.column_stack([np.ones(70), mains[train]])
    z = pairs[train] - base @ np.linalg.pinv(base) @ pairs[train]
    penalties = ridge_fit._PENALTIES * np.linalg.eigvalsh(z.T @ z).max()

    def best(v: np.ndarray) -> int:
        errors = []
        for penalty in penalties:
            h = hats(mains[train], pairs[train], penalty)
            errors.append((((np.eye(70) - h) @ v) ** 2).sum() / (70 - np.trace(h)) ** 2)
        return int(np.argmin(errors))

    of_y = best(y[train])
    alone = solved(mains, pairs, y, np.empty((90, 0)), train, test, penalties[of_y])
    beside = {}
    for n_terms in (1, TERMS):
        own = terms[:, :n_terms, 0]
        k = min(of_y, *(best(column[train]) for column in own.T))
        left = y[train] - solved(mains, pairs, y, own, train, train, penalties[k])
        spent = 70 - np.trace(hats(mains[train], pairs[train], penalties[k])) - 2.0 * n_terms
        beside[(left**2).sum() / spent**2] = solved(mains, pairs, y, own, train, test, penalties[k])
    assert len(beside) == 2
    np.testing.assert_allclose(found.alone, (y[test] - alone) ** 2, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.beside[:, 0], (y[test] - beside[min(beside)]) ** 2, rtol=1e-6, atol=1e-9)


def test_a_level_that_the_fit_has_not_seen_is_predicted_by_the_other_settings() -> None:
    a, b = np.repeat([0, 1, 2], 20), np.tile([0, 1], 30)
    design = Design(np.column_stack([np.eye(3)[a], np.eye(2)[b]]), np.empty((60, 0)))
    y = 10.0 * b
    found = Beside.predicted(design, y, np.empty((60, TERMS, 0)), (np.flatnonzero(a < 2), np.flatnonzero(a == 2)))
    np.testing.assert_allclose(found.alone, 0, atol=1e-18)


def test_controls_that_are_held_out_beside_the_measures_find_the_fits_on_the_settings_made() -> None:
    roles = {name: name for name in ("defense", "run", "cluster")}
    population = read_population(grid(), target="robust_gap_pgd", measures=["signal"], settings=None, **roles)
    shared, rows = Designs(population), np.arange(48)
    train, test = np.arange(40), np.arange(40, 48)
    y, x = population.y, curves(population.measures["signal"][:, None])
    alone = Beside.predicted(Design.of(population, rows), y, np.empty((48, TERMS, 0)), (train, test))
    beside = Beside.predicted(shared.of(rows), y, x, (train, test))
    assert shared.of(rows).basis(y, train) is shared.of(rows.copy()).basis(y, train)
    assert shared.of(rows).basis(y, train) is not shared.of(rows).basis(y + 1, train)
    again = Beside.predicted(shared.of(rows), y, np.empty((48, TERMS, 0)), (train, test))
    np.testing.assert_array_equal(again.alone, alone.alone)
    np.testing.assert_allclose(beside.alone, alone.alone, rtol=1e-9)
    assert shared.of(rows[:40]).mains.shape[0] == 40


def test_the_models_of_a_unit_never_part_and_every_model_is_predicted_once() -> None:
    units = np.random.default_rng(0).integers(0, 23, 80)
    splits = folds(units, 10, 0)
    assert sorted(np.concatenate([test for _, test in splits]).tolist()) == list(range(80))
    assert all(not set(units[train]) & set(units[test]) for train, test in splits)


def made(n_runs: int, seed: int, curved: bool = False) -> pd.DataFrame:
    """Return runs of two checkpoints over 4 x 3 x 2 settings; the gap is theirs and what ``carrier`` alone knows."""
    rng = np.random.default_rng(seed)
    a, b, c = (np.repeat(rng.integers(0, k, n_runs), 2) for k in (4, 3, 2))
    index = a + 0.7 * b - c + 0.5 * (a == 2) * b
    own = np.repeat(rng.normal(size=n_runs), 2)
    table = pd.DataFrame({"run": np.repeat(np.arange(n_runs), 2), "setting_a": a, "setting_b": b, "setting_c": c})
    table["gap"] = (np.tanh(index / 3) * 4 if curved else index) + own + 0.2 * rng.normal(size=2 * n_runs)
    table["oracle"] = np.exp(index)
    table["proxy"] = index + 0.5 * rng.normal(size=2 * n_runs)
    table["carrier"] = own + 0.5 * rng.normal(size=2 * n_runs)
    return table


@pytest.mark.parametrize("curved", [False, True])
def test_what_knows_the_settings_adds_nothing_and_what_knows_more_adds_it(curved: bool) -> None:
    analysis = analyze(made(168, 1, curved), target="gap", **QUICK)
    rows = analysis.added[analysis.added["variant"] == "runs"].set_index("measure")
    assert rows.loc["oracle", "ci_low"] <= 0
    assert rows.loc["proxy", "ci_low"] <= 0
    # Of the variance 1.04 that the settings leave, the carrier explains 1 / 1.25.
    assert rows.loc["carrier", "gain"] == pytest.approx(0.8 / 1.04, abs=0.12)
    verdicts = analysis.judgements.set_index("measure")["verdict"]
    assert verdicts["carrier"] == "holds_undivided"
    assert set(verdicts[["oracle", "proxy"]]) == {"tells_settings"}
    assert rows.loc["carrier", "gain"] == pytest.approx(
        1 - rows.loc["carrier", "mse_with"] / rows.loc["carrier", "mse_settings"]
    )


def test_whole_levels_are_held_out_setting_by_setting() -> None:
    analysis = analyze(made(60, 2), target="gap", measures=["carrier"], **QUICK)
    rows = analysis.added[(analysis.added["variant"] == "levels") & (analysis.added["measure"] == "carrier")]
    assert rows["axis"].tolist() == ["setting_a", "setting_b", "setting_c"]
    assert (rows["gain"] > 0.1).all()
    assert (rows["mse_settings"] > analysis.added["mse_settings"].iloc[0]).any()  # an unseen level is harder


def test_a_setting_that_divides_runs_is_held_out_with_whole_runs() -> None:
    analysis = analyze(grid(), measures=["signal"], **QUICK)
    rows = analysis.added[analysis.added["measure"] == "signal"].set_index("axis")
    assert np.isfinite(rows.loc["setting_stop", "gain"])


def test_few_units_constant_measures_and_tables_without_settings_say_why() -> None:
    few = analyze(grid().head(38), measures=["signal"], **QUICK)
    assert few.added["reason"].iloc[0] == "19 units are too few to hold some out"
    constant = analyze(grid().assign(same=1.0), measures=["same", "signal"], **QUICK).added
    assert constant.loc[constant["measure"] == "same", "reason"].iloc[0] == "the measure is constant"
    bare = analyze(pd.DataFrame({"gap": np.arange(20.0), "m": np.arange(20.0)}), target="gap", **QUICK)
    assert bare.added.empty


def test_the_interval_of_a_gain_is_wider_where_fewer_runs_are_left() -> None:
    # Ends 1 + 12 / units times as far from the gain as the quantiles of the resamples.
    shares = np.linspace(0.0, 1.0, 1001)
    assert _interval(0.4, shares, 24, 0.0)[:2] == pytest.approx((0.4 - 1.5 * 0.375, 0.4 + 1.5 * 0.575))
    assert _interval(0.4, shares, 1200, 0.0)[:2] == pytest.approx((0.4 - 1.01 * 0.375, 0.4 + 1.01 * 0.575))
    nothing = "the settings determine the measure, so that it can add nothing"
    assert _interval(0.0, np.zeros(50), 24, 0.0) == (0.0, 0.0, nothing)


def test_the_division_into_folds_has_its_part_in_the_interval() -> None:
    # Three divisions with gains 0.1, 0.2 and 0.3: their mean has a standard error of 0.1 / sqrt(3).
    errors = _division_errors(np.array([[1.0, 0.9], [2.0, 1.6], [1.0, 0.7]]))
    assert errors == pytest.approx([0.1 / np.sqrt(3)])
    assert _division_errors(np.array([[1.0, 0.9]])) == pytest.approx([0.0])
    low, high, reason = _interval(0.4, np.linspace(0.0, 1.0, 1001), 1200, 0.1)
    assert low == pytest.approx(0.4 - np.hypot(1.01 * 0.375, 0.2776), abs=1e-4)
    assert high == pytest.approx(0.4 + np.hypot(1.01 * 0.575, 0.2776), abs=1e-4)
    assert reason == ""


def test_another_seed_moves_a_gain_by_no_more_than_its_division_error_says() -> None:
    table = grid()
    found = [analyze(table, measures=["signal"], **(QUICK | {"seed": seed})).added.iloc[0] for seed in range(6)]
    gains, errors = np.array([row["gain"] for row in found]), np.array([row["division_error"] for row in found])
    assert (errors > 0).all()
    assert gains.std(ddof=1) < 3 * errors.mean()


def test_the_error_of_the_divisions_has_students_t_for_their_number() -> None:
    for units, divisions in ((20, 25), (48, 25), (100, 12), (240, 5), (10**6, 5)):
        assert n_divisions(units) == divisions
        assert division_t(units) == pytest.approx(stats.t.ppf(0.975, divisions - 1), abs=1e-9)


def test_ranks_that_are_counted_are_those_that_are_sorted() -> None:
    rng = np.random.default_rng(0)
    for x in (rng.integers(0, 7, 50).astype(float), rng.normal(size=50), rng.integers(-3, 3, 50) * 1e300, np.zeros(5)):
        np.testing.assert_array_equal(_ranks(x), stats.rankdata(x))


def ridge(pairs: np.ndarray, left: np.ndarray, freedom: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return smoothers of the pairs by penalty, and the best one's number for each column of ``left``, densely."""
    inner = pairs.T @ pairs
    values = np.linalg.eigvalsh(inner)
    maps = [
        np.linalg.solve(inner + penalty * np.eye(len(inner)), pairs.T)
        for penalty in ridge_fit._PENALTIES * values.max(initial=1e-300)
    ]
    spent = np.array([freedom - np.trace(pairs @ each) for each in maps])
    rest = np.array([((left - pairs @ (each @ left)) ** 2).sum(axis=0) for each in maps])
    return maps, np.argmin(np.where(spent > 1, 1.0, np.inf)[:, None] * rest / spent[:, None] ** 2, axis=0)


def beside_settings(mains, pairs, y, terms, train, test):
    """Return the squared errors without and with terms [n, TERMS] by generalised inverses of all models fitted on."""
    mains, pairs = mains - mains[train].mean(axis=0), pairs - pairs[train].mean(axis=0)
    both = np.column_stack([y, terms]) - np.column_stack([y, terms])[train].mean(axis=0)
    if len(train) >= 3 * mains.shape[1]:
        inverse = np.linalg.pinv(mains[train], rcond=1e-9)
        left = pairs - mains @ (inverse @ pairs[train])
        rest = both[train, :1] - mains[train] @ (inverse @ both[train, :1])
        maps, best = ridge(left[train], rest, len(train) - 1 - mains.shape[1])
        first = mains @ (inverse @ both[train, 0]) + left @ (maps[best[0]] @ rest[:, 0])
        first = np.clip(first / np.abs(first[train]).max(), -1, 1)
        bent = np.stack([first**2, first**3], axis=1)
        mains = np.column_stack([mains, bent - bent[train].mean(axis=0)])
    inverse = np.linalg.pinv(mains[train], rcond=1e-9)
    left, rest = pairs - mains @ (inverse @ pairs[train]), both - mains @ (inverse @ both[train])
    freedom = len(train) - 1 - np.linalg.matrix_rank(mains[train], 1e-8)
    maps, best = ridge(left[train], rest[train], freedom)

    def missed(k):
        fitted = np.clip(both - rest + left @ (maps[k] @ rest[train]), both[train].min(axis=0), both[train].max(axis=0))
        return (both - fitted)[test]

    errors = {}
    for n_terms in (1, TERMS):
        k = min(best[: 1 + n_terms])
        smoothed = rest[train] - left[train] @ (maps[k] @ rest[train])
        own = slice(1, 1 + n_terms)
        slopes = np.linalg.solve(smoothed[:, own].T @ rest[train, own], smoothed[:, own].T @ rest[train, 0])
        residual = smoothed[:, 0] - smoothed[:, own] @ slopes
        spent = freedom - np.trace(left[train] @ maps[k]) - n_terms
        errors[(residual**2).sum() / spent**2] = (missed(k)[:, 0] - missed(k)[:, own] @ slopes) ** 2
    return missed(best[0])[:, 0] ** 2, errors[min(errors)]


@pytest.mark.parametrize("kept", ["most", "few", "without a level", "one setting"])
def test_fits_from_inner_products_are_those_of_generalised_inverses(kept: str) -> None:
    rng = np.random.default_rng(7)
    levels = [rng.integers(0, k, 240) for k in ((2,) if kept == "one setting" else (4, 3, 2))]
    one = [(codes[:, None] == np.arange(codes.max() + 1)).astype(float) for codes in levels]
    pairs = [(u[:, :, None] * v[:, None, :]).reshape(240, -1) for u, v in itertools.combinations(one, 2)]
    mains, pairs = np.column_stack(one), np.column_stack([np.empty((240, 0)), *pairs])
    y = np.tanh(sum(levels) - 2.0) + (levels[0] == levels[-1]) + 0.2 * rng.normal(size=240)
    x = stats.zscore(y + levels[0] + (2.0 if kept == "few" else 0.3) * rng.normal(size=240))
    held_out = {"most": np.arange(30), "few": np.arange(160), "without a level": np.flatnonzero(levels[0] == 1)}
    test = held_out.get(kept, np.arange(30))
    train = np.setdiff1d(np.arange(240), test)
    terms = curves(stats.rankdata(x)[:, None])
    found = Beside.predicted(Design(mains, pairs), y, terms, (train, test))
    alone, beside = beside_settings(mains, pairs, y, terms[:, :, 0], train, test)
    np.testing.assert_allclose(found.alone, alone, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(found.beside[:, 0], beside, rtol=1e-7, atol=1e-12)


def test_the_terms_of_a_curve_are_orthonormal_and_span_the_powers() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([stats.rankdata(rng.normal(size=80)), rng.integers(0, 2, 80), rng.integers(0, 3, 80)], axis=1)
    x = stats.zscore(x)
    terms = curves(x)
    for measure, rank in ((0, 3), (1, 1), (2, 2)):
        own = terms[:, :, measure]
        np.testing.assert_allclose(own.T @ own / 80, np.diag(np.arange(3) < rank).astype(float), atol=1e-12)
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-12)
        powers = np.column_stack([x[:, measure] ** k for k in (1, 2, 3)])
        centred = powers - powers.mean(axis=0)
        np.testing.assert_allclose(own @ (own.T @ centred) / 80, centred, atol=1e-10)


def test_a_gain_does_not_rest_on_the_scale_of_a_measure() -> None:
    # A gap that levels off along a measure: a line in its rank sees little of it.
    table = made(168, 3)
    table["gap"] = np.exp(2 * table["carrier"]) + 0.1 * table["gap"]
    for name, values in (("exp", np.exp(table["carrier"])), ("cube", table["carrier"] ** 3)):
        table[name] = values
    names = ["carrier", "exp", "cube"]
    rows = analyze(table, target="gap", measures=names, **QUICK).added.query("variant == 'runs'").set_index("measure")
    assert rows.loc["carrier", "gain"] > 0.2
    assert rows.loc[names, "gain"].to_numpy() == pytest.approx([rows.loc["carrier", "gain"]] * 3, abs=1e-9)


def test_what_settings_predict_lies_no_further_out_than_the_models_they_were_fitted_on() -> None:
    # The eleventh combination of levels lies beyond all others: a pair fitted with next to no penalty runs away.
    a, b = np.repeat(np.arange(4), 12), np.tile(np.repeat(np.arange(3), 4), 4)
    one = [np.eye(4)[a], np.eye(3)[b]]
    pairs = (one[0][:, :, None] * one[1][:, None, :]).reshape(48, -1)
    rng = np.random.default_rng(1)
    y = a * b + 0.01 * rng.normal(size=48)
    test = np.flatnonzero((a == 3) & (b == 2))
    train = np.setdiff1d(np.arange(48), test)
    found = Beside.predicted(Design(np.column_stack(one), pairs), y, np.empty((48, TERMS, 0)), (train, test))
    fitted = found.fitted + y[train].mean()
    assert (fitted >= y[train].min() - 1e-12).all()
    assert (fitted <= y[train].max() + 1e-12).all()


def test_what_a_measure_adds_is_adjusted_by_holm_over_the_measures() -> None:
    from statsmodels.stats.multitest import multipletests

    found = analyze(made(60, 2), target="gap", measures=["carrier", "oracle", "proxy"], **QUICK).added
    rows = found[(found["variant"] == "runs") & ~found["measure"].str.startswith("control")]
    half = np.where(rows["gain"] > 0, rows["gain"] - rows["ci_low"], rows["ci_high"] - rows["gain"])
    p = 2 * stats.norm.sf(stats.norm.ppf(0.975) * np.abs(rows["gain"]) / half)
    np.testing.assert_allclose(rows["p_value"], p, rtol=1e-9)
    np.testing.assert_allclose(rows["p_adjusted"], multipletests(p, method="holm")[1], rtol=1e-9)
    assert found.loc[found["variant"] == "levels", "p_adjusted"].isna().all()


def test_what_the_settings_determine_adds_exactly_nothing_in_a_small_table_as_well() -> None:
    table = made(22, 5).assign(copy=lambda t: 3.0 * t["setting_c"], pair=lambda t: 1.0 * (t["setting_a"] == 2))
    table["both"] = table["copy"] * table["pair"]
    found = analyze(table, target="gap", measures=["copy", "pair", "both", "carrier"], **QUICK).added
    rows = found[found["variant"] == "runs"].set_index("measure")
    for name in ("copy", "pair", "control: setting_a", "control: setting_c"):
        assert rows.loc[name, ["gain", "ci_low", "ci_high"]].tolist() == [0.0, 0.0, 0.0]
    assert rows.loc["carrier", "gain"] > 0.1
