"""Both studies' tau of a measure stand in one row, the first above the second."""

import pandas as pd
import pytest

from measurebench.reporting.charts import compared
from tests.reporting.charts.drawn import Scene, drawn

ROWS = pd.DataFrame(
    {
        "title": ["turned", "kept", "only first"],
        "change": ["turned", "same", "one side"],
        "order": [0, 1, 2],
        "tau_a": [0.6, 0.4, -0.2],
        "low_a": [0.4, 0.1, -0.5],
        "high_a": [0.8, 0.6, 0.1],
        "tau_b": [-0.5, 0.3, None],
        "low_b": [-0.7, 0.0, None],
        "high_b": [-0.2, 0.5, None],
    }
)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return drawn(compared.figure(ROWS, "small", "large"))


def drawn_at(scene: Scene, layer: int) -> dict[str, float]:
    marks = scene.of("symbol")[layer].by("title")
    return {title: scene.x.at(item["x"]) for title, item in marks.items() if item["x"] is not None}


def test_circles_are_the_first_study_and_diamonds_the_second(scene: Scene) -> None:
    assert drawn_at(scene, 0) == pytest.approx({"turned": 0.6, "kept": 0.4, "only first": -0.2}, abs=1e-9)
    assert drawn_at(scene, 1) == pytest.approx({"turned": -0.5, "kept": 0.3}, abs=1e-9)
    assert [layer.items[0]["shape"] for layer in scene.of("symbol")] == ["circle", "diamond"]


def test_lines_are_the_intervals(scene: Scene) -> None:
    first = scene.of("rule")[1].by("title")["turned"]
    second = scene.of("rule")[2].by("title")["turned"]
    assert sorted((scene.x.at(first["x"]), scene.x.at(first["x2"]))) == pytest.approx([0.4, 0.8], abs=1e-9)
    assert sorted((scene.x.at(second["x"]), scene.x.at(second["x2"]))) == pytest.approx([-0.7, -0.2], abs=1e-9)


def test_the_first_study_is_drawn_above_the_second(scene: Scene) -> None:
    first, second = (layer.by("title") for layer in scene.of("symbol"))
    assert all(second[title]["y"] - first[title]["y"] == 10 for title in ("turned", "kept"))


def test_rows_follow_the_order_of_the_comparison_twenty_eight_pixels_each(scene: Scene) -> None:
    assert scene.y.texts == ("turned", "kept", "only first")
    assert scene.height == 3 * 28


def test_the_title_counts_equal_signs_among_the_measures_of_both() -> None:
    figure = compared.figure(ROWS, "small", "large")
    assert figure.title == "1 of 2 measures has the same sign in both studies"
    assert figure.reading.startswith("Circle: small; diamond: large")


def test_the_summary_is_kendalls_tau_of_the_two_rankings() -> None:
    three = ROWS.assign(tau_b=[-0.5, 0.3, -0.1])
    assert "agree with Kendall's τ = \u22120.33" in compared.figure(three, "a", "b").summary
    assert "τ = \u2013" in compared.figure(ROWS, "a", "b").summary
