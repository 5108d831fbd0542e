"""An entry moves from its rank by AutoAttack to its rank by the lowest accuracy that anyone has shown."""

import pandas as pd
import pytest

from measurebench.reporting.charts.leaderboard import best_known
from tests.reporting.charts.drawn import Scene, drawn, told


@pytest.fixture(scope="module")
def scene(board: pd.DataFrame) -> Scene:
    figure = best_known.figure(board)
    assert figure
    return drawn(figure)


# By the best known accuracies 0.70, 0.66, 0.60, 0.59, 0.55, 0.50, 0.01 the entries rank 1 to 7 as they are listed.
MOVED = {"Beta": (2, 3), "Gamma": (4, 4), "Zeta": (7, 7)}


def test_only_entries_with_a_stronger_attack_are_drawn_by_rank(scene: Scene) -> None:
    assert scene.y.texts == tuple(MOVED)


def test_marks_and_line_run_from_one_rank_to_the_other(scene: Scene) -> None:
    before, after = scene.of("symbol")
    (lines,) = scene.of("rule")
    for first, second, line in zip(before.items, after.items, lines.items, strict=True):
        name = told(first)["model_id"]
        assert scene.y.name(first["y"]) == scene.y.name(second["y"]) == name
        assert (scene.x.at(first["x"]), scene.x.at(second["x"])) == pytest.approx(MOVED[name])
        assert sorted((line["x"], line["x2"])) == sorted((first["x"], second["x"]))


def test_the_axis_of_ranks_has_whole_numbers_only(scene: Scene) -> None:
    assert all("." not in text for text in scene.x.texts)


def test_title_and_summary_count_what_moves_and_name_what_falls_furthest(board: pd.DataFrame) -> None:
    figure = best_known.figure(board)
    assert figure
    assert figure.title == "A stronger attack is known for 3 entries; 1 changes rank"
    assert figure.summary == "Beta falls furthest, from rank 2 to 3 (6.00 points)."


def test_without_a_stronger_attack_there_is_no_chart(board: pd.DataFrame) -> None:
    assert best_known.figure(board.assign(best_known_accuracy=board["autoattack_accuracy"])) is None
