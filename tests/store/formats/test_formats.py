"""Formats of other projects: values, uncertainties and images as they were measured, files that the formats accept."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.core.paths import data_folder
from measurebench.core.records import Record
from measurebench.store.examples import verdict_path, write_arrays
from measurebench.store.folder import ResultsFolder
from measurebench.store.formats import export_format
from measurebench.store.formats.croissant import croissant, write_croissant
from measurebench.store.formats.huggingface import to_yaml

TIME = "2026-01-02T03:04:05.500+00:00"
STUDY = data_folder("digits-study")


def record(measure: str, value: float | None, n: int = 10, split: str = "test", **more: Any) -> Record:
    given = {"standard_error": None, "status": "measured" if value is not None else "failed", "seed": 0} | more
    return Record(
        model_id="net/1",
        model_digest="d",
        measure=measure,
        measure_version=1,
        split=split,
        config_digest="c",
        value=value,
        n=n,
        seconds=0.0,
        peak_memory_bytes=0,
        environment_digest="e",
        time=TIME,
        **given,
    )


@pytest.fixture
def results(tmp_path) -> Path:
    """One model: 8 of 10 right, 6 of 10 withstand PGD, a measure, and one that failed."""
    place = tmp_path / "records"
    entry = {
        "model_id": "net/1",
        "model_digest": "d",
        "config_digest": "c",
        "dataset": "cifar10:robustbench",
        "norm": "Linf",
        "radius": 8 / 255,
        "radius_text": "8/255",
        "source": "local",
        "measurebench_version": "0.1.0",
        "settings": {"steps": 10},
    }
    with ResultsFolder.writing(place, "0.1.0") as folder:
        folder.add_model(entry)
        folder.add_record(record("clean_accuracy", 0.8, standard_error=0.126))
        folder.add_record(record("pgd_accuracy", 0.6))
        folder.add_record(record("path_norm", 3.0, n=0, split="train"))
        folder.add_record(record("local_lip", None, split="train", reason="no"))
    correct, robust = np.arange(10) < 8, np.arange(10) < 6
    labels = {"index": np.arange(100, 110), "label": np.arange(10), "correct": correct, "robust": robust}
    path = verdict_path(place, "net/1", "c", "test", "pgd_accuracy")
    path.parent.mkdir(parents=True)
    write_arrays(path, {**labels, "distance": np.full(10, 0.03)})
    return place


def every_eval_ever(results: Path, out: Path) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
    files = export_format("every-eval-ever", [results], out, organization="Example")
    samples = next(path for path in files if path.suffix == ".jsonl")
    summary = next(path for path in files if path.suffix == ".json")
    return summary, json.loads(summary.read_text()), [json.loads(line) for line in samples.read_text().splitlines()]


def test_each_value_has_its_uncertainty(results: Path, tmp_path: Path) -> None:
    _, found, _ = every_eval_ever(results, tmp_path)
    by_name = {each["evaluation_name"]: each for each in found["evaluation_results"]}
    assert set(by_name) == {
        "cifar10 clean_accuracy (test)",
        "cifar10 pgd_accuracy (test)",
        "cifar10 path_norm (train)",
    }
    clean = by_name["cifar10 clean_accuracy (test)"]["score_details"]
    assert clean["score"] == 0.8
    assert clean["uncertainty"]["standard_error"]["value"] == 0.126
    # Wilson's interval of 8 of 10.
    assert clean["uncertainty"]["confidence_interval"]["lower"] == pytest.approx(0.4902, abs=1e-4)
    assert clean["uncertainty"]["confidence_interval"]["upper"] == pytest.approx(0.9433, abs=1e-4)
    robust = by_name["cifar10 pgd_accuracy (test)"]["metric_config"]
    assert robust["metric_parameters"] == {"attack": "pgd", "norm": "Linf", "radius": "8/255", "measure_version": 1}
    assert by_name["cifar10 path_norm (train)"]["metric_config"]["lower_is_better"] is True  # hypothesis "+"
    assert found["source_metadata"]["source_organization_name"] == "Example"


def test_every_image_has_a_row_that_belongs_to_its_accuracy(results: Path, tmp_path: Path) -> None:
    summary, found, rows = every_eval_ever(results, tmp_path)
    assert len(rows) == 10 == found["detailed_evaluation_results"]["total_rows"]
    assert np.mean([row["evaluation"]["score"] for row in rows]) == pytest.approx(0.6)
    assert [row["output"]["raw"][0] for row in rows] == ["withstood"] * 6 + ["broken"] * 2 + ["misclassified"] * 2
    known = {each["evaluation_result_id"] for each in found["evaluation_results"]}
    assert {row["evaluation_result_id"] for row in rows} <= known
    assert {row["evaluation_id"] for row in rows} == {found["evaluation_id"]}
    place = tmp_path / found["detailed_evaluation_results"]["file_path"]
    assert place.parent == summary.parent
    assert hashlib.sha256(place.read_bytes()).hexdigest() == found["detailed_evaluation_results"]["checksum"]


def test_equal_results_give_equal_files(results: Path, tmp_path: Path) -> None:
    first, second = (export_format("every-eval-ever", [results], tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert [path.relative_to(tmp_path / "a") for path in first] == [path.relative_to(tmp_path / "b") for path in second]


def test_hugging_face_reads_the_entries_back(results: Path, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    hub = pytest.importorskip("huggingface_hub")
    if not hasattr(hub, "parse_eval_result_entries"):
        pytest.skip("huggingface_hub without evaluation results")
    [path] = export_format("huggingface", [results], tmp_path / "out")
    assert path == tmp_path / "out" / "net%2F1" / ".eval_results" / "measurebench.yaml"
    entries = hub.parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert [(e.dataset_id, e.task_id, e.value) for e in entries] == [
        ("uoft-cs/cifar10", "clean", 0.8),
        ("uoft-cs/cifar10", "pgd_Linf_8-255", 0.6),
    ]
    assert entries[0].date == TIME
    assert "10 test images" in entries[0].notes


@pytest.mark.parametrize("text", ["a: b", "- x", 'it\'s "so"', "é ü \u2028", "true", "", "null", "1e3", "#"])
def test_texts_come_out_of_yaml_as_they_went_in(text: str) -> None:
    yaml = pytest.importorskip("yaml")
    value: list[dict[str, Any]] = [{"notes": text, "inner": {"value": 0.5, "none": None}}]
    assert yaml.safe_load(to_yaml(value)) == value
    assert yaml.safe_load(to_yaml([])) == []


def test_what_a_format_cannot_hold_is_named(results: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="croissant"):
        export_format("crossant", [results], tmp_path)
    with pytest.raises(BadInputError, match="OWNER/NAME"):
        export_format("huggingface", [results], tmp_path, hub_dataset="cifar10")
    with pytest.raises(BadInputError, match=r"models\.parquet"):
        export_format("croissant", [results], results / "croissant.json")
    with pytest.raises(BadInputError, match="one folder of a study"):
        export_format("croissant", [results, results], tmp_path / "croissant.json")


def test_the_digits_study_s_metadata_are_those_of_its_files() -> None:
    kept = json.loads((STUDY / "croissant.json").read_text())
    assert {name: value for name, value in kept.items() if name != "datePublished"} == croissant(STUDY)


def test_croissant_describes_every_column_by_its_definition() -> None:
    found = croissant(STUDY)
    models = found["recordSet"][0]
    table = pd.read_parquet(STUDY / "models.parquet")
    fields: Mapping[str, Any] = {field["name"]: field for field in models["field"]}
    assert list(fields) == list(table.columns)
    assert fields["path_norm"]["dataType"] == "sc:Float"
    assert "norm" in fields["path_norm"]["description"].lower()
    assert models["key"] == {"@id": "models/model_id"}
    files = {each["name"]: each for each in found["distribution"]}
    assert files["models.parquet"]["sha256"] == hashlib.sha256((STUDY / "models.parquet").read_bytes()).hexdigest()


def test_metadata_written_again_keep_their_date(tmp_path: Path) -> None:
    pd.DataFrame({"model_id": ["a"], "robust_gap_pgd": [0.1]}).to_parquet(tmp_path / "models.parquet")
    (tmp_path / "README.md").write_text("# Title\n\nSummary\nof two lines.\n")
    place = write_croissant(tmp_path)
    found = json.loads(place.read_text())
    assert found["description"] == "Title. Summary of two lines."
    place.write_text(json.dumps(found | {"datePublished": "2020-01-01"}))
    assert json.loads(write_croissant(tmp_path).read_text())["datePublished"] == "2020-01-01"
    with pytest.raises(BadInputError, match=r"a \.json file in"):
        write_croissant(tmp_path, tmp_path / "elsewhere" / "croissant.json")
    (tmp_path / "README.md").write_text("no heading")
    with pytest.raises(BadInputError, match="heading and a paragraph"):
        write_croissant(tmp_path)


def test_the_command_writes_a_format_and_says_where(results: Path, tmp_path: Path, capsys) -> None:
    assert run_command_line(["export", str(results), "--format", "huggingface", "--out", str(tmp_path / "out")]) == 0
    assert "1 file:" in capsys.readouterr().out
    assert run_command_line(["export", str(results), "--format", "xml", "--out", str(tmp_path / "out")]) == 2
    assert "every-eval-ever" in capsys.readouterr().err


# What the validators' own dependencies warn of is none of our business.
@pytest.mark.formats
@pytest.mark.filterwarnings("default")
def test_mlcroissant_finds_nothing_wrong_and_reads_the_table() -> None:
    mlcroissant = import_module("mlcroissant")
    found = mlcroissant.Dataset(jsonld=STUDY / "croissant.json")
    assert not found.metadata.issues.errors
    assert not found.metadata.issues.warnings
    assert sum(1 for _ in found.records("models")) == 1344
    assert sum(1 for _ in found.records("curves")) == 7896


@pytest.mark.formats
@pytest.mark.filterwarnings("default")
def test_every_eval_ever_s_own_validator_finds_nothing_wrong(results: Path, tmp_path: Path) -> None:
    import_module("every_eval_ever")
    files = export_format("every-eval-ever", [results], tmp_path)
    command = [sys.executable, "-m", "every_eval_ever", "validate", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed, 0 warning-only, 0 failed" in done.stdout
