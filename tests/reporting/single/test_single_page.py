"""The page of one model: what it tells of a table, of records and of verdicts."""

from pathlib import Path

import pandas as pd
import pytest

from measurebench import run, write_report
from measurebench.core.errors import BadInputError
from measurebench.core.intervals import wilson_interval
from measurebench.reporting.single.profile import gaps_of, rates_of
from measurebench.reporting.single.single_page import load_single, single_page
from measurebench.store.tables import read_table

ROW = {
    "model_id": "mine",
    "defense": "AT",
    "dataset": "digits",
    "norm": "Linf",
    "radius": "3/20",
    "n_train": 100,
    "n_test": 200,
    "clean_accuracy_test": 0.9,
    "pgd_accuracy_train": 0.8,
    "pgd_accuracy_test": 0.6,
    "robust_gap_pgd": 0.2,
    "path_norm": 12.5,
    "average_ce_pgd": None,
    "<b>odd</b>": 3.0,
}
TABLE = pd.DataFrame([ROW])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "results"
    options = {"attacks": "pgd", "measures": "path_norm,x_grad_norm_pgd", "train_examples": 40, "test_examples": 60}
    run("digits:plain-at-10-b64-s0-last", "digits", out, workers=1, **options)
    return out


def test_accuracies_have_the_interval_of_their_own_number_of_images() -> None:
    rates = {rate.column: rate for rate in rates_of(TABLE.iloc[0], None)}
    train, test = rates["pgd_accuracy_train"], rates["pgd_accuracy_test"]
    assert (train.n, test.n) == (100, 200)
    assert (train.low, train.high) == wilson_interval(80, 100)
    assert (test.low, test.high) == wilson_interval(120, 200)


def test_interval_of_the_gap_is_newcombes() -> None:
    """Newcombe 1998, Table II, case (a): 56/70 against 48/80 by method 10 is 0.0524 to 0.3339."""
    row = pd.Series({"n_train": 70, "n_test": 80, "pgd_accuracy_train": 0.8, "pgd_accuracy_test": 0.6})
    row["robust_gap_pgd"] = 0.2
    (gap,) = gaps_of(row, rates_of(row, None), None)
    assert (gap.low, gap.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_page_of_a_table_with_one_model_says_what_withstands_and_places_it(tmp_path: Path) -> None:
    page = write_report(TABLE, tmp_path).read_text()
    assert "<h1>60.0\u00a0% of test images withstand PGD</h1>" in page
    assert "384 models trained with AT in the study digits-study" in page
    assert 'aria-label="larger than ' in page
    assert "&lt;b&gt;odd&lt;/b&gt;" in page
    assert "<b>odd</b>" not in page


def test_page_of_a_results_folder_has_errors_and_classes(results: Path, tmp_path: Path) -> None:
    page = write_report(results, tmp_path).read_text()
    assert "Class by class" in page
    assert page.count('<th scope="row">class ') == 10
    single = load_single(read_table(results), folder=results)
    assert [row.n for row in single.classes] == [6] * 10
    errors = {value.column: value.error for value in single.values}
    assert errors["x_grad_norm_pgd"] is not None
    assert errors["path_norm"] is None


def test_rates_of_classes_add_up_to_the_accuracy(results: Path) -> None:
    table = read_table(results)
    single = load_single(table, folder=results)
    total = sum(row.n * row.rates["pgd"][0] for row in single.classes)
    assert total == pytest.approx(60 * table["pgd_accuracy_test"][0])
    clean = sum(row.n * row.rates["clean"][0] for row in single.classes)
    assert clean == pytest.approx(60 * table["clean_accuracy_test"][0])


def test_the_same_model_gives_the_same_page(results: Path, tmp_path: Path) -> None:
    assert write_report(results, tmp_path / "a").read_text() == write_report(results, tmp_path / "b").read_text()


def test_warnings_of_attacks_and_failures_stand_at_the_top(tmp_path: Path) -> None:
    table = TABLE.assign(autoattack_flags="Square improved most", status="failed", reason="load: no weights")
    page = write_report(table, tmp_path).read_text()
    assert page.index("Square improved most") < page.index('id="accuracies"')
    assert "load: no weights" in page


def test_a_model_that_no_attack_was_run_on_is_told_by_its_measures(tmp_path: Path) -> None:
    page = write_report(pd.DataFrame([{"model_id": "m", "path_norm": 3.0}]), tmp_path).read_text()
    assert "no attack was run" in page
    assert "nothing to compare with" in page


def test_charts_as_files_are_refused_for_a_single_model(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="a study of several models"):
        write_report(TABLE, tmp_path, figures=tmp_path / "figures")


def test_commands_and_counts_are_told_as_a_reader_types_them() -> None:
    row = pd.DataFrame({"model_id": ["a"], "n_parameters": [11173962], "pgd_accuracy_test": [0.5], "n_test": [100]})
    told = {"runs": [{"command": ["__main__.py", "run", "models.toml"]}]}
    page = single_page(load_single(row, provenance=told))
    assert "11,173,962" in page
    assert "python -m measurebench run models.toml" in page


def test_a_class_counts_the_images_of_one_configuration_only(tmp_path: Path) -> None:
    options = {"attacks": "pgd", "measures": "clean_accuracy", "train_examples": 20, "workers": 1}
    for n_test, radius in ((40, "1/10"), (60, "1/10"), (60, "1/20")):
        run("digits:plain-at-10-b64-s0-last", "digits", tmp_path, test_examples=n_test, radius=radius, **options)
    table = read_table(tmp_path)
    single = load_single(table, folder=tmp_path)
    assert [row.n for row in single.classes] == [6] * 10
    robust = sum(row.rates["pgd"][0] * row.n for row in single.classes)
    assert robust == pytest.approx(60 * table["pgd_accuracy_test"].iloc[0])
