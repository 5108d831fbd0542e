"""Entries lie in the row of their venue; the venue with the most robust median is on top."""

import pandas as pd
import pytest

from measurebench.reporting.charts.leaderboard import venue
from tests.reporting.charts.drawn import Scene, drawn


@pytest.fixture(scope="module")
def scene(board: pd.DataFrame) -> Scene:
    figure = venue.figure(board)
    assert figure
    return drawn(figure)


def test_entries_lie_at_their_accuracy_in_the_row_of_their_venue(scene: Scene, board: pd.DataFrame) -> None:
    (marks,) = scene.of("symbol")
    assert [scene.y.name(item["y"]) for item in marks.items] == board["venue_name"].tolist()
    assert [scene.x.at(i["x"]) for i in marks.items] == pytest.approx(board["robust_accuracy"].tolist(), abs=1e-6)


def test_venues_are_ordered_by_their_median(scene: Scene) -> None:
    # Medians: ICML 0.66 of (0.70, 0.66, 0.01), ICLR 0.57 of (0.59, 0.55), arXiv 0.55 of (0.60, 0.50).
    assert scene.y.texts == ("ICML", "ICLR", "arXiv")


def test_every_venue_has_twenty_two_pixels(scene: Scene) -> None:
    assert scene.height == 3 * 22


def test_the_title_says_on_how_many_entries_the_median_rests(board: pd.DataFrame) -> None:
    figure = venue.figure(board)
    assert figure
    # arXiv and ICLR have two entries each, of which a median says little.
    told = "among venues of 3 entries or more the median entry is most robust at ICML (66.0\u00a0%, 3 entries)"
    assert figure.title == f"3 venues; {told}"
    assert figure.summary == "2 of 7 entries name a preprint as their venue. ICML has most entries, 3."
    single = venue.figure(board[board["model_id"].isin(["Beta", "Gamma", "Delta"])])
    assert single
    assert "at arXiv (60.0\u00a0%, 1 entry)" in single.title


def test_entries_without_a_venue_have_no_chart(board: pd.DataFrame) -> None:
    assert venue.figure(board.assign(venue_name=None)) is None
