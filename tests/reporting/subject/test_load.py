"""Which analysis a study is shown with, what it is called, and what is read from it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.info import FAMILIES
from measurebench.reporting.subject.study import ALL, MAX_SERIES, OTHER, Study, load_study
from measurebench.stats import analyze, write_analysis
from tests.reporting.synthetic import infos, study_table

QUICK: dict[str, Any] = {"bootstrap": 20, "permutations": 19, "measures": ["x_grad_norm_pgd", "local_lip"]}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return study_table(24)


@pytest.fixture
def stored(table: pd.DataFrame, tmp_path: Path) -> Path:
    """Return a file of models in a folder, with nothing beside it."""
    folder = tmp_path / "my-study"
    folder.mkdir()
    table.to_csv(folder / "models.csv", index=False)
    return folder / "models.csv"


def read(path: Path) -> pd.DataFrame:
    from measurebench.store.tables import read_table

    return read_table(path)


@pytest.mark.parametrize("place", [".", "analysis", "../analysis"])
def test_the_analysis_of_this_very_table_is_found_beside_it(stored: Path, place: str) -> None:
    write_analysis(analyze(read(stored), seed=7, **QUICK), stored.parent / place)
    assert load_study(stored).analysis.provenance["seed"] == 7


def test_the_analysis_of_another_table_is_not_used(stored: Path) -> None:
    changed = read(stored).assign(local_lip=1.5)
    write_analysis(analyze(changed, seed=7, **QUICK), stored.parent / "analysis")
    assert load_study(stored, options=QUICK).analysis.provenance["seed"] == 0


def test_options_make_the_analysis_anew(stored: Path) -> None:
    write_analysis(analyze(read(stored), seed=7, **QUICK), stored.parent / "analysis")
    study = load_study(stored, options=QUICK | {"seed": 3})
    assert study.analysis.provenance["seed"] == 3


def test_a_named_analysis_counts_if_the_table_has_its_columns(stored: Path, tmp_path: Path) -> None:
    write_analysis(analyze(read(stored), seed=7, **QUICK), tmp_path / "elsewhere")
    assert load_study(stored, analysis=tmp_path / "elsewhere").analysis.provenance["seed"] == 7
    fewer = read(stored).drop(columns="local_lip")
    with pytest.raises(BadInputError, match="expected an analysis of this table, got one of a table with 'local_lip'"):
        load_study(fewer, analysis=tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("file", "name"),
    [("my-study/models.csv", "my-study"), ("my-study/wide.csv", "wide"), ("other/records.csv", "other")],
)
def test_a_study_is_called_after_its_folder_where_its_file_says_nothing(
    table: pd.DataFrame, tmp_path: Path, file: str, name: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir()
    table.to_csv(path, index=False)
    assert load_study(path, options=QUICK).name == name
    assert load_study(path, name="mine", options=QUICK).name == "mine"


def test_a_table_in_memory_is_a_study(table: pd.DataFrame) -> None:
    study = load_study(table, options=QUICK, infos=infos())
    assert (study.name, study.provenance, study.gallery) == ("study", {}, ())
    assert set(study.infos) == set(infos())


@pytest.fixture(scope="module")
def study(table: pd.DataFrame) -> Study:
    return Study.of("x", table, analyze(table, bootstrap=20, permutations=19), infos=infos())


def test_measures_are_ranked_by_the_size_of_tau_and_grouped_by_family(study: Study) -> None:
    sizes = [abs(study.estimate(name)["estimate"]) for name in study.ranked]
    assert sizes == sorted(sizes, reverse=True)
    families = [FAMILIES.index(study.infos[name].family) for name in study.by_family]
    assert families == sorted(families)
    assert set(study.by_family) == set(study.ranked) == set(study.analysis.measures)


def test_a_measure_without_info_comes_last_by_family(table: pd.DataFrame) -> None:
    known = {name: info for name, info in infos().items() if name != "num_params"}
    chosen = ["num_params", "local_lip"]
    study = Study.of("x", table, analyze(table, measures=chosen, bootstrap=20, permutations=19), infos=known)
    assert study.by_family == ("local_lip", "num_params")


def test_an_estimate_is_found_by_statistic_level_and_axis(study: Study) -> None:
    rows = study.analysis.correlations
    total = study.estimate("local_lip")
    assert (total["statistic"], total["axis"], total["level"]) == ("tau_b", "", "")
    inside = study.estimate("local_lip", "tau_within", "AT")
    assert (inside["axis"], inside["level"]) == ("defense", "AT")
    expected = rows.query("measure == 'local_lip' and statistic == 'tau_within' and level == 'AT'")["estimate"].iloc[0]
    assert inside["estimate"] == expected
    assert study.estimate("local_lip", "psi", axis="setting_batch_size")["axis"] == "setting_batch_size"
    assert study.estimate("no such") == {}
    assert study.estimate("local_lip", "tau_within", "no such") == {}


def test_what_could_not_be_estimated_is_not_there(table: pd.DataFrame) -> None:
    flat = table.assign(local_lip=1.0)
    study = Study.of("x", flat, analyze(flat, **QUICK))
    assert study.estimate("local_lip") == {}


def test_defenses_come_with_standard_first_and_the_rare_ones_together(table: pd.DataFrame) -> None:
    names = ["Standard"] * 3 + [f"d{k}" for k in range(9) for _ in range(1 + (k < 6))] + ["d0"] * 6
    many = table.assign(defense=names)
    found = Study.of("x", many, analyze(many, settings=["setting_batch_size"], **QUICK))
    assert len(found.defenses) == MAX_SERIES
    assert (found.defenses[0], found.defenses[-1]) == ("Standard", OTHER)
    assert Study.of("x", table, analyze(table, **QUICK)).defenses == ("Standard", "AT", "TRADES")


def test_without_defenses_all_models_are_drawn_alike(table: pd.DataFrame) -> None:
    plain = table.drop(columns="defense")
    assert Study.of("x", plain, analyze(plain, **QUICK)).defenses == (ALL,)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("robust_gap_pgd", ("pgd_accuracy_train", "pgd_accuracy_test")),
        ("clean_accuracy_train", ("pgd_accuracy_train", "pgd_accuracy_test")),
        ("robust_gap_autoattack", None),
    ],
)
def test_accuracies_are_those_of_the_targets_attack_or_none(table: pd.DataFrame, target: str, expected: Any) -> None:
    given = table.assign(robust_gap_autoattack=table["robust_gap_pgd"], clean_accuracy_train=np.linspace(0.9, 1, 24))
    assert Study.of("x", given, analyze(given, target=target, **QUICK)).accuracies == expected


def test_models_left_out_are_listed_with_the_reason_of_the_filter_or_of_the_table(table: pd.DataFrame) -> None:
    changed = table.copy()
    changed.loc[0, ["robust_gap_pgd", "reason"]] = [np.nan, "OutOfMemoryError"]
    changed.loc[1, "robust_gap_pgd"] = np.nan
    study = Study.of("x", changed, analyze(changed, **QUICK))
    ids = changed["model_id"]
    assert study.left_out == {ids[0]: "no robust_gap_pgd: OutOfMemoryError", ids[1]: "no robust_gap_pgd"}
    assert len(study.measured) == 22
