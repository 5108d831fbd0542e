"""Reported minus AutoAttack accuracy, in points, as a strip and by venue."""

import pandas as pd
import pytest

from measurebench.reporting.charts.leaderboard import overestimation
from tests.reporting.charts.drawn import Scene, drawn

POINTS = [1.0, 0.0, 3.0, 8.0, -5.0, 50.0]  # Epsilon reported nothing


@pytest.fixture(scope="module")
def scenes(board: pd.DataFrame) -> tuple[Scene, Scene]:
    strip, venues = overestimation.figures(board)
    return drawn(strip), drawn(venues)


def test_every_report_lies_at_its_difference_in_both_charts(scenes: tuple[Scene, Scene]) -> None:
    for scene in scenes:
        (marks,) = scene.of("symbol")
        assert [scene.x.at(item["x"]) for item in marks.items] == pytest.approx(POINTS, abs=1e-6)


def test_marks_of_the_strip_stay_inside_it_and_apart(scenes: tuple[Scene, Scene]) -> None:
    heights = [item["y"] / scenes[0].height for item in scenes[0].of("symbol")[0].items]
    assert min(heights) >= 0.1 - 1e-9
    assert max(heights) <= 0.9 + 1e-9
    assert len({round(height, 3) for height in heights}) == len(POINTS)


def test_venues_are_ordered_by_their_median(scenes: tuple[Scene, Scene], board: pd.DataFrame) -> None:
    # arXiv has 3 alone, ICLR 8 and -5 (median 1.5), ICML 1, 0 and 50 (median 1).
    assert scenes[1].y.texts == ("arXiv", "ICLR", "ICML")
    known = board.dropna(subset=["overestimation"])
    rows = [scenes[1].y.name(item["y"]) for item in scenes[1].of("symbol")[0].items]
    assert rows == known["venue_name"].tolist()


def test_titles_count_reports_and_say_on_how_many_entries_a_median_rests(board: pd.DataFrame) -> None:
    strip, venues = overestimation.figures(board)
    assert strip.title.startswith("1 of 6 reports agrees with AutoAttack to half a point; 4 are too high, 1 too low")
    assert strip.summary == "Median 2.00 points, upper quartile 6.8, maximum 50.0."
    told = "Among venues of 3 entries or more the median overestimation is largest at ICML (1.0 points, 3 entries)"
    assert venues.title == told
    (_, few) = overestimation.figures(board[board["venue_name"] != "ICML"])
    assert few.title.startswith("The median overestimation is largest at arXiv (3.0 points, 1 entry)")
    assert venues.summary == "It is above one point at 2 of 3 venues."


def test_without_reports_there_are_no_charts(board: pd.DataFrame) -> None:
    assert overestimation.figures(board.assign(overestimation=float("nan"))) == ()
