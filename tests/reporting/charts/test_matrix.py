"""A cell is coloured by the class of its estimate and carries its number; what is missing is said to be missing."""

import pandas as pd
import pytest

from measurebench.reporting.charts.matrix import COLUMNS, EXPECTED, matrix, matrix_width
from measurebench.reporting.figures.figure import Figure, specification
from measurebench.reporting.html.theme import LIGHT, TAU_STEPS
from tests.reporting.charts.drawn import Scene, drawn, told

BLANK = dict.fromkeys(("estimate", "ci_low", "ci_high", "n_models", "p_adjusted"))
# One row per measure and column; the estimates are chosen to fall into known classes.
ESTIMATES = {
    "one": {"a": -0.95, "b": -0.7},
    "two": {"a": 0.05, "b": None},
    "three": {"a": 0.69, "b": 0.7},
}


def cell(title: str, order: int, column: str, estimate: float | None, sure: bool = False) -> dict:
    shared = {"title": title, "order": order, "expected": "+", "group": column, "sign": "", "column": column}
    if estimate is None:
        return {**BLANK, **shared, "sure": sure}
    span = {"estimate": estimate, "ci_low": estimate - 0.1, "ci_high": estimate + 0.1}
    return {**BLANK, **shared, **span, "n_models": 20, "p_adjusted": 0.01, "sure": sure}


def rows() -> list[dict]:
    made = []
    for order, (title, cells) in enumerate(ESTIMATES.items()):
        made.append({**cell(title, order, EXPECTED, None), "sign": "+" if order else "\u2212"})
        made += [cell(title, order, column, value, sure=title == "one") for column, value in cells.items()]
    return made


@pytest.fixture(scope="module")
def scene() -> Scene:
    spec = specification(matrix("tau", [EXPECTED, "b", "a"], 3, "tau"))
    return drawn(Figure("m", "Title", "Summary.", spec, {"tau": pd.DataFrame(rows())}, "tau", COLUMNS, rows=3))


def place(scene: Scene, item: dict) -> tuple[str, str]:
    """Return row and column of a cell or of a text."""
    x = item["x"] + item.get("width", 0) / 2
    y = item["y"] + item.get("height", 0) / 2
    return scene.y.name(y), scene.axis("top").name(x)


def colour(estimate: float) -> str:
    """The class of an estimate counts the steps that are not above it; a step belongs to the class above."""
    return LIGHT[f"h{1 + sum(step <= estimate for step in TAU_STEPS)}"]


def test_rows_follow_their_order_and_columns_the_order_given(scene: Scene) -> None:
    assert scene.y.texts == ("one", "two", "three")
    assert [text.split("\n")[0] for text in scene.axis("top").texts] == ["expected", "b", "a"]


def test_a_cell_has_the_colour_of_its_class_also_on_a_step(scene: Scene) -> None:
    (cells,) = scene.of("rect")
    found = {place(scene, item): item["fill"] for item in cells.items}
    for title, row in ESTIMATES.items():
        for column, estimate in row.items():
            wanted = LIGHT["panel"] if estimate is None else colour(estimate)
            assert found[title, _label(column)] == wanted
    assert colour(-0.95) == LIGHT["h1"]
    assert colour(-0.7) == LIGHT["h2"]
    assert colour(0.05) == LIGHT["h5"]
    assert (colour(0.69), colour(0.7)) == (LIGHT["h8"], LIGHT["h9"])


def _label(column: str) -> str:
    return f"{column}\n "


def numbers(scene: Scene) -> dict[tuple[str, str], dict]:
    sure, unsure, *_ = scene.of("text")
    return {place(scene, item): item for item in (*sure.items, *unsure.items)}


def test_every_cell_carries_its_number_with_two_digits_and_a_dash_where_there_is_none(scene: Scene) -> None:
    shown = {where: item["text"] for where, item in numbers(scene).items()}
    assert shown["one", "a\n "] == "\u22120.95"
    assert shown["three", "a\n "] == "0.69"
    assert shown["two", "b\n "] == "\u2013"
    assert len(shown) == 6


def test_numbers_are_bold_where_the_association_is_shown(scene: Scene) -> None:
    bold = {where for where, item in numbers(scene).items() if item.get("fontWeight") == 700}
    assert bold == {("one", "a\n "), ("one", "b\n ")}


def test_the_ink_of_a_number_belongs_to_the_colour_under_it(scene: Scene) -> None:
    inks = {where: item["fill"] for where, item in numbers(scene).items()}
    assert inks["one", "a\n "] == LIGHT["t1"]
    assert inks["three", "b\n "] == LIGHT["t9"]
    assert inks["two", "b\n "] == LIGHT["muted"]


def test_intervals_stand_below_the_numbers_where_columns_are_wide(scene: Scene) -> None:
    intervals = scene.of("text")[2]
    texts = {place(scene, item): item["text"] for item in intervals.items}
    assert texts["two", "a\n "] == "\u22120.05 to 0.15"
    assert len(texts) == 5
    assert {(item["dy"], item["opacity"]) for item in intervals.items} == {(8, 0.85)}


def test_the_expected_sign_has_a_column_without_colour(scene: Scene) -> None:
    signs = scene.of("text")[3]
    assert {place(scene, item)[0]: item["text"] for item in signs.items} == {"one": "\u2212", "two": "+", "three": "+"}
    assert {place(scene, item)[1].split("\n")[0] for item in signs.items} == {"expected"}
    assert not [item for item in scene.of("rect")[0].items if told(item)["column"].startswith("expected")]


def test_every_row_is_thirty_pixels_high_and_every_column_as_wide_as_the_others(scene: Scene) -> None:
    assert scene.height == 90
    assert {item["height"] for item in scene.of("rect")[0].items} == {30}
    assert {round(item["width"], 6) for item in scene.of("rect")[0].items} == {round(scene.width / 3, 6)}


def test_more_columns_need_more_room() -> None:
    assert [matrix_width(n) for n in (1, 2, 10)] == [218, 266, 650]


def test_a_saturated_cell_of_few_pairs_is_drawn_faded_and_its_number_in_the_ink_of_the_page() -> None:
    made = [
        cell("few", 0, "a", 1.0) | {"few": True, "n_pairs": 2},
        cell("many", 1, "a", 1.0) | {"few": False, "n_pairs": 40},
    ]
    spec = specification(matrix("tau", ["a"], 2, "psi"))
    scene = drawn(Figure("m", "Title", "Summary.", spec, {"tau": pd.DataFrame(made)}, "tau", COLUMNS, rows=2))
    (cells,) = (layer for layer in scene.of("rect") if len(layer.items) == 2)
    assert {scene.y.name(item["y"] + item["height"] / 2): item["opacity"] for item in cells.items} == {
        "few": 0.28,
        "many": 1,
    }
    assert {item["fill"] for item in cells.items} == {LIGHT["h9"]}
    inks = {where[0]: item["fill"] for where, item in numbers(scene).items()}
    assert inks == {"few": LIGHT["ink"], "many": LIGHT["t9"]}
