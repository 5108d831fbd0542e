"""Filled marks are mean sign errors, open ones the worst; 0.5 is a coin toss."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from measurebench.reporting.charts import signerror
from measurebench.reporting.subject.study import Study
from tests.reporting.charts.conftest import SETTINGS
from tests.reporting.charts.drawn import Scene, drawn
from tests.reporting.conftest import KEPT


@pytest.fixture(scope="module")
def scene(wide: Study) -> Scene:
    figure = signerror.figure(wide)
    assert figure
    return drawn(figure)


def errors(table: pd.DataFrame, measure: str, sign: int) -> dict[tuple[str, str, str], float]:
    """Return the sign error of every change of a setting by a slow loop over all pairs of models."""
    wrong: dict[tuple[str, str, str], list[float]] = {}
    for setting in SETTINGS:
        others = [name for name in SETTINGS if name != setting]
        for _, group in table.groupby(others):
            for a, b in combinations(group.index, 2):
                levels = sorted((str(table.at[a, setting]), str(table.at[b, setting])))
                if levels[0] == levels[1]:
                    continue
                gap = np.sign(table.at[a, "robust_gap_pgd"] - table.at[b, "robust_gap_pgd"])
                said = sign * np.sign(table.at[a, measure] - table.at[b, measure])
                wrong.setdefault((setting, *levels), []).append((1 - said * gap) / 2)
    return {change: float(np.mean(each)) for change, each in wrong.items()}


def expected(study: Study, measure: str) -> dict[tuple[str, str, str], float]:
    """Return the errors of a measure in the direction of its hypothesis."""
    return errors(study.table, measure, {"+": 1, "-": -1}[study.infos[measure].hypothesis])


@pytest.mark.parametrize("measure", KEPT)
def test_marks_lie_at_the_mean_and_at_the_worst_of_all_changes(scene: Scene, wide: Study, measure: str) -> None:
    found = list(expected(wide, measure).values())
    worst, mean = scene.of("symbol")
    title = wide.infos[measure].title
    assert scene.x.at(mean.by("title")[title]["x"]) == pytest.approx(np.mean(found), abs=1e-6)
    assert scene.x.at(worst.by("title")[title]["x"]) == pytest.approx(max(found), abs=1e-6)


def test_a_line_joins_the_mean_with_the_worst(scene: Scene) -> None:
    worst, mean = scene.of("symbol")
    spans = scene.of("rule")[1]
    for title, line in spans.by("title").items():
        ends = {round(line["x"], 6), round(line["x2"], 6)}
        assert ends == {round(mean.by("title")[title]["x"], 6), round(worst.by("title")[title]["x"], 6)}


def test_the_dashed_line_is_a_coin_toss_in_the_middle_of_the_axis(scene: Scene) -> None:
    (coin,) = scene.of("rule")[0].items
    assert coin["x"] == scene.width / 2
    assert scene.x.at(coin["x"]) == pytest.approx(0.5)
    assert (scene.x.at(0), scene.x.at(scene.width)) == pytest.approx((0, 1))


def test_rows_run_from_the_smallest_worst_error_to_the_largest(scene: Scene) -> None:
    worst = scene.of("symbol")[0].by("title")
    positions = [worst[title]["x"] for title in scene.y.texts]
    assert positions == sorted(positions)


def test_filled_is_the_mean_and_open_is_the_worst(scene: Scene) -> None:
    worst, mean = scene.of("symbol")
    assert {item["shape"] for item in worst.items} == {"diamond"}
    assert {item["fill"] for item in worst.items} == {"transparent"}
    assert {item["shape"] for item in mean.items} == {"circle"}
    assert "transparent" not in {item["fill"] for item in mean.items}


def test_the_title_counts_measures_that_beat_a_coin_at_worst_and_the_summary_names_the_best(wide: Study) -> None:
    figure = signerror.figure(wide)
    assert figure
    worst = {name: max(expected(wide, name).values()) for name in KEPT}
    better = sum(value < 0.5 for value in worst.values())
    assert figure.title.startswith(f"{better} of 6 measures")
    best = min(worst, key=lambda name: worst[name])
    assert f"{worst[best]:.2f} ({wide.infos[best].title}" in figure.summary


def test_the_table_names_the_worst_change(wide: Study) -> None:
    figure = signerror.figure(wide)
    assert figure
    rows = figure.data["sign_error"].set_index("measure")
    worst = max(expected(wide, "local_lip").items(), key=lambda pair: pair[1])[0]
    assert set(rows.loc["local_lip", "change"].split(" -> ")) == set(worst[1:])


def test_without_pairs_that_differ_in_one_setting_there_is_no_chart(study: Study) -> None:
    assert signerror.figure(study) is None


def test_the_reading_says_how_few_changes_have_enough_pairs(wide: Study) -> None:
    def reading(kept: int) -> str:
        rows = wide.analysis.environments.copy()
        rows["kept"] = rows.groupby("measure").cumcount() < kept
        figure = signerror.figure(replace(wide, analysis=replace(wide.analysis, environments=rows)))
        assert figure
        return figure.reading

    n = int(wide.analysis.environments.groupby("measure").size().iloc[0])
    assert "enough pairs" not in reading(n)
    assert f" Only 2 of {n} changes of a setting have enough pairs." in reading(2)
    assert f" Only 1 of {n} changes of a setting has enough pairs, that of " in reading(1)
