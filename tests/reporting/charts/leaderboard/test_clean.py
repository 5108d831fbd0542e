"""Entries lie at clean and robust accuracy; lines join those that none beats in both, year by year."""

import pandas as pd
import pytest

from measurebench.reporting.charts.leaderboard import clean
from tests.reporting.charts.drawn import Scene, drawn, told

# What none beats in both accuracies by the end of each year, found by hand.
FRONTIERS = {
    "2020": {"Delta"},
    "2021": {"Delta"},
    "2022": {"Gamma"},
    "2023": {"Beta", "Gamma"},
    "2024": {"Alpha_L", "Gamma"},
}


@pytest.fixture(scope="module")
def scene(board: pd.DataFrame) -> Scene:
    figure = clean.figure(board)
    assert figure
    return drawn(figure)


def places(board: pd.DataFrame, names: set[str]) -> set[tuple[float, float]]:
    rows = board[board["model_id"].isin(names)]
    return set(zip(rows["clean_accuracy"].round(6), rows["robust_accuracy"].round(6), strict=True))


def at(scene: Scene, item: dict) -> tuple[float, float]:
    return round(scene.x.at(item["x"]), 6), round(scene.y.at(item["y"]), 6)


def test_entries_above_the_floor_lie_at_their_accuracies(scene: Scene, board: pd.DataFrame) -> None:
    (marks,) = scene.of("symbol")
    assert {at(scene, item) for item in marks.items} == places(board, set(board["model_id"]) - {"Zeta"})


def test_every_year_has_the_frontier_of_the_entries_until_then(scene: Scene, board: pd.DataFrame) -> None:
    found = {told(line.items[0])["until"]: {at(scene, item) for item in line.items} for line in scene.of("line")}
    assert found == {year: places(board, names) for year, names in FRONTIERS.items()}


def test_later_frontiers_are_drawn_more_strongly(scene: Scene) -> None:
    strength = {told(line.items[0])["until"]: line.items[0]["opacity"] for line in scene.of("line")}
    assert [strength[year] for year in FRONTIERS] == sorted(strength.values())
    assert strength["2024"] == 0.9


def test_the_year_stands_beside_the_frontiers_entry_of_highest_clean_accuracy(scene: Scene) -> None:
    (names,) = scene.of("text")
    assert {item["text"]: at(scene, item) for item in names.items} == {
        "2020": (0.85, 0.55),
        "2021": (0.85, 0.55),
        "2022": (0.96, 0.59),
        "2023": (0.96, 0.59),
        "2024": (0.96, 0.59),
    }


def test_the_axes_leave_room_for_the_years_and_end_at_the_entries(scene: Scene) -> None:
    assert scene.x.at(0) == pytest.approx(0.82, abs=1e-6)
    assert scene.x.at(scene.width) == pytest.approx(0.96 + 0.13 * 0.13, abs=1e-6)
    assert (scene.y.at(scene.height), scene.y.at(0)) == pytest.approx((0.48, 0.72), abs=1e-6)


def test_title_summary_and_reading_say_what_is_drawn_and_what_is_not(board: pd.DataFrame) -> None:
    figure = clean.figure(board)
    assert figure
    assert figure.title.startswith("2 entries are on the frontier")
    assert figure.summary.replace("\u00a0", " ") == (
        "The frontier runs from 95.0 % clean and 70.0 % robust to 96.0 % clean and 59.0 % robust."
    )
    assert figure.reading.endswith("Not drawn: 1 entry below 20\u00a0% robust accuracy.")


def test_without_a_robust_entry_there_is_no_chart(board: pd.DataFrame) -> None:
    assert clean.figure(board[board["model_id"] == "Zeta"]) is None
