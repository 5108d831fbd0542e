import subprocess
import sys

import pytest

from measurebench.core.columns import (
    CONTRACT,
    OUTCOMES,
    accuracy_column,
    accuracy_columns,
    attacks_in,
    control_column,
    count_columns,
    describe,
    gap_column,
    is_gap,
    names_of,
    outcome_columns,
    own_count,
)
from measurebench.core.infos import measure_infos


def test_columns_are_described_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import measurebench.core.columns"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_contracts_columns_come_in_its_order() -> None:
    assert " ".join(column.name for column in CONTRACT) == (
        "model_id source file_sha256 architecture n_parameters defense dataset norm radius run cluster "
        "n_train n_test n_autoattack clean_accuracy_train clean_accuracy_test pgd_accuracy_train pgd_accuracy_test "
        "autoattack_accuracy_train autoattack_accuracy_test robust_gap_pgd robust_gap_autoattack "
        "measurebench_version config_digest status reason"
    )
    assert names_of("count") == ("n_train", "n_test", "n_autoattack")
    assert names_of("provenance", "status") == ("measurebench_version", "config_digest", "status", "reason")
    assert all(describe(column.name) is column for column in CONTRACT)


@pytest.mark.parametrize("attack", ["square", "apgd-ce", "my_attack", "pgd", "autoattack"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_accuracy_of_any_attack_is_an_outcome(attack: str, split: str) -> None:
    column = describe(accuracy_column(attack, split))
    assert (column.role, column.attack, column.split, column.format) == ("outcome", attack, split, "percent")
    assert column.is_outcome


@pytest.mark.parametrize("attack", ["square", "apgd-ce", "my_attack", "pgd", "autoattack"])
def test_the_gap_of_any_attack_is_an_outcome(attack: str) -> None:
    column = describe(gap_column(attack))
    assert (column.role, column.attack, column.format) == ("gap", attack, "points")
    assert is_gap(column.name)
    assert column.is_outcome


def test_a_number_of_images_is_one_only_of_an_attack_that_the_table_has() -> None:
    among = ["square_accuracy_test", "n_layers"]
    for name, split in (("n_square", "test"), ("n_square_train", "train")):
        column = describe(name, among)
        assert (column.role, column.attack, column.split, column.format) == ("count", "square", split, "integer")
    assert describe("n_layers", among).role == "measure"
    assert describe("n_square").role == "measure"
    assert (describe("n_autoattack_train").role, describe("n_autoattack_train").split) == ("count", "train")
    assert describe("n_parameters").role == "identity"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("setting_anything", "setting"),
        ("clean_accuracy_test", "outcome"),
        ("clean_accuracy", "measure"),
        ("robust_gap", "gap"),
        ("Unnamed: 0", "identity"),
        ("id", "identity"),
        ("reference", "identity"),
        ("status", "status"),
        ("config_digest", "provenance"),
        ("average_ce_test", "measure"),
        ("train_robust_acc", "measure"),
        ("pgd_accuracy_validation", "measure"),
    ],
)
def test_every_other_name_has_its_role(name: str, role: str) -> None:
    assert describe(name).role == role
    assert describe(name).is_outcome == (role in OUTCOMES)


def test_no_measure_but_the_accuracies_is_taken_for_anything_else() -> None:
    infos = measure_infos()
    assert {describe(name).role for name, info in infos.items() if info.tier != "accuracy"} == {"measure"}
    columns = [
        accuracy_column(name.removesuffix("_accuracy"), "test") for name, i in infos.items() if i.tier == "accuracy"
    ]
    assert {describe(name).role for name in columns} == {"outcome"}


@pytest.mark.parametrize(
    ("name", "label", "title"),
    [
        ("model_id", "model", "model"),
        ("n_train", "n train", "training images"),
        ("n_autoattack", "n AutoAttack", "test images under AutoAttack"),
        ("n_autoattack_train", "n AutoAttack train", "training images under AutoAttack"),
        ("clean_accuracy_test", "clean, test", "clean test accuracy"),
        ("pgd_accuracy_train", "PGD, train", "PGD train accuracy"),
        ("square_accuracy_test", "square, test", "square test accuracy"),
        ("robust_gap_pgd", "gap, PGD", "robust generalization gap (PGD)"),
        ("robust_gap_square", "gap, square", "robust generalization gap (square)"),
        ("robust_gap", "gap", "robust generalization gap"),
        ("setting_steps", "attack steps", "attack steps"),
        ("setting_weight_decay", "weight decay", "weight decay"),
        ("path_norm", "path norm", "path norm"),
    ],
)
def test_labels_and_titles_are_plain_words(name: str, label: str, title: str) -> None:
    assert (describe(name).label, describe(name).title) == (label, title)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n_layers", "integer"),
        ("n_parameters", "integer"),
        ("pgd_accuracy_validation", "percent"),
        ("path_norm", "number"),
        ("model_id", "text"),
        ("setting_steps", "text"),
    ],
)
def test_formats_follow_from_the_name(name: str, expected: str) -> None:
    assert describe(name).format == expected


def test_counts_are_looked_for_where_an_attack_writes_them() -> None:
    assert count_columns("pgd", "train") == ("n_pgd_train", "n_train")
    assert count_columns("square", "test") == ("n_square", "n_test")
    assert count_columns("autoattack", "test") == ("n_autoattack",)
    assert count_columns("autoattack", "train") == ("n_autoattack_train", "n_autoattack")
    assert own_count("apgd-ce", "train") == "n_apgd-ce_train"


def test_a_target_finds_the_accuracies_of_its_own_attack() -> None:
    assert accuracy_columns("robust_gap_autoattack") == ("autoattack_accuracy_train", "autoattack_accuracy_test")
    assert accuracy_columns("autoattack_accuracy") == ("autoattack_accuracy_train", "autoattack_accuracy_test")
    assert accuracy_columns("gap") == ("pgd_accuracy_train", "pgd_accuracy_test")
    assert control_column("robust_gap_square") == "square_accuracy_train"
    assert control_column("gap") == control_column("square_accuracy_test") == "pgd_accuracy_train"


def test_attacks_are_found_in_the_order_of_the_table() -> None:
    names = ["b_accuracy_test", "autoattack_accuracy_test", "a_accuracy_train", "clean_accuracy_test", "path_norm"]
    assert attacks_in([*names, "pgd_accuracy_test"]) == ("pgd", "autoattack", "a", "b")


def test_outcomes_of_a_table_stand_by_kind_then_attack() -> None:
    names = ["square_accuracy_test", "square_accuracy_train", "n_square_train", "n_square", "robust_gap_square"]
    found = outcome_columns(["path_norm", "n_layers", "n_autoattack_train", *names])
    assert " ".join(found) == (
        "n_train n_test n_autoattack n_autoattack_train n_square n_square_train "
        "clean_accuracy_train clean_accuracy_test pgd_accuracy_train pgd_accuracy_test "
        "autoattack_accuracy_train autoattack_accuracy_test square_accuracy_train square_accuracy_test "
        "robust_gap_pgd robust_gap_autoattack robust_gap_square"
    )
