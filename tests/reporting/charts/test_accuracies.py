"""Each model lies at its train and test robust accuracy, and the diagonal is where both are equal."""

import numpy as np
import pytest

from measurebench.reporting.charts import accuracies
from measurebench.reporting.html.theme import LIGHT
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.charts.drawn import Scene, drawn
from tests.reporting.synthetic import study_table


@pytest.fixture(scope="module")
def scene(wide: Study) -> Scene:
    figure = accuracies.figure(wide)
    assert figure
    return drawn(figure)


def test_every_model_lies_at_its_two_accuracies(scene: Scene, wide: Study) -> None:
    (points,) = scene.of("symbol")
    train = [scene.x.at(item["x"]) for item in points.items]
    test = [scene.y.at(item["y"]) for item in points.items]
    assert train == pytest.approx(wide.table["pgd_accuracy_train"].tolist(), abs=1e-6)
    assert test == pytest.approx(wide.table["pgd_accuracy_test"].tolist(), abs=1e-6)


def test_the_distance_from_the_diagonal_is_the_gap(scene: Scene, wide: Study) -> None:
    (points,) = scene.of("symbol")
    distance = [scene.x.at(item["x"]) - scene.y.at(item["y"]) for item in points.items]
    assert distance == pytest.approx(wide.table["robust_gap_pgd"].tolist(), abs=1e-6)


def test_the_diagonal_runs_through_equal_accuracies_from_corner_to_corner(scene: Scene) -> None:
    (diagonal,) = scene.of("line")
    for end in diagonal.items:
        assert scene.x.at(end["x"]) == pytest.approx(scene.y.at(end["y"]), abs=1e-9)
    assert [(end["x"], end["y"]) for end in diagonal.items] == [(0, scene.height), (scene.width, 0)]
    assert diagonal.items[0]["strokeDash"] == [4, 4]


def test_both_axes_reach_a_little_beyond_the_outermost_models(scene: Scene, wide: Study) -> None:
    both = wide.table[["pgd_accuracy_train", "pgd_accuracy_test"]].to_numpy()
    low, high = both.min(), both.max()
    pad = max(0.02, 0.05 * (high - low))
    ends = (scene.x.at(0), scene.x.at(scene.width))
    assert ends == pytest.approx((max(0, low - pad), min(1, high + pad)), abs=1e-6)
    assert (scene.y.at(scene.height), scene.y.at(0)) == pytest.approx(ends, abs=1e-6)


def test_defenses_have_a_colour_and_a_shape_each_as_the_legend_says(scene: Scene, wide: Study) -> None:
    (points,) = scene.of("symbol")
    assert list(scene.legend) == ["Standard", "AT", "TRADES"]
    for item, defense in zip(points.items, wide.table["defense"], strict=True):
        entry = scene.legend[defense]
        assert (item["fill"], item["shape"]) == (entry["fill"], entry["shape"])
    assert [scene.legend[name]["fill"] for name in scene.legend] == [LIGHT["s1"], LIGHT["s2"], LIGHT["s3"]]


def test_the_title_counts_the_models_that_are_more_robust_on_training_images(wide: Study) -> None:
    figure = accuracies.figure(wide)
    assert figure
    above = int(np.sum(wide.table["pgd_accuracy_train"] > wide.table["pgd_accuracy_test"]))
    assert figure.title.startswith(f"{above} of 72 models are more robust")
    low, high = wide.table["pgd_accuracy_test"].min(), wide.table["pgd_accuracy_test"].max()
    assert f"{100 * low:.1f}\u00a0% to {100 * high:.1f}\u00a0% on test images" in figure.summary


def test_models_without_one_of_the_accuracies_are_not_drawn() -> None:
    table = study_table(24)
    table.loc[:3, "pgd_accuracy_train"] = float("nan")
    study = Study.of("x", table, analyze(table, bootstrap=20, permutations=19, measures=["local_lip"]))
    figure = accuracies.figure(study)
    assert figure
    assert len(drawn(figure).of("symbol")[0].items) == 20


def test_without_accuracies_there_is_no_chart() -> None:
    table = study_table(24).drop(columns=["pgd_accuracy_train"])
    study = Study.of("x", table, analyze(table, bootstrap=20, permutations=19, measures=["local_lip"]))
    assert accuracies.figure(study) is None
