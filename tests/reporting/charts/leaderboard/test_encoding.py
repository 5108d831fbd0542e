"""Marks of entries are coloured and shaped by the training data, in a fixed order of kinds."""

import pandas as pd
import pytest

from measurebench.reporting.charts.leaderboard import year
from measurebench.reporting.charts.leaderboard.encoding import DATA_KINDS, kinds, percent_axis, robust_title
from measurebench.reporting.html.theme import LIGHT, SHAPES
from tests.reporting.charts.drawn import drawn

CIFAR10 = ("CIFAR-10 only", "synthetic images", "extra real images", "not stated")


def test_the_kinds_of_a_board_are_some_of_all_in_their_order() -> None:
    assert tuple(kind for kind in DATA_KINDS if kind in CIFAR10) == CIFAR10


def test_the_axis_says_what_the_accuracy_of_the_board_is(board: pd.DataFrame) -> None:
    assert robust_title(board) == "robust accuracy, best known"
    assert robust_title(board.assign(norm="corruptions")) == "accuracy under corruptions"


def test_kinds_keep_their_order_and_absent_ones_are_left_out(board: pd.DataFrame) -> None:
    assert kinds(board) == CIFAR10
    assert kinds(board.iloc[[2, 0]]) == ("synthetic images", "extra real images")


def test_colour_and_shape_of_an_entry_are_those_of_the_legend(board: pd.DataFrame) -> None:
    figure = year.figure(board)
    assert figure
    scene = drawn(figure)
    assert tuple(scene.legend) == CIFAR10
    assert [entry["shape"] for entry in scene.legend.values()] == list(SHAPES[:4])
    assert [entry["fill"] for entry in scene.legend.values()] == [LIGHT[f"s{i}"] for i in range(1, 5)]
    for item, kind in zip(scene.of("symbol")[0].items, board["training_data"], strict=True):
        assert (item["fill"], item["shape"]) == (scene.legend[kind]["fill"], scene.legend[kind]["shape"])


@pytest.mark.parametrize(("channel", "kind"), [("x", "X"), ("y", "Y")])
def test_an_axis_of_accuracies_is_in_percent_and_need_not_begin_at_zero(channel: str, kind: str) -> None:
    axis = percent_axis("clean_accuracy", "clean", channel)
    spec = axis.to_dict()
    assert type(axis).__name__ == kind
    assert (spec["axis"]["format"], spec["scale"]) == (".0%", {"zero": False})
    assert percent_axis("a", "b", channel, (0.2, 0.8)).to_dict()["scale"]["domain"] == [0.2, 0.8]
