"""The heat map's numbers are Kendall's tau, inside each defense and over all models."""

import pytest
from scipy.stats import kendalltau

from measurebench.reporting.charts import heatmap
from measurebench.reporting.charts.heatmap import expected_sign, turning_measures
from measurebench.reporting.subject.study import Study, is_sure
from tests.reporting.charts.drawn import Scene, drawn
from tests.reporting.conftest import KEPT
from tests.reporting.synthetic import DEFENSES


@pytest.fixture(scope="module")
def scene(wide: Study) -> Scene:
    return drawn(heatmap.figure(wide))


def tau(study: Study, measure: str, defense: str = "") -> float:
    rows = study.table[study.table["defense"] == defense] if defense else study.table
    return float(kendalltau(rows[measure], rows["robust_gap_pgd"]).statistic)


def title(study: Study, measure: str) -> str:
    return study.infos[measure].title


def column(text: str) -> str:
    return text.split("\n")[0]


def numbers(scene: Scene) -> dict[tuple[str, str], dict]:
    sure, unsure, *_ = scene.of("text")
    top = scene.axis("top")
    return {(scene.y.name(i["y"]), column(top.name(i["x"]))): i for i in (*sure.items, *unsure.items)}


@pytest.mark.parametrize("measure", KEPT)
def test_every_number_is_kendalls_tau_of_its_models(scene: Scene, wide: Study, measure: str) -> None:
    found = numbers(scene)
    for defense in ("", *DEFENSES):
        text = found[title(wide, measure), defense or "all"]["text"].replace("\u2212", "-")
        assert float(text) == pytest.approx(tau(wide, measure, defense), abs=0.005001)


def test_rows_run_from_the_strongest_association_to_the_weakest(scene: Scene, wide: Study) -> None:
    strongest = sorted(KEPT, key=lambda name: -abs(tau(wide, name)))
    floor = ("control: random numbers", "control: all settings")
    assert scene.y.texts == (*(title(wide, name) for name in strongest), *floor)


def test_columns_carry_how_many_models_they_rest_on(scene: Scene, wide: Study) -> None:
    counts = wide.table["defense"].value_counts()
    wanted = [f"{name}\nn = {counts[name]}" for name in DEFENSES]
    assert list(scene.axis("top").texts) == ["expected\nsign", "all\nn = 72", *wanted]


def test_bold_numbers_are_those_of_associations_that_are_shown(scene: Scene, wide: Study) -> None:
    for (row, place), item in numbers(scene).items():
        name = next((name for name in KEPT if title(wide, name) == row), row)
        estimate = wide.estimate(name) if place == "all" else wide.estimate(name, "tau_within", place)
        assert (item.get("fontWeight") == 700) == is_sure(estimate)


def test_the_planted_reversal_is_counted_and_named(wide: Study) -> None:
    assert tau(wide, "local_lip", "AT") > 0.5
    assert tau(wide, "local_lip", "TRADES") < -0.5
    assert turning_measures(wide) == ["local_lip"]
    told = heatmap.figure(wide)
    assert told.title.startswith("1 of 6 measures changes sign between defenses")
    assert told.summary.endswith("The sign changes between defenses for local lip.")


def test_the_summary_counts_the_associations_shown_over_all_models(wide: Study) -> None:
    shown = sum(is_sure(wide.estimate(name)) for name in KEPT)
    assert f"is shown for {shown} of 6 measures" in heatmap.figure(wide).summary


def test_the_expected_sign_is_the_one_of_the_measures_info(scene: Scene, wide: Study) -> None:
    wanted = {"+": "+", "-": "\u2212", "": "\u00b7"}
    shown = {scene.y.name(item["y"]): item["text"] for item in scene.of("text")[3].items}
    for name in KEPT:
        assert shown[title(wide, name)] == wanted[wide.infos[name].hypothesis] == expected_sign(wide, name)


def test_a_measure_that_nobody_described_has_no_expected_sign(wide: Study) -> None:
    assert expected_sign(wide, "my_measure") == "\u00b7"


def test_the_table_of_the_chart_has_a_row_for_every_cell(wide: Study) -> None:
    figure = heatmap.figure(wide)
    cells = figure.data["tau"]
    assert len(cells) == (len(KEPT) + 2) * (2 + len(DEFENSES))
    assert figure.rows == len(KEPT) + 2  # with two negative controls
    at = cells[(cells["measure"] == "local_lip") & (cells["group"] == "AT")].iloc[0]
    assert at["estimate"] == pytest.approx(tau(wide, "local_lip", "AT"))
    assert at["n_models"] == int((wide.table["defense"] == "AT").sum())
