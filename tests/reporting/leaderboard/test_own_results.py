"""A ranking of one's own results: the strongest attack counts, tasks are never mixed, chance is no difference."""

from pathlib import Path

import pandas as pd
import pytest

from measurebench import join_results, run
from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.core.intervals import wilson_interval
from measurebench.reporting import write_own_leaderboard
from measurebench.reporting.leaderboard.own_results import own_ranking
from tests.reporting.study.test_study_page import data_of


def table(**columns: object) -> pd.DataFrame:
    base = {"model_id": list("abc"), "dataset": "digits", "norm": "Linf", "radius": "3/20", "n_test": 1000}
    return pd.DataFrame(base | {"pgd_accuracy_test": [0.5, 0.7, 0.6]} | columns)


def test_the_most_robust_model_is_first_with_wilson_s_interval() -> None:
    found = own_ranking(table())
    assert found["model_id"].tolist() == ["b", "c", "a"]
    assert found["rank"].tolist() == [1, 2, 3]
    low, high = wilson_interval(700, 1000)
    assert found.loc[0, ["low", "high"]].tolist() == pytest.approx([low, high])
    assert found["rank_worst"].tolist() == [1, 2, 3]  # ten points differ by more than chance for 1,000 images


def test_with_few_images_every_model_may_hold_any_rank() -> None:
    found = own_ranking(table(n_test=20))
    assert (found["rank_best"].tolist(), found["rank_worst"].tolist()) == ([1, 1, 1], [3, 3, 3])


def test_the_strongest_attack_counts_with_its_own_number_of_images() -> None:
    found = own_ranking(table(autoattack_accuracy_test=[0.45, 0.4, 0.55], n_autoattack=[100, 100, 100]))
    assert found["model_id"].tolist() == ["c", "a", "b"]
    assert found["robust_accuracy"].tolist() == [0.55, 0.45, 0.4]
    assert set(found["attack"]) == {"AutoAttack"}
    assert set(found["n_images"]) == {100}


def test_a_model_that_faced_weaker_attacks_only_never_beats_another_by_more_than_chance() -> None:
    found = own_ranking(table(autoattack_accuracy_test=[0.45, None, 0.55], n_autoattack=1000)).set_index("model_id")
    assert found["weaker_attacks"].tolist() == [True, False, False]
    assert found.index[0] == "b"  # 70 % under PGD, which may be too high
    assert found["rank_worst"].to_dict() == {"b": 3, "c": 2, "a": 3}


def test_a_model_without_the_weaker_attack_is_as_sure_as_the_others() -> None:
    found = own_ranking(table(pgd_accuracy_test=[0.5, None, 0.6], autoattack_accuracy_test=[0.45, 0.5, 0.55]))
    assert not found["weaker_attacks"].any()


def test_without_an_attack_in_common_autoattack_is_taken_for_the_stronger() -> None:
    found = own_ranking(table(pgd_accuracy_test=[0.5, 0.7, None], autoattack_accuracy_test=[None, None, 0.4]))
    assert dict(zip(found["model_id"], found["weaker_attacks"], strict=True)) == {"a": True, "b": True, "c": False}


def test_radii_and_data_sets_are_not_mixed() -> None:
    mixed = table(radius=["3/20", "1/10", "3/20"])
    with pytest.raises(
        BadInputError, match=r"one data set and threat model, got digits Linf 1/10 for 1; digits Linf 3/20 for 2"
    ):
        own_ranking(mixed)
    assert own_ranking(mixed, radius="0.15")["model_id"].tolist() == ["c", "a"]
    with pytest.raises(BadInputError, match="choose with --dataset"):
        own_ranking(table(dataset=["digits", "cifar10", "digits"]))
    assert len(own_ranking(table(dataset=["digits", "cifar10", "digits"]), dataset="digits")) == 2
    with pytest.raises(BadInputError, match=r"norm: expected one of the results': Linf, got 'L2'"):
        own_ranking(table(), norm="L2")


def test_percent_and_columns_of_other_names_are_read() -> None:
    odd = pd.DataFrame({"Model Name": ["x", "y"], "n_test": 100, "PGD-20 acc. [%]": [41.0, 52.5]})
    with pytest.raises(BadInputError, match="name columns with --accuracies"):
        own_ranking(odd)
    found = own_ranking(odd, accuracies=["PGD-20 acc. [%]"])
    assert (found["model_id"][0], found["robust_accuracy"][0], found["attack"][0]) == ("y", 0.525, "PGD-20 acc. [%]")
    percent = pd.DataFrame({"model": ["x", "y"], "n_test": 100, "pgd_accuracy_test": [41.0, 52.5]})
    assert own_ranking(percent)["robust_accuracy"].tolist() == [0.525, 0.41]


def test_one_model_is_no_ranking() -> None:
    with pytest.raises(BadInputError, match="`measurebench report` writes the page of one model"):
        own_ranking(table().head(1))


def test_without_a_number_of_images_there_is_no_interval_and_no_certain_rank() -> None:
    found = own_ranking(table().drop(columns="n_test"))
    assert found["low"].isna().all()
    assert set(found["rank_worst"]) == {3}


def test_page_and_table_of_a_results_folder_put_the_ranking_first(tmp_path: Path) -> None:
    page = write_own_leaderboard(table(defense=["AT", "AT", "MART"]), tmp_path, name="mine").read_text()
    data = data_of(page)
    assert [column["key"] for column in data["columns"][:3]] == ["rank", "model_id", "robust_accuracy"]
    assert page.index('id="models"') < page.index('id="fig-ranking"')
    assert "b is the most robust of 3 models" in page
    written = pd.read_csv(tmp_path / "leaderboard.csv")
    assert written["model_id"].tolist() == ["b", "c", "a"]
    assert written["possible_ranks"].astype(str).tolist() == ["1", "2", "3"]


def test_the_command_ranks_and_refuses_options_of_the_other_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table().to_csv(tmp_path / "mine.csv", index=False)
    assert run_command_line(["leaderboard", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "leaderboard.csv").is_file()
    assert run_command_line(["leaderboard", "--radius", "8/255", "--out", str(tmp_path / "other")]) == 2
    assert "`measurebench leaderboard DIR` ranks a results folder" in capsys.readouterr().err
    mixed = ["leaderboard", str(tmp_path / "mine.csv"), "--records", "r", "--out", str(tmp_path / "other")]
    assert run_command_line(mixed) == 2
    assert "expected results folders without --model-info, --records, got --records" in capsys.readouterr().err


def test_results_folders_are_joined_and_ranked_by_what_their_attacks_left(tmp_path: Path) -> None:
    names = ("plain-at-10-b64-s0-last", "plain-standard-b64-s0-last")
    options = {"attacks": "fgsm,pgd", "measures": "num_params", "train_examples": 10, "test_examples": 60, "workers": 1}
    folders = [tmp_path / name for name in names]
    for name, folder in zip(names, folders, strict=True):
        run(f"digits:{name}", "digits", folder, **options)  # type: ignore[arg-type]
    write_own_leaderboard(folders, tmp_path / "page")
    exported = join_results(folders).set_index("model_id")
    ranking = pd.read_csv(tmp_path / "page" / "leaderboard.csv").set_index("model_id")
    assert ranking.index.tolist() == list(names)  # the one trained against attacks is first
    lowest = exported[["fgsm_accuracy_test", "pgd_accuracy_test"]].min(axis=1)
    assert ranking["robust_accuracy"].to_dict() == pytest.approx(lowest.to_dict())
    assert set(ranking["n_images"]) == {60}
    assert set(ranking["num_params"]) == {exported["num_params"].iloc[0]}
