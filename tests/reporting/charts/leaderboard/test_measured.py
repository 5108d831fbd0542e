"""An entry lies at its measure and its accuracy; what the page tells of a measure is Kendall's tau over the entries."""

import pandas as pd
import pytest
from scipy.stats import kendalltau

from measurebench.core.infos import measure_infos
from measurebench.reporting.charts.leaderboard import measured
from measurebench.reporting.charts.leaderboard.measured import about, template
from measurebench.reporting.charts.scatter import TITLE
from measurebench.reporting.html.wording import axis_title
from tests.reporting.charts.drawn import Scene, drawn

MEASURE = "x_grad_norm_pgd"


@pytest.fixture(scope="module")
def scene(board: pd.DataFrame) -> Scene:
    return drawn(measured.figure(board, MEASURE, measure_infos()))


def test_entries_with_the_measure_lie_at_it_and_at_their_accuracy(scene: Scene, board: pd.DataFrame) -> None:
    known = board.dropna(subset=[MEASURE])
    (marks,) = scene.of("symbol")
    assert len(known) == 6
    assert [scene.x.at(item["x"]) for item in marks.items] == pytest.approx(known[MEASURE].tolist(), abs=1e-6)
    assert [scene.y.at(i["y"]) for i in marks.items] == pytest.approx(known["robust_accuracy"].tolist(), abs=1e-6)


def test_the_axis_has_title_and_unit_of_the_measure(scene: Scene) -> None:
    assert scene.x.title == axis_title(MEASURE, measure_infos())


def test_the_sentence_is_kendalls_tau_over_the_entries_that_have_both(board: pd.DataFrame) -> None:
    known = board.dropna(subset=[MEASURE])
    tau = kendalltau(known[MEASURE], known["robust_accuracy"]).statistic
    told = about(board, MEASURE, measure_infos())["sentence"]
    assert told.endswith(f"Kendall's τ = {tau:.2f} over 6 entries".replace("-", "\u2212"))


def test_two_entries_have_no_correlation(board: pd.DataFrame) -> None:
    assert about(board.head(2), MEASURE, {})["sentence"].endswith("τ = \u2013 over 2 entries")


def test_the_template_leaves_the_title_to_the_page(board: pd.DataFrame) -> None:
    assert TITLE in str(template(board))
