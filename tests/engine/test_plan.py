"""Plans of runs: pairs, their order, how many examples they read, and which are open."""

from types import SimpleNamespace
from typing import Any

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.records import Record
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import chosen_measures, n_attacked, n_examples, open_pairs, pairs_of

SMALL: Any = SimpleNamespace(split=lambda name: range(60 if name == "train" else 20))


def options(**given: Any) -> RunOptions:
    return RunOptions("digits", **{"measures": "average_ce", "attacks": "pgd,autoattack", **given})


def planned(given: RunOptions) -> list[tuple[str, str]]:
    return [(item.info.id, split) for item, split in pairs_of(chosen_measures(given), given)]


def record(measure: Any, split: str, n: int, status: str = "measured") -> Record:
    value, reason = (0.5, "") if status == "measured" else (None, "it broke")
    info = measure.info
    return Record("m", "d", info.id, info.version, split, "c", status, value, None, n, 0.0, 0, 0, "e", "t", reason)


def test_training_pairs_come_first_and_autoattack_takes_test_images_only_unless_asked() -> None:
    names = [item.info.id for item in chosen_measures(options())]
    assert names[0] == "clean_accuracy"
    assert names[-1] == "average_ce"
    found = planned(options())
    splits = [split for _, split in found]
    assert splits == sorted(splits, key=["train", "test"].index)
    slow = next(name for name in names if name.startswith("autoattack"))
    assert (slow, "test") in found
    assert (slow, "train") not in found
    assert (slow, "train") in planned(options(autoattack_train_examples=5))


def test_other_measures_follow_the_split_and_accuracies_do_not() -> None:
    found = planned(options(split="test"))
    assert [split for name, split in found if name == "average_ce"] == ["test"]
    assert [split for name, split in found if name == "clean_accuracy"] == ["train", "test"]


def test_examples_are_limited_by_the_options_and_by_the_data() -> None:
    given = options(train_examples=50, test_examples=50)
    assert [n_examples(given, SMALL, split) for split in ("train", "test")] == [50, 20]


@pytest.mark.parametrize(("asked", "expected"), [(None, 20), (7, 7), (500, 20)])
def test_autoattack_reads_as_many_as_asked_and_there_are(asked: int | None, expected: int) -> None:
    given = options(autoattack_examples=asked)
    counts = {item.info.id: n_attacked(given, SMALL, item, "test") for item in chosen_measures(given)}
    assert counts.pop(next(name for name in counts if name.startswith("autoattack"))) == expected
    assert set(counts.values()) == {20}


def test_pairs_with_a_record_are_done_and_accuracies_only_of_as_many_examples() -> None:
    given = options(attacks="none")
    clean, cross_entropy = chosen_measures(given)
    pairs = [(clean, "test"), (cross_entropy, "train")]
    left = open_pairs(pairs, [record(clean, "test", 20), record(cross_entropy, "train", 3)], given, SMALL)
    assert left == ()
    left = open_pairs(pairs, [record(clean, "test", 19), record(cross_entropy, "test", 20)], given, SMALL)
    assert left == (("clean_accuracy", "test"), ("average_ce", "train"))


def test_failed_pairs_are_open_again_on_request_only() -> None:
    given, again = (options(attacks="none", retry_failed=retry) for retry in (False, True))
    clean = chosen_measures(given)[0]
    failed = [record(clean, "test", 20, "failed")]
    assert open_pairs([(clean, "test")], failed, given, SMALL) == ()
    assert open_pairs([(clean, "test")], failed, again, SMALL) == (("clean_accuracy", "test"),)


def test_settings_of_a_measure_that_is_not_chosen_are_refused() -> None:
    with pytest.raises(BadInputError, match="measures of this run"):
        chosen_measures(options(measure_settings={"absent": {"a": 1}}))
