"""A bar runs from the R² of the settings to the R² of settings and measure; the diamond is the measure alone."""

import numpy as np
import pandas as pd
import pytest

from measurebench.reporting.charts import regressions
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.charts.conftest import SETTINGS, wide_table
from tests.reporting.charts.drawn import Scene, drawn
from tests.reporting.conftest import KEPT


def r_squared(table: pd.DataFrame, *columns: str) -> float:
    """Return R² of the gap on a constant, dummies of the settings named and the values of measures, by numpy."""
    parts = [np.ones((len(table), 1))]
    for name in columns:
        values = pd.get_dummies(table[name], drop_first=True) if name in SETTINGS else table[[name]]
        parts.append(values.to_numpy(dtype=float))
    design, y = np.hstack(parts), table["robust_gap_pgd"].to_numpy()
    left = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(1 - (left @ left) / ((y - y.mean()) @ (y - y.mean())))


@pytest.fixture(scope="module")
def scene(wide: Study) -> Scene:
    figure = regressions.figure(wide)
    assert figure
    return drawn(figure)


@pytest.mark.parametrize("measure", KEPT)
def test_marks_lie_at_the_three_shares_explained(scene: Scene, wide: Study, measure: str) -> None:
    title = wide.infos[measure].title
    (bars,) = scene.of("rect")
    alone, end = scene.of("symbol")
    bar = bars.by("title")[title]
    settings, both = r_squared(wide.table, *SETTINGS), r_squared(wide.table, *SETTINGS, measure)
    ends = sorted((scene.x.at(bar["x"]), scene.x.at(bar["x"] + bar["width"])))
    assert ends == pytest.approx([settings, both], abs=1e-6)
    assert scene.x.at(end.by("title")[title]["x"]) == pytest.approx(both, abs=1e-6)
    assert scene.x.at(alone.by("title")[title]["x"]) == pytest.approx(r_squared(wide.table, measure), abs=1e-6)


def test_the_dashed_line_is_what_the_settings_explain(scene: Scene, wide: Study) -> None:
    (line,) = scene.of("rule")
    assert scene.x.at(line.items[0]["x"]) == pytest.approx(r_squared(wide.table, *SETTINGS), abs=1e-6)


def test_the_axis_runs_from_nothing_to_everything(scene: Scene) -> None:
    assert (scene.x.at(0), scene.x.at(scene.width)) == pytest.approx((0, 1))


def test_rows_run_from_what_adds_most_to_what_adds_least(scene: Scene, wide: Study) -> None:
    added = {name: r_squared(wide.table, *SETTINGS, name) for name in KEPT}
    order = sorted(KEPT, key=lambda name: -added[name])
    assert scene.y.texts == tuple(wide.infos[name].title for name in order)


def test_the_title_states_the_share_of_the_settings_and_of_the_best_measure(wide: Study) -> None:
    figure = regressions.figure(wide)
    assert figure
    settings = r_squared(wide.table, *SETTINGS)
    best = max(KEPT, key=lambda name: r_squared(wide.table, *SETTINGS, name))
    added = r_squared(wide.table, *SETTINGS, best) - settings
    assert f"alone explain {100 * settings:.0f}\u00a0% of the variance" in figure.title
    assert f"{wide.infos[best].title} adds most, {100 * added:.1f}\u00a0%" in figure.title


def test_the_table_has_the_adjusted_share(wide: Study) -> None:
    figure = regressions.figure(wide)
    assert figure
    rows = figure.data["regressions"].set_index("measure")
    n, n_columns = len(wide.table), 1 + 1 + 1 + 2 + 1  # levels beyond the first of each setting, and the measure
    both = r_squared(wide.table, *SETTINGS, "local_lip")
    assert rows.loc["local_lip", "adjusted"] == pytest.approx(1 - (1 - both) * (n - 1) / (n - 1 - n_columns))


def test_without_settings_there_is_no_chart() -> None:
    table = wide_table().drop(columns=[*SETTINGS, "n_parameters"])
    study = Study.of("x", table, analyze(table, bootstrap=20, permutations=19, measures=["local_lip"]))
    assert regressions.figure(study) is None
