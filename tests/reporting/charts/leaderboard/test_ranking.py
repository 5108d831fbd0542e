"""Entries lie at their rank and accuracy, with Wilson's interval as a line."""

import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from measurebench.reporting.charts.leaderboard import ranking
from measurebench.reporting.leaderboard.leaderboard_page import prepared
from tests.reporting.charts.drawn import Scene, drawn, told


@pytest.fixture(scope="module")
def scene(board: pd.DataFrame) -> Scene:
    return drawn(ranking.figure(board))


def tied(board: pd.DataFrame) -> pd.DataFrame:
    """Rank by AutoAttack, where Alpha_S and Beta reach 66 %."""
    plain = board.drop(columns=["rank", "rank_best", "rank_worst", "low", "high"])
    return plain.assign(robust_accuracy=plain["autoattack_accuracy"])


def test_ties_share_a_rank(board: pd.DataFrame) -> None:
    assert prepared(tied(board)).set_index("model_id")["rank"].loc[["Alpha_S", "Beta", "Gamma"]].tolist() == [2, 2, 4]


def test_entries_lie_at_their_rank_by_the_best_known_accuracy(scene: Scene, board: pd.DataFrame) -> None:
    (marks,) = scene.of("symbol")
    at = {told(item)["model"]: (scene.x.at(item["x"]), scene.y.at(item["y"])) for item in marks.items}
    ranks = {"Alpha_L": 1, "Alpha_S": 2, "Beta": 3, "Gamma": 4, "Delta": 5, "Epsilon": 6, "Zeta": 7}
    for name, accuracy in zip(board["model_id"], board["robust_accuracy"], strict=True):
        assert at[name] == pytest.approx((ranks[name], accuracy), abs=1e-6)


def test_a_line_is_wilsons_interval_over_ten_thousand_images(scene: Scene, board: pd.DataFrame) -> None:
    (lines,) = scene.of("rule")
    for item, accuracy in zip(lines.items, board["robust_accuracy"], strict=True):
        low, high = proportion_confint(round(accuracy * 10_000), 10_000, method="wilson")
        ends = sorted((scene.y.at(item["y"]), scene.y.at(item["y2"])))
        assert ends == pytest.approx([low, high], abs=1e-6)


def test_line_and_mark_of_an_entry_have_the_colour_of_its_training_data(scene: Scene, board: pd.DataFrame) -> None:
    (lines,), (marks,) = scene.of("rule"), scene.of("symbol")
    for line, mark, kind in zip(lines.items, marks.items, board["training_data"], strict=True):
        assert line["stroke"] == mark["fill"] == scene.legend[kind]["fill"]


def test_a_lead_beyond_chance_is_said_and_an_open_first_place_too(board: pd.DataFrame) -> None:
    assert ranking.figure(board).title == "Alpha_L leads with 70.00\u00a0%, by more than chance"
    close = prepared(tied(board).iloc[1:4])
    assert ranking.figure(close).title == "2 entries could hold the first place; the best of them reaches 66.00\u00a0%"


def test_the_summary_is_the_median_number_of_ranks_that_are_open(board: pd.DataFrame) -> None:
    assert ranking.figure(board).summary == "With 10,000 test images most ranks are certain."
    same = prepared(tied(board).iloc[1:3])
    assert "could hold any of 2 ranks" in ranking.figure(same).summary


def test_the_axis_leaves_out_the_weakest_where_intervals_could_not_be_seen_otherwise() -> None:
    spread = pd.Series([0.001, 0.002, 0.003, *(0.5 + 0.005 * k for k in range(37))])
    known = pd.DataFrame({"robust_accuracy": spread, "low": spread - 0.01, "high": spread + 0.01})
    assert ranking._domain(known) == pytest.approx((0.45, 0.70))
    assert "begins at 45%, so that intervals can be seen; the table has 3 entries below it" in ranking._below(
        known, 0.45
    )
    assert ranking._below(known, 0.0) == ""
    few = known.iloc[::2]
    assert ranking._domain(few)[0] == 0.0
