"""A model lies at what the line of its defense predicts and at how far it is from it."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from measurebench.reporting.charts import residuals
from measurebench.reporting.charts.residuals import LABELLED, STRANGE
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.charts.drawn import Scene, drawn
from tests.reporting.synthetic import study_table

BEST = "x_grad_norm_pgd"


def lines(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return predictions of one line per defense, their residuals and the studentized ones, by statsmodels."""
    parts = []
    for _, group in table.groupby("defense"):
        fitted = sm.OLS(group["robust_gap_pgd"], sm.add_constant(group[measure])).fit()
        inner = fitted.get_influence().resid_studentized_internal
        parts.append(pd.DataFrame({"predicted": fitted.fittedvalues, "residual": fitted.resid, "studentized": inner}))
    return pd.concat(parts).loc[table.index]


@pytest.fixture(scope="module")
def odd() -> Study:
    """Return a study in which two models were moved far from the line of the best measure."""
    table = study_table(48)
    table = table.drop(columns=[name for name in table.columns if name.endswith("_norm") or name == "num_params"])
    table.loc[[7, 40], "robust_gap_pgd"] += [0.06, -0.08]
    options = {"bootstrap": 40, "permutations": 99, "measures": [BEST, "local_lip"]}
    return Study.of("odd", table, analyze(table, **options))


@pytest.fixture(scope="module")
def scene(odd: Study) -> Scene:
    figure = residuals.figure(odd)
    assert figure
    return drawn(figure)


def table_of(study: Study) -> pd.DataFrame:
    figure = residuals.figure(study)
    assert figure
    return figure.data["residuals"]


def test_every_model_lies_at_its_prediction_and_its_residual(scene: Scene, odd: Study) -> None:
    wanted = lines(odd.table, BEST).set_axis(odd.table["model_id"]).loc[table_of(odd)["model_id"]]
    (points,) = scene.of("symbol")
    x, y = scene.axis("bottom", unit=0.01), scene.axis("left", unit=0.01)
    assert [x.at(item["x"]) for item in points.items] == pytest.approx(wanted["predicted"].tolist(), abs=1e-6)
    assert [y.at(item["y"]) for item in points.items] == pytest.approx(wanted["residual"].tolist(), abs=1e-6)


def test_the_dashed_line_is_no_difference(scene: Scene) -> None:
    (zero,) = scene.of("rule")
    assert scene.y.at(zero.items[0]["y"]) == pytest.approx(0, abs=1e-9)


def test_models_beyond_the_limit_are_named_beside_their_marks(scene: Scene, odd: Study) -> None:
    size = lines(odd.table, BEST)["studentized"].abs().set_axis(odd.table["model_id"])
    strange = size[size > STRANGE].nlargest(LABELLED)
    (names,) = scene.of("text")
    assert {item["text"] for item in names.items} == set(strange.index)
    assert set(odd.table.loc[[7, 40], "model_id"]) <= set(strange.index)
    marks = {(round(item["x"], 4), round(item["y"], 4)) for item in scene.of("symbol")[0].items}
    assert {(round(item["x"], 4), round(item["y"], 4)) for item in names.items} <= marks


def test_the_title_counts_them_and_the_summary_names_the_furthest_first(odd: Study) -> None:
    figure = residuals.figure(odd)
    assert figure
    size = lines(odd.table, BEST)["studentized"].abs().set_axis(odd.table["model_id"])
    assert figure.title.startswith(f"{int((size > STRANGE).sum())} models of 48 lie far from what")
    assert figure.summary.split("The furthest: ")[1].startswith(size.idxmax())


def test_rows_of_the_table_run_from_the_furthest_to_the_nearest(odd: Study) -> None:
    size = table_of(odd)["studentized"].abs()
    assert size.tolist() == sorted(size, reverse=True)


def test_models_keep_the_colour_of_their_defense(scene: Scene, odd: Study) -> None:
    defenses = dict(zip(odd.table["model_id"], odd.table["defense"], strict=True))
    for item, name in zip(scene.of("symbol")[0].items, table_of(odd)["model_id"], strict=True):
        assert item["fill"] == scene.legend[defenses[name]]["fill"]


def test_without_a_model_far_off_nothing_is_named_and_the_title_says_so() -> None:
    table = study_table(24)
    table["x_grad_norm_pgd"] = table["robust_gap_pgd"] + 0.001 * np.resize([1.0, -1.0], 24)
    study = Study.of("x", table, analyze(table, bootstrap=20, permutations=19, measures=[BEST]))
    figure = residuals.figure(study)
    assert figure
    assert figure.title == f"No model of 24 lies far from what {BEST} predicts"
    assert not drawn(figure).of("text")
