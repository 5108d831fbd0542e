"""The page, the files and the command of models compared in pairs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from measurebench.cli.app import run_command_line
from measurebench.reporting.charts import first
from measurebench.reporting.pairs.pairs_page import (
    as_json,
    left_out_sentence,
    neighbours_sentence,
    pairs_page,
    tiers_sentence,
    write_pairs,
)
from measurebench.stats.judging.paired_ranking import PairedRanking, paired_ranking
from measurebench.store.examples import verdict_path, write_arrays
from measurebench.store.folder import ResultsFolder
from measurebench.store.verdicts import read_verdicts
from tests.reporting.charts.drawn import drawn, told
from tests.reporting.study.test_study_page import data_of
from tests.stats.judging.test_paired_ranking import verdicts
from tests.store.test_folder import record
from tests.store.test_tables import ENTRY

ROBUST = {
    "a": [True] * 60 + [False] * 40,
    "b": [True] * 54 + [False] * 46,
    "c": [True] * 53 + [False] * 46 + [True],
}


@pytest.fixture(scope="module")
def ranking() -> PairedRanking:
    return paired_ranking(verdicts(ROBUST))


def test_sentences_count_tiers_and_neighbours(ranking: PairedRanking) -> None:
    """a and b differ on six images that all go one way: p = 1/32, after Holm's adjustment over three pairs 3/32."""
    assert tiers_sentence(ranking) == "3 models in 1 tier: the first 3 cannot be told apart"
    assert neighbours_sentence(ranking) == (
        "1 of 2 pairs of neighbours differ by McNemar's test at 0.05 (0 after Holm's adjustment over all pairs), "
        "0 by the unpaired test"
    )


def test_marks_lie_at_the_difference_to_the_first(ranking: PairedRanking) -> None:
    scene = drawn(first.figure(ranking.entries, ranking.n))
    (marks,) = scene.of("symbol")
    at = {told(item)["model"]: scene.x.at(item["x"]) for item in marks.items}
    assert at == pytest.approx({"b": -6, "c": -6}, abs=1e-4)  # points
    (lines,) = scene.of("rule")
    interval = ranking.entries.set_index("model_id")[["to_first_low", "to_first_high"]]
    for item, name in zip(lines.items, ("b", "c"), strict=True):
        ends = sorted((scene.x.at(item["x"]), scene.x.at(item["x2"])))
        assert ends == pytest.approx((100 * interval.loc[name]).tolist(), abs=1e-4)


def test_the_page_has_every_model_and_the_same_bytes_each_time(ranking: PairedRanking) -> None:
    page = pairs_page(ranking)
    assert data_of(page)["datasets"]["models"]["n"] == 3
    assert page == pairs_page(ranking)
    assert "100 test images" in page


def test_names_with_markup_change_nothing() -> None:
    named = paired_ranking(verdicts({"<script>alert(1)</script>": [True] * 9, "b": [False] * 9}))
    assert "<script>alert" not in pairs_page(named)


def test_all_files_say_the_same(ranking: PairedRanking, tmp_path: Path) -> None:
    assert {path.name for path in write_pairs(ranking, tmp_path)} == {
        "index.html",
        "ranking.csv",
        "pairs.csv",
        "pairs.json",
    }
    found = json.loads((tmp_path / "pairs.json").read_text())
    assert found["tiers"] == [["a", "b", "c"]]
    assert found["models"][0]["to_first"] is None
    pairs = pd.read_csv(tmp_path / "pairs.csv")
    assert pairs["p_value"].tolist() == pytest.approx([row["p_value"] for row in found["pairs"]])
    assert len(pd.read_csv(tmp_path / "ranking.csv")) == 3


@pytest.fixture
def results(tmp_path: Path) -> Path:
    place = tmp_path / "records"
    with ResultsFolder.writing(place, "0") as folder:
        for name, robust in ROBUST.items():
            folder.add_model(ENTRY | {"model_id": name})
            one = record(model_id=name, measure="pgd_accuracy", split="test", value=float(np.mean(robust)))
            folder.add_record(one)
            path = verdict_path(place, name, one.config_digest, "test", "pgd_accuracy")
            path.parent.mkdir(parents=True)
            everyone = np.ones(100, dtype=bool)
            arrays = {"index": np.arange(100), "label": np.zeros(100, dtype=int), "correct": everyone}
            write_arrays(path, {**arrays, "robust": np.array(robust), "distance": np.zeros(100)})
    return place


def test_the_command_prints_the_ranking_and_writes_the_page(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["pairs", str(results), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "60.00 %" in printed
    assert "-6.0 points" in printed
    assert "3 models in 1 tier" in printed
    assert (tmp_path / "out" / "index.html").is_file()
    assert run_command_line(["pairs", str(results), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_images"] == 100
    assert run_command_line(["pairs", str(results), "--attack", "autoattack"]) == 2
    assert "one with verdicts: pgd" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_a_file_of_verdicts_ranks_as_its_folder_does(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    file = tmp_path / f"verdicts.{ending}"
    assert run_command_line(["verdicts", str(results), "--out", str(file)]) == 0
    capsys.readouterr()
    assert run_command_line(["pairs", str(results), "--json"]) == 0
    expected = capsys.readouterr().out
    assert run_command_line(["pairs", str(file), "--json"]) == 0
    assert capsys.readouterr().out == expected


def test_a_table_that_holds_no_verdicts_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "models.csv"
    verdicts(ROBUST).drop(columns="robust").to_csv(file, index=False)
    assert run_command_line(["pairs", str(file)]) == 2
    assert "a table without robust" in capsys.readouterr().err
    verdicts(ROBUST).assign(robust=0.5).to_csv(file, index=False)
    assert run_command_line(["pairs", str(file)]) == 2
    assert "column 'robust': expected true or false, got a column of float64" in capsys.readouterr().err


def test_a_file_whose_verdicts_contradict_each_other_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    verdicts(ROBUST).to_csv(first, index=False)
    verdicts({"b": [True] * 54 + [False] * 45 + [True]}).to_csv(second, index=False)
    assert run_command_line(["pairs", str(first), str(first)]) == 0
    capsys.readouterr()
    assert run_command_line(["pairs", str(first), str(second)]) == 2
    told = capsys.readouterr().err
    assert "expected one verdict for each model and image" in told
    assert "both robust and not robust under pgd for model 'b' on test image 99" in told


def test_a_file_with_rows_that_name_no_model_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "verdicts.csv"
    table = verdicts(ROBUST)
    table.assign(model_id=table["model_id"].where(table.index != 7)).to_csv(file, index=False)
    assert run_command_line(["pairs", str(file)]) == 2
    told = capsys.readouterr().err
    assert (
        f"{file}: column 'model_id': expected a value in every row, got 1 without one, the first of them row 8" in told
    )


def test_verdicts_of_a_folder_name_their_configuration(results: Path) -> None:
    table = read_verdicts(results)
    assert table["config_digest"].unique().tolist() == [ENTRY["config_digest"]]


def test_page_files_and_command_name_the_models_that_are_not_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strong = verdicts({name: ROBUST[name] for name in "ab"}, measure="autoattack_accuracy")
    table = pd.concat([verdicts({name: [True] * 100 for name in [*"ab", *map(str, range(12))]}), strong])
    told = (
        "Not ranked, without verdicts of autoattack on test images at this radius: 0, 1, 10, 11, 2, 3, 4, 5, 6, 7 "
        "and 2 more"
    )
    found = paired_ranking(table, attack="autoattack")
    assert left_out_sentence(found) == told
    assert told in pairs_page(found)
    assert as_json(found)["left_out"] == sorted(map(str, range(12)))
    table.to_parquet(tmp_path / "verdicts.parquet")
    assert run_command_line(["pairs", str(tmp_path / "verdicts.parquet"), "--attack", "autoattack"]) == 0
    assert told in " ".join(capsys.readouterr().out.split())
    assert left_out_sentence(paired_ranking(table)) == ""
