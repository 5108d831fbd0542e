"""The numbers per setting are granulated psi and conditional pi, found again by slow loops over pairs of models."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from measurebench.reporting.charts import by_setting, matrix
from measurebench.reporting.charts.by_setting import SYMBOLS
from measurebench.reporting.html.theme import LIGHT, TAU_STEPS
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.charts.conftest import SETTINGS, wide_table
from tests.reporting.charts.drawn import Scene, drawn, number
from tests.reporting.conftest import KEPT

LABELS = {
    "setting_augmentation": "augmentation",
    "setting_batch_size": "batch",
    "architecture": "architecture",
    "defense": "defense",
}


def psi(table: pd.DataFrame, measure: str, setting: str) -> float:
    """Return the mean over groups that differ in one setting only of the agreement of their pairs (Jiang eq. 9)."""
    agreements = []
    for _, group in table.groupby([name for name in SETTINGS if name != setting]):
        pairs = [
            np.sign(table.at[a, measure] - table.at[b, measure])
            * np.sign(table.at[a, "robust_gap_pgd"] - table.at[b, "robust_gap_pgd"])
            for a, b in combinations(group.index, 2)
            if table.at[a, setting] != table.at[b, setting]
        ]
        if pairs:
            agreements.append(np.mean(pairs))
    return float(np.mean(agreements))


def pi(table: pd.DataFrame, measure: str, setting: str) -> float:
    """Return the mean over the values of a setting of Kendall's tau inside each (Kim et al. 2023)."""
    groups = [group for _, group in table.groupby(setting)]
    return float(np.mean([kendalltau(group[measure], group["robust_gap_pgd"]).statistic for group in groups]))


STATISTICS = {"psi": psi, "pi": pi}


@pytest.fixture(scope="module")
def scenes(wide: Study) -> dict[str, Scene]:
    found = {name: by_setting.figure(wide, name) for name in STATISTICS}
    return {name: drawn(figure) for name, figure in found.items() if figure}


def numbers(scene: Scene) -> dict[tuple[str, str], float]:
    sure, unsure, *_ = scene.of("text")
    top = scene.axis("top")
    return {
        (scene.y.name(item["y"]), top.name(item["x"]).split("\n")[0]): float(item["text"].replace("\u2212", "-"))
        for item in (*sure.items, *unsure.items)
    }


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_number_is_the_statistic_of_its_setting(
    scenes: dict[str, Scene], wide: Study, statistic: str, setting: str
) -> None:
    found = numbers(scenes[statistic])
    for measure in ("local_lip", "path_norm"):
        wanted = STATISTICS[statistic](wide.table, measure, setting)
        assert found[wide.infos[measure].title, LABELS[setting]] == pytest.approx(wanted, abs=0.005001)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_last_column_is_the_mean_over_the_settings(scenes: dict[str, Scene], wide: Study, statistic: str) -> None:
    found = numbers(scenes[statistic])
    for measure in ("local_lip", "path_norm"):
        wanted = np.mean([STATISTICS[statistic](wide.table, measure, setting) for setting in SETTINGS])
        assert found[wide.infos[measure].title, "mean"] == pytest.approx(wanted, abs=0.005001)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_first_column_of_numbers_is_tau_over_all_models(
    scenes: dict[str, Scene], wide: Study, statistic: str
) -> None:
    found = numbers(scenes[statistic])
    for measure in KEPT:
        tau = kendalltau(wide.table[measure], wide.table["robust_gap_pgd"]).statistic
        assert found[wide.infos[measure].title, "all"] == pytest.approx(tau, abs=0.005001)


def test_columns_are_the_expected_sign_all_models_the_settings_and_their_mean(scenes: dict[str, Scene]) -> None:
    for statistic, scene in scenes.items():
        names = [text.split("\n")[0] for text in scene.axis("top").texts]
        assert names == ["expected", "all", "augmentation", "batch", "architecture", "defense", "mean"]
        assert scene.axis("top").texts[-1] == f"mean\n{SYMBOLS[statistic]}"


def test_the_title_names_the_measure_with_the_largest_mean(wide: Study) -> None:
    means = {name: np.mean([psi(wide.table, name, setting) for setting in SETTINGS]) for name in KEPT}
    best = max(means, key=lambda name: abs(means[name]))
    figure = by_setting.figure(wide, "psi")
    assert figure
    assert f"{wide.infos[best].title} follows the gap most closely (mean ψ = {means[best]:.2f}" in figure.title


def test_the_summary_counts_the_pairs_that_differ_in_one_setting_only(wide: Study) -> None:
    # Three models in each of 24 cells: 12 groups of two levels give 12 * 9 pairs, the 8 of three defenses 8 * 27.
    figure = by_setting.figure(wide, "psi")
    assert figure
    for text in ("augmentation 108", "batch size 108", "architecture 108", "defense 216"):
        assert text in figure.summary


def test_a_table_without_settings_has_no_chart() -> None:
    table = wide_table().drop(columns=[*SETTINGS, "n_parameters"])
    study = Study.of("x", table, analyze(table, bootstrap=20, permutations=19, measures=["local_lip"]))
    assert by_setting.figure(study, "psi") is None
    assert by_setting.figure(study, "pi") is None


@pytest.mark.parametrize(("pairs", "few"), [(9, True), (10, False), (None, True)])
def test_a_cell_of_few_pairs_is_faded(pairs: int | None, few: bool) -> None:
    assert matrix.few_pairs({"estimate": 1.0, "n_pairs": pairs}) is few
    assert matrix.few_pairs({}) is False


def marks_of_role(node: dict[str, Any], role: str) -> list[dict[str, Any]]:
    """Return the items of all marks of a role, wherever they lie in a scene."""
    found = list(node.get("items", ())) if node.get("role") == role else []
    return found + [item for child in node.get("items", ()) for item in marks_of_role(child, role)]


def test_each_band_of_the_colour_bar_is_labelled_at_its_left_end_with_its_lower_bound(wide: Study) -> None:
    figure = by_setting.figure(wide, "psi")
    assert figure
    root = drawn(figure).root
    bands = sorted(marks_of_role(root, "legend-band"), key=lambda item: float(item.get("x", 0)))
    labels = {float(item["x"]): number(item["text"]) for item in marks_of_role(root, "legend-label")}
    ends = {float(band.get("x", 0)): fill for band, fill in zip(bands, (b["fill"] for b in bands), strict=True)}
    assert sorted(labels) == pytest.approx(sorted(ends))
    assert [labels[place] for place in sorted(labels)] == [-1.0, *TAU_STEPS]
    assert list(ends.values()) == [LIGHT[f"h{i}"] for i in range(1, 10)]
