"""A model lies at its measure and its gap; lines are least-squares fits with their 95 % confidence band."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from measurebench.reporting.charts import scatter
from measurebench.reporting.charts.scatter import STEPS, TITLE, fit_lines, inside, sentence, template
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.charts.drawn import Layer, Scene, drawn
from tests.reporting.synthetic import DEFENSES, study_table

MEASURE = "local_lip"


@pytest.fixture(scope="module")
def scene(wide: Study) -> Scene:
    return drawn(scatter.figure(wide, MEASURE))


def models(study: Study, defense: str) -> tuple[np.ndarray, np.ndarray]:
    rows = study.table[study.table["defense"] == defense]
    return rows[MEASURE].to_numpy(), rows["robust_gap_pgd"].to_numpy()


def of_defense(scene: Scene, kind: str, defense: str) -> Layer:
    """Return the line or band that has the colour of a defense."""
    channel = "stroke" if kind == "line" else "fill"
    colour = scene.legend[defense]["fill"]
    return next(layer for layer in scene.of(kind) if layer.items[0][channel] == colour)


def test_every_model_lies_at_its_measure_and_its_gap(scene: Scene, wide: Study) -> None:
    (points,) = scene.of("symbol")
    y = scene.axis("left", unit=0.01)
    assert [scene.x.at(i["x"]) for i in points.items] == pytest.approx(wide.table[MEASURE].tolist(), abs=1e-5)
    assert [y.at(i["y"]) for i in points.items] == pytest.approx(wide.table["robust_gap_pgd"].tolist(), abs=1e-6)


def test_axes_are_titled_with_the_measure_and_the_target(scene: Scene) -> None:
    assert scene.x.title == "local lip"
    assert scene.y.title == "robust generalization gap (PGD) (percentage points)"


@pytest.mark.parametrize("defense", DEFENSES)
def test_a_line_is_the_least_squares_fit_of_its_defense_over_its_range(scene: Scene, wide: Study, defense: str) -> None:
    x, y = models(wide, defense)
    slope, intercept = np.polyfit(x, y, 1)
    line = of_defense(scene, "line", defense)
    at, height = [scene.x.at(i["x"]) for i in line.items], scene.axis("left", unit=0.01)
    assert at == pytest.approx(np.linspace(x.min(), x.max(), STEPS + 1).tolist(), abs=1e-5)
    assert [height.at(i["y"]) for i in line.items] == pytest.approx([intercept + slope * v for v in at], abs=1e-5)


@pytest.mark.parametrize("defense", DEFENSES)
def test_the_band_is_the_confidence_band_of_the_mean(scene: Scene, wide: Study, defense: str) -> None:
    x, y = models(wide, defense)
    n = len(x)
    slope, intercept = np.polyfit(x, y, 1)
    residual = np.sqrt(((y - intercept - slope * x) ** 2).sum() / (n - 2))
    half = stats.t.ppf(0.975, n - 2) * residual * np.sqrt(1 / n + (x.min() - x.mean()) ** 2 / (n * x.var()))
    band, height = of_defense(scene, "area", defense), scene.axis("left", unit=0.01)
    first = band.items[0]
    ends = sorted((height.at(first["y"]), height.at(first["y2"])))
    fitted = intercept + slope * x.min()
    assert ends == pytest.approx([fitted - half, fitted + half], abs=1e-5)


def test_slopes_are_drawn_as_they_were_planted(scene: Scene) -> None:
    for defense, rises in (("AT", True), ("TRADES", False)):
        line = of_defense(scene, "line", defense)
        assert (line.items[-1]["y"] < line.items[0]["y"]) == rises


def test_the_sentence_states_tau_interval_and_number_of_models(wide: Study) -> None:
    tau = stats.kendalltau(wide.table["x_grad_norm_pgd"], wide.table["robust_gap_pgd"]).statistic
    told = sentence(wide, "x_grad_norm_pgd")
    assert told.startswith("x grad norm pgd: larger values go with larger gaps")
    assert f"τ = {tau:.2f}, 95 % [" in told
    assert told.endswith("n = 72)")


def test_an_association_that_is_not_shown_is_not_claimed(wide: Study) -> None:
    noise = wide.table.assign(noise=np.random.default_rng(1).normal(size=72))
    plain = noise.drop(columns=["_i", "_target", "_defense"])
    study = Study.of("x", plain, analyze(plain, bootstrap=60, permutations=199, measures=["noise"]))
    told = sentence(study, "noise")
    assert told.startswith("noise: no association with the gap is shown (τ = ")
    assert "go with" not in told


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"verdict": "tells_settings"},
            "larger values go with larger gaps; beside the settings, one curve for all models lowers the "
            "squared error by less than 10 %, if at all (τ = ",
        ),
        (
            {"verdict": "explained_by_train_accuracy"},
            "larger values go with larger gaps, of which less than half is left with train robust accuracy held",
        ),
        (
            {"verdict": "turns_with_train_accuracy"},
            "larger values go with larger gaps, and the other way with train robust accuracy held fixed (",
        ),
        ({"verdict": "turns_with_defense", "opposite": "TRADES"}, "has the opposite sign inside TRADES (τ = "),
    ],
)
def test_the_sentence_says_no_more_than_the_verdict(wide: Study, changed: dict[str, str], words: str) -> None:
    judged = wide.analysis.judgements.copy()
    judged.loc[judged["measure"] == "x_grad_norm_pgd", list(changed)] = list(changed.values())
    study = Study.of("x", wide.table, replace(wide.analysis, judgements=judged))
    assert words in sentence(study, "x_grad_norm_pgd")


def test_a_measure_without_an_estimate_says_so(wide: Study) -> None:
    assert sentence(wide, "absent") == "absent: no rank correlation with the gap can be computed"


def test_the_judgement_has_true_minus_signs_and_the_symbol_of_tau(wide: Study) -> None:
    told = inside(wide, MEASURE)
    assert "tau" not in told
    assert "τ" in told
    assert " -0" not in told
    assert "\u2212" in told


def test_one_defense_has_one_line_over_all_models() -> None:
    table = study_table(36)
    table = table[table["defense"] == "AT"].reset_index(drop=True)
    study = Study.of("x", table, analyze(table, bootstrap=20, permutations=19, measures=[MEASURE]))
    lines = drawn(scatter.figure(study, MEASURE)).of("line")
    assert len(lines) == 1
    assert set(fit_lines(study)["_defense"]) == {"all models"}


def test_the_template_leaves_the_title_to_the_page(wide: Study) -> None:
    assert TITLE in str(template(wide))
    assert TITLE not in str(scatter.figure(wide, MEASURE).spec)
