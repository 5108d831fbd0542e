"""Each model lies at its gap in the row of its defense, and the line of a row is the median."""

import numpy as np
import pytest

from measurebench.reporting.charts import gap
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.charts.drawn import Scene, drawn
from tests.reporting.synthetic import study_table


@pytest.fixture(scope="module")
def scene(wide: Study) -> Scene:
    return drawn(gap.figure(wide))


def gaps(scene: Scene, layer: int) -> list[float]:
    axis = scene.axis("bottom", unit=0.01)
    return [axis.at(item["x"]) for item in scene.of("symbol")[layer].items]


def test_every_model_lies_at_its_gap(scene: Scene, wide: Study) -> None:
    assert gaps(scene, 0) == pytest.approx(wide.table["robust_gap_pgd"].tolist(), abs=1e-6)


def test_every_model_lies_inside_the_row_of_its_defense(scene: Scene, wide: Study) -> None:
    rows = [scene.y.name(item["y"]) for item in scene.of("symbol")[0].items]
    assert rows == wide.table["defense"].tolist()
    band = scene.height / 3
    spread = [abs(item["y"] - scene.y.centre(row)) for item, row in zip(scene.of("symbol")[0].items, rows, strict=True)]
    assert max(spread) <= 0.35 * band + 1


def test_marks_of_a_row_are_spread_so_that_neighbours_do_not_cover_each_other(scene: Scene, wide: Study) -> None:
    heights = {round(item["y"], 3) for item in scene.of("symbol")[0].items}
    assert len(heights) == len(wide.table)


def test_the_line_of_a_row_is_the_median_of_its_defense(scene: Scene, wide: Study) -> None:
    medians = wide.table.groupby("defense")["robust_gap_pgd"].apply(np.median)
    strokes = scene.of("symbol")[1]
    rows = [scene.y.name(item["y"]) for item in strokes.items]
    assert sorted(rows) == sorted(medians.index)
    assert gaps(scene, 1) == pytest.approx([medians[row] for row in rows], abs=1e-6)
    assert {(item["shape"], item["angle"]) for item in strokes.items} == {("stroke", 90)}


def test_training_without_an_attack_comes_first(scene: Scene) -> None:
    assert scene.y.texts == ("Standard", "AT", "TRADES")


def test_the_title_names_the_widest_and_the_narrowest_gap_with_their_medians(wide: Study) -> None:
    medians = wide.table.groupby("defense")["robust_gap_pgd"].median().sort_values() * 100
    told = gap.figure(wide).title
    assert f"widest under {medians.index[-1]} (median {medians.iloc[-1]:.1f} points)" in told
    assert f"narrowest under {medians.index[0]} ({medians.iloc[0]:.1f})".replace("-", "\u2212") in told


def test_the_summary_counts_the_models_of_each_defense(wide: Study) -> None:
    for defense, n in wide.table["defense"].value_counts().items():
        assert f"({n} models)" in gap.figure(wide).summary.split(f"{defense}: ")[1]


def test_a_model_that_was_left_out_is_not_drawn() -> None:
    table = study_table(24)
    table.loc[5, "robust_gap_pgd"] = float("nan")
    study = Study.of("x", table, analyze(table, bootstrap=20, permutations=19, measures=["local_lip"]))
    assert len(drawn(gap.figure(study)).of("symbol")[0].items) == 23
