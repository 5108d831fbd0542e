"""An entry lies at what its paper reported and at what AutoAttack finds; the line is where both agree."""

import pandas as pd
import pytest

from measurebench.reporting.charts.leaderboard import reported
from tests.reporting.charts.drawn import Scene, drawn


@pytest.fixture(scope="module")
def scene(board: pd.DataFrame) -> Scene:
    figure = reported.figure(board)
    assert figure
    return drawn(figure)


def test_entries_with_a_report_lie_at_both_accuracies(scene: Scene, board: pd.DataFrame) -> None:
    known = board.dropna(subset=["reported_accuracy"])
    (marks,) = scene.of("symbol")
    assert len(known) == 6
    assert [scene.x.at(i["x"]) for i in marks.items] == pytest.approx(known["reported_accuracy"].tolist(), abs=1e-6)
    assert [scene.y.at(i["y"]) for i in marks.items] == pytest.approx(known["autoattack_accuracy"].tolist(), abs=1e-6)


def test_the_line_joins_equal_accuracies_over_the_range_of_both(scene: Scene) -> None:
    (line,) = scene.of("line")
    ends = [(scene.x.at(end["x"]), scene.y.at(end["y"])) for end in line.items]
    assert ends[0] == pytest.approx((0.05, 0.05), abs=1e-6)
    assert ends[1] == pytest.approx((0.71, 0.71), abs=1e-6)


def test_entries_below_the_line_reported_too_much(scene: Scene, board: pd.DataFrame) -> None:
    known = board.dropna(subset=["reported_accuracy"])
    (marks,) = scene.of("symbol")
    for item, over in zip(marks.items, known["overestimation"], strict=True):
        assert scene.x.at(item["x"]) - scene.y.at(item["y"]) == pytest.approx(over, abs=1e-6)


def test_title_and_summary_state_the_differences(board: pd.DataFrame) -> None:
    # Differences: 1, 0, 3, 8, -5 and 50 points.
    figure = reported.figure(board)
    assert figure
    assert figure.title == "2 of 6 entries reported over 5 points more than AutoAttack finds"
    assert "largest difference is 50.0 points (Zeta); 1 reported less" in figure.summary
    assert figure.summary.endswith("The median is 2.00 points.")


def test_without_reports_there_is_no_chart(board: pd.DataFrame) -> None:
    assert reported.figure(board.assign(reported_accuracy=float("nan"))) is None
