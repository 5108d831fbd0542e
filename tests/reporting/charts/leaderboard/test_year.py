"""Entries lie at their year; the line is the best accuracy so far."""

import pandas as pd
import pytest

from measurebench.reporting.charts.leaderboard import year
from tests.reporting.charts.drawn import Scene, drawn

BEST = {2019: 0.01, 2020: 0.55, 2021: 0.55, 2022: 0.59, 2023: 0.60, 2024: 0.70}


@pytest.fixture(scope="module")
def scene(board: pd.DataFrame) -> Scene:
    figure = year.figure(board)
    assert figure
    return drawn(figure)


def test_entries_lie_at_year_and_accuracy(scene: Scene, board: pd.DataFrame) -> None:
    (marks,) = scene.of("symbol")
    assert [scene.x.at(i["x"]) for i in marks.items] == pytest.approx([float(y) for y in board["year"]])
    assert [scene.y.at(i["y"]) for i in marks.items] == pytest.approx(board["robust_accuracy"].tolist(), abs=1e-6)


def test_the_line_is_the_best_so_far_and_never_falls(scene: Scene) -> None:
    (line,) = scene.of("line")
    found = {round(scene.x.at(item["x"])): scene.y.at(item["y"]) for item in line.items}
    assert found == pytest.approx(BEST, abs=1e-6)
    assert {item["interpolate"] for item in line.items} == {"step-after"}


def test_the_axis_has_whole_years(scene: Scene) -> None:
    assert scene.x.texts == ("2019", "2020", "2021", "2022", "2023", "2024")


def test_title_and_summary_state_the_rise_in_all_and_per_year(board: pd.DataFrame) -> None:
    figure = year.figure(board)
    assert figure
    assert figure.title.replace("\u00a0", " ").endswith("rose from 1.0 % in 2019 to 70.0 % in 2024")
    assert figure.summary == "That is 13.8 points a year."


def test_without_years_there_is_no_chart(board: pd.DataFrame) -> None:
    assert year.figure(board.assign(year=pd.NA)) is None
