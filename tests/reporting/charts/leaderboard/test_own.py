"""One's own models lie at their robust accuracy, in the order of their ranks, with Wilson's interval as a line."""

import pandas as pd
import pytest

from measurebench.core.intervals import wilson_interval
from measurebench.reporting.charts.leaderboard import own
from measurebench.reporting.leaderboard.own_page import worded
from measurebench.reporting.leaderboard.own_results import own_ranking
from tests.reporting.charts.drawn import Scene, drawn, told


@pytest.fixture(scope="module")
def ranked() -> pd.DataFrame:
    columns = {
        "model_id": list("abcd"),
        "defense": ["AT", "AT", "MART", "MART"],
        "n_test": 1000,
        "clean_accuracy_test": [0.9, 0.8, 0.85, 0.7],
        "pgd_accuracy_test": [0.5, 0.7, 0.6, 0.65],
        "n_autoattack": 500,
        "autoattack_accuracy_test": [0.45, None, 0.55, 0.6],
    }
    return worded(own_ranking(pd.DataFrame(columns)))


@pytest.fixture(scope="module")
def scene(ranked: pd.DataFrame) -> Scene:
    return drawn(own.ranking(ranked))


def test_models_stand_in_the_order_of_their_ranks_at_their_accuracy(scene: Scene) -> None:
    assert scene.y.texts == ("b", "d", "c", "a")
    at = {told(item)["model"]: scene.x.at(item["x"]) for layer in scene.of("symbol") for item in layer.items}
    assert at == pytest.approx({"a": 0.45, "b": 0.7, "c": 0.55, "d": 0.6}, abs=1e-6)


def test_a_line_is_wilsons_interval_over_the_images_of_that_attack(scene: Scene) -> None:
    (lines,) = scene.of("rule")
    ends = [sorted((scene.x.at(item["x"]), scene.x.at(item["x2"]))) for item in lines.items]
    expected = [(700, 1000), (300, 500), (275, 500), (225, 500)]
    assert ends == [pytest.approx(list(map(float, wilson_interval(k, n))), abs=1e-6) for k, n in expected]


def test_marks_of_models_that_faced_weaker_attacks_are_open(scene: Scene) -> None:
    full, hollow = scene.of("symbol")
    assert [told(item)["model"] for item in hollow.items] == ["b"]
    assert hollow.items[0].get("fill", "transparent") == "transparent"
    assert all(item["fill"] != "transparent" for item in full.items)


def test_the_frontier_joins_the_models_that_no_other_beats_in_both(ranked: pd.DataFrame) -> None:
    figure = own.against_clean(ranked)
    assert figure is not None
    assert figure.summary == "On the frontier: b, c, a."
    scene = drawn(figure)
    (line,) = scene.of("line")
    assert [scene.x.at(item["x"]) for item in line.items] == pytest.approx([0.8, 0.85, 0.9], abs=1e-6)
    assert own.against_clean(ranked.drop(columns="clean_accuracy_test")) is None
