"""Circles are tau, diamonds the tau of residuals with train robust accuracy held fixed."""

import numpy as np
import pytest
from scipy.stats import kendalltau, norm, rankdata

from measurebench.reporting.charts import control
from measurebench.reporting.subject.study import Study, is_sure
from measurebench.stats import analyze
from tests.reporting.charts.drawn import Scene, drawn
from tests.reporting.conftest import KEPT
from tests.reporting.synthetic import study_table

HELD = "pgd_accuracy_train"


@pytest.fixture(scope="module")
def scene(wide: Study) -> Scene:
    figure = control.figure(wide)
    assert figure
    return drawn(figure)


def tau(study: Study, a: str, b: str = "robust_gap_pgd") -> float:
    return float(kendalltau(study.table[a], study.table[b]).statistic)


def left(study: Study, measure: str) -> float:
    """Return Kendall's tau of what a cubic regression of normal scores on those of the control leaves."""
    columns = (study.table[name] for name in (measure, "robust_gap_pgd", HELD))
    x, y, z = (norm.ppf(rankdata(column) / (len(study.table) + 1)) for column in columns)
    fits = (np.polynomial.Polynomial.fit(z, of, 3)(z) for of in (x, y))
    return float(kendalltau(*(of - fit for of, fit in zip((x, y), fits, strict=True))).statistic)


@pytest.mark.parametrize("measure", KEPT)
def test_circles_lie_at_tau_and_diamonds_at_tau_of_residuals(scene: Scene, wide: Study, measure: str) -> None:
    circles, diamonds = scene.of("symbol")
    title = wide.infos[measure].title
    assert scene.x.at(circles.by("title")[title]["x"]) == pytest.approx(tau(wide, measure), abs=1e-6)
    assert scene.x.at(diamonds.by("title")[title]["x"]) == pytest.approx(left(wide, measure), abs=1e-6)
    assert {item["shape"] for item in circles.items} == {"circle"}
    assert {item["shape"] for item in diamonds.items} == {"diamond"}


@pytest.mark.parametrize(("layer", "statistic", "axis"), [(1, "tau_b", None), (2, "residual_tau", HELD)])
def test_lines_are_the_intervals_of_the_analysis(
    scene: Scene, wide: Study, layer: int, statistic: str, axis: str | None
) -> None:
    lines = scene.of("rule")[layer].by("title")
    for name in KEPT:
        row = wide.estimate(name, statistic, axis=axis)
        line = lines[wide.infos[name].title]
        ends = sorted((scene.x.at(line["x"]), scene.x.at(line["x2"])))
        assert ends == pytest.approx([row["ci_low"], row["ci_high"]], abs=1e-6)


def test_both_estimates_of_a_row_are_moved_apart_by_ten_pixels(scene: Scene) -> None:
    circles, diamonds = (layer.by("title") for layer in scene.of("symbol"))
    for title in scene.y.texts:
        assert diamonds[title]["y"] - circles[title]["y"] == 10
        assert (diamonds[title]["y"] + circles[title]["y"]) / 2 == pytest.approx(scene.y.centre(title), abs=1)


def test_the_axis_runs_from_minus_one_to_one_with_zero_marked(scene: Scene) -> None:
    assert (scene.x.at(0), scene.x.at(scene.width)) == pytest.approx((-1, 1))
    assert scene.x.at(scene.of("rule")[0].items[0]["x"]) == pytest.approx(0, abs=1e-9)


def test_rows_run_from_the_strongest_association_to_the_weakest(scene: Scene, wide: Study) -> None:
    strongest = sorted(KEPT, key=lambda name: -abs(tau(wide, name)))
    assert scene.y.texts == tuple(wide.infos[name].title for name in strongest)


def test_the_title_counts_the_associations_that_are_left(wide: Study) -> None:
    rows = [(wide.estimate(name), wide.estimate(name, "residual_tau", axis=HELD)) for name in KEPT]
    shown = [(whole, held) for whole, held in rows if is_sure(whole)]
    left = sum(is_sure(held) and whole["estimate"] * held["estimate"] > 0 for whole, held in shown)
    figure = control.figure(wide)
    assert figure
    assert figure.title.startswith(f"{left} of {len(shown)} association")


def test_without_train_accuracy_there_is_no_control() -> None:
    table = study_table(24).drop(columns=[HELD])
    study = Study.of("x", table, analyze(table, bootstrap=20, permutations=19, measures=["local_lip"]))
    assert control.figure(study) is None
