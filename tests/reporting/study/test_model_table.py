import numpy as np
import pandas as pd

from measurebench.reporting.study.methods import methods
from measurebench.reporting.study.model_table import filters, table_columns
from measurebench.reporting.study.study_page import study_page
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.study.test_study_page import data_of
from tests.reporting.synthetic import infos, study_table


def test_levels_of_a_numeric_setting_carry_the_number_that_the_data_hold() -> None:
    rates = pd.Series([5e-05, 8 / 255, 0.1 + 0.2, 0.3, 128.0, np.nan] * 4)
    table = study_table(24).assign(setting_rate=rates)
    options = {"bootstrap": 20, "permutations": 19, "measures": ["local_lip"]}
    study = Study.of("x", table, analyze(table, settings=["setting_rate", "architecture"], **options))
    found = {axis["key"]: axis["levels"] for axis in filters(study)}
    embedded = data_of(study_page(study))["datasets"]["models"]["columns"]["setting_rate"]
    assert {level.get("value") for level in found["setting_rate"]} == set(embedded)
    assert [(level["level"], level["n"]) for level in found["setting_rate"]] == [
        ("5e-05", 4),
        ("0.031372549", 4),
        ("0.3", 8),
        ("128", 4),
        ("not stated", 4),
    ]
    assert all("value" not in level for level in found["architecture"])


def attacked() -> Study:
    table = study_table(24)
    names = {f"pgd_accuracy_{split}": f"square_accuracy_{split}" for split in ("train", "test")}
    table = table.assign(**{new: table[old] for old, new in names.items()}, n_square=100, n_square_train=50, n_layers=7)
    table["robust_gap_square"] = table["square_accuracy_train"] - table["square_accuracy_test"]
    options = {"bootstrap": 20, "permutations": 19, "measures": ["local_lip"]}
    return Study.of("x", table, analyze(table, target="robust_gap_square", **options), infos=infos())


def test_columns_of_a_plugin_attack_are_labelled_grouped_and_formatted_as_the_known_ones() -> None:
    columns = {column["key"]: column for column in table_columns(attacked())}
    expected = {
        "square_accuracy_test": ("square, test", "percent", "accuracies", "square_accuracy_test, in percent"),
        "robust_gap_square": ("gap, square", "points", "accuracies", "robust_gap_square, in percentage points"),
        "n_square_train": ("n square train", "integer", "accuracies", "n_square_train"),
        "pgd_accuracy_train": ("PGD, train", "percent", "accuracies", "pgd_accuracy_train, in percent"),
        "n_layers": ("n layers", "integer", "other columns", "n_layers"),
        "n_parameters": ("parameters", "integer", "model", "n_parameters"),
        "setting_batch_size": ("batch size", "number", "settings", "setting_batch_size"),
        "local_lip": ("local lip", "number", "measures", "local_lip, in 1"),
        "reason": ("reason", "text", "model", "reason"),
    }
    for name, (label, kind, group, title) in expected.items():
        column = columns[name]
        assert (column["label"], column["format"], column["group"], column["title"]) == (label, kind, group, title)
    groups = [column["group"] for column in columns.values()]
    assert list(dict.fromkeys(groups)) == ["model", "settings", "accuracies", "measures", "other columns"]


def test_the_accuracies_of_the_targets_own_attack_are_shown_at_first() -> None:
    study = attacked()
    assert study.accuracies == ("square_accuracy_train", "square_accuracy_test")
    shown = {column["key"] for column in table_columns(study) if column["shown"]}
    assert {"square_accuracy_train", "square_accuracy_test", "robust_gap_square", "local_lip", "model_id"} <= shown
    assert "pgd_accuracy_test" not in shown


def test_a_status_that_differs_is_shown_and_can_be_filtered_by() -> None:
    table = study_table(24)
    table.loc[0, "status"] = "failed"
    study = Study.of("x", table, analyze(table, bootstrap=20, permutations=19, measures=["local_lip"]))
    assert [column["shown"] for column in table_columns(study) if column["key"] == "status"] == [True]
    levels = {axis["key"]: axis["levels"] for axis in filters(study)}["status"]
    assert levels == [{"level": "failed", "n": 1}, {"level": "measured", "n": 23}]


def test_the_methods_say_on_how_many_images_each_attack_was_run() -> None:
    told = dict(methods(attacked()))
    assert told["training images"] == told["test images"] == "500"
    assert (told["test images under square"], told["training images under square"]) == ("100", "50")
    assert told["unit of resampling"] == "training run, 24 of them"
    assert told["predicted"] == "robust generalization gap (square)"
