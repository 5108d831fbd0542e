"""A paper has one row: its best entry as a mark, the range of its entries as a line."""

import pandas as pd
import pytest

from measurebench.reporting.charts.leaderboard import papers
from measurebench.reporting.charts.leaderboard.papers import SHOWN
from tests.reporting.charts.drawn import Scene, drawn

SINGLE = {"B": 0.60, "C": 0.59, "D": 0.55, "E": 0.50, "F": 0.01}
RANGES = {"A": (0.66, 0.70), **{name: (best, best) for name, best in SINGLE.items()}}


@pytest.fixture(scope="module")
def scene(board: pd.DataFrame) -> Scene:
    return drawn(papers.figure(board))


def test_papers_are_ordered_by_their_best_entry(scene: Scene) -> None:
    assert scene.y.texts == tuple(RANGES)


def test_the_mark_is_the_best_entry_and_the_line_reaches_to_the_weakest(scene: Scene) -> None:
    (marks,), (lines,) = scene.of("symbol"), scene.of("rule")
    best = {scene.y.name(item["y"]): scene.x.at(item["x"]) for item in marks.items}
    assert best == pytest.approx({name: high for name, (_, high) in RANGES.items()}, abs=1e-6)
    for item in lines.items:
        ends = sorted((scene.x.at(item["x"]), scene.x.at(item["x2"])))
        assert ends == pytest.approx(RANGES[scene.y.name(item["y"])], abs=1e-6)


def test_the_title_counts_entries_papers_and_those_with_several(board: pd.DataFrame) -> None:
    assert papers.figure(board).title == "7 entries come from 6 papers; 1 has more than one"


def test_of_many_papers_the_best_thirty_are_drawn_and_the_table_has_all(board: pd.DataFrame) -> None:
    many = pd.concat([board.iloc[[0]]] * 40, ignore_index=True)
    names = [f"P{i:02d}" for i in range(40)]
    many = many.assign(paper=names, paper_key=names, robust_accuracy=[0.7 - i / 100 for i in range(40)])
    figure = papers.figure(many)
    scene = drawn(figure)
    assert len(figure.data["papers"]) == 40
    assert scene.y.texts == tuple(names[:SHOWN])
    assert len(scene.of("symbol")[0].items) == SHOWN
