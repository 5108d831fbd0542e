"""Entries lie at their number of parameters, on a logarithmic axis."""

import pandas as pd
import pytest
from scipy.stats import kendalltau

from measurebench.reporting.charts.leaderboard import parameters
from tests.reporting.charts.drawn import Scene, drawn


@pytest.fixture(scope="module")
def scene(board: pd.DataFrame) -> Scene:
    figure = parameters.figure(board)
    assert figure
    return drawn(figure)


def test_entries_lie_at_parameters_and_accuracy(scene: Scene, board: pd.DataFrame) -> None:
    known = board.dropna(subset=["n_parameters"])
    (marks,) = scene.of("symbol")
    at = [scene.x.at(item["x"], log=True) for item in marks.items]
    assert at == pytest.approx(known["n_parameters"].tolist(), rel=1e-6)
    assert [scene.y.at(i["y"]) for i in marks.items] == pytest.approx(known["robust_accuracy"].tolist(), abs=1e-6)


def test_equal_factors_are_equal_distances(scene: Scene, board: pd.DataFrame) -> None:
    sizes = board.dropna(subset=["n_parameters"])["n_parameters"].tolist()
    x = dict(zip(sizes, (item["x"] for item in scene.of("symbol")[0].items), strict=True))
    assert (x[200e6] - x[50e6]) / (x[50e6] - x[11e6]) == pytest.approx(0.9155, abs=1e-3)  # log 4 / log(50/11)


def test_the_title_is_kendalls_tau_and_the_summary_names_the_best_small_network(board: pd.DataFrame) -> None:
    known = board.dropna(subset=["n_parameters"])
    tau = kendalltau(known["n_parameters"], known["robust_accuracy"]).statistic
    figure = parameters.figure(board)
    assert figure
    assert figure.title.startswith("Larger networks are more robust")
    assert figure.title.endswith(f"is {tau:.2f}")
    assert figure.summary.replace("\u00a0", " ") == (
        "Known for 6 entries. The best below 20 million parameters reaches 66.0 % (Alpha_S)."
    )


def test_two_entries_are_too_few(board: pd.DataFrame) -> None:
    assert parameters.figure(board.head(2)) is None
