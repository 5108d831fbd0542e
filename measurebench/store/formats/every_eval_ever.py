"""Writes results in the schema of every-eval-ever (version 0.3.0): one JSON file per model, and one of all images.

https://github.com/evaleval/every_eval_ever. The files lie where its data store wants them, under
``data/COLLECTION/DEVELOPER/MODEL/UUID.json`` and ``UUID_samples.jsonl``.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from measurebench.core.digests import digest_json
from measurebench.core.files import write_atomically
from measurebench.core.infos import measure_infos
from measurebench.core.records import Record
from measurebench.store.examples import read_arrays, verdict_path
from measurebench.store.formats.accuracies import HUB_DATASETS, Measured, attack_of, interval, measured, threat_of
from measurebench.store.verdicts import BROKEN_BY

__all__ = ["COLLECTION", "SCHEMA", "aggregate", "samples", "write_every_eval_ever"]

SCHEMA = "0.3.0"
COLLECTION = "measurebench"
_RELATIONS = {"digits": "first_party", "robustbench": "third_party"}


def write_every_eval_ever(folder: Path, out: Path, *, organization: str = "") -> list[Path]:
    """Write the models of a results folder under ``OUT/data/``, and return the files that were written.

    ``organization`` is who ran the evaluation ("unknown" by default). Equal results give equal files: the UUID is made
    of what was measured. Raises BadInputError for a folder without results.
    """
    written = []
    for each in measured(folder):
        lines = [json.dumps(row, ensure_ascii=False) for row in samples(each, folder)]
        summary = aggregate(each, lines, organization)
        path = out / _path(each)
        path.parent.mkdir(parents=True, exist_ok=True)
        if lines:
            beside = path.with_name(f"{path.stem}_samples.jsonl")
            write_atomically(beside, _text(lines))
            written.append(beside)
        write_atomically(path, json.dumps(summary, indent=1, ensure_ascii=False).encode() + b"\n")
        written.append(path)
    return written


def aggregate(each: Measured, lines: list[str], organization: str = "") -> dict[str, Any]:
    """Return a model's file: who measured what and how, each value with its uncertainty.

    ``lines`` are those of the file of single images, of which it notes place, number and checksum.
    """
    found = {
        "schema_version": SCHEMA,
        "evaluation_id": _evaluation_id(each),
        "evaluation_timestamp": each.time,
        "retrieved_timestamp": _seconds(each.time),
        "source_metadata": {
            "source_name": "measurebench",
            "source_type": "evaluation_run",
            "source_organization_name": organization or "unknown",
            "evaluator_relationship": _RELATIONS.get(str(each.entry.get("source")), "other"),
        },
        "eval_library": {"name": "measurebench", "version": str(each.entry.get("measurebench_version") or "unknown")},
        "model_info": _model(each),
        "evaluation_results": [result for record in each.records if (result := _result(record, each))],
    }
    if lines:
        path = _path(each)
        found["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": path.with_name(f"{path.stem}_samples.jsonl").as_posix(),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(_text(lines)).hexdigest(),
            "total_rows": len(lines),
        }
    return found


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _model(each: Measured) -> dict[str, Any]:
    known = ("architecture", "defense", "file_sha256", "n_parameters", "run", "reference")
    details = {name: str(each.entry[name]) for name in known if each.entry.get(name) is not None}
    details |= {f"setting_{name}": str(value) for name, value in each.entry.get("settings", {}).items()}
    available = "open_weights" if each.entry.get("source") in _RELATIONS else "unknown"
    return {
        "name": each.model_id,
        "id": f"{_developer(each)}/{_plain(each.model_id)}",
        "developer": _developer(each),
        "inference_engine": {"name": "PyTorch"},
        "additional_details": {**details, "deployment_type": "self_deployed", "model_availability": available},
    }


def _result(record: Record, each: Measured) -> dict[str, Any] | None:
    """Return one value; None for a measure without a hypothesis, of which no direction is the better one."""
    robust = record.measure.endswith("_accuracy")
    info = measure_infos().get(record.measure)
    if not robust and (info is None or not info.hypothesis):
        return None
    metric = _accuracy(record, each) if robust else _measure(record)
    return {
        "evaluation_result_id": _result_id(record),
        "evaluation_name": f"{each.dataset} {record.measure} ({record.split})",
        "source_data": _source(record, each),
        "evaluation_timestamp": record.time,
        "metric_config": metric | {"score_type": "continuous"},
        "score_details": {"score": record.value, "uncertainty": _uncertainty(record, robust)},
    }


def _accuracy(record: Record, each: Measured) -> dict[str, Any]:
    attack, (norm, radius) = attack_of(record), threat_of(each.entry)
    robust = attack != "clean"
    threat = {"attack": attack, "norm": norm, "radius": radius} if robust else {}
    return {
        "evaluation_description": f"share of images that are right under {attack}, {norm}, radius {radius}"
        if robust
        else "share of images that are right",
        "metric_id": f"measurebench.{record.measure}" if robust else "accuracy",
        "metric_name": f"robust accuracy ({attack})" if robust else "accuracy",
        "metric_kind": "accuracy",
        "metric_unit": "proportion",
        "metric_parameters": {**threat, "measure_version": record.measure_version},
        "lower_is_better": False,
        "min_score": 0.0,
        "max_score": 1.0,
    }


def _measure(record: Record) -> dict[str, Any]:
    """Describe a measure; lower is better where folklore says that larger values go with a larger gap."""
    info = measure_infos()[record.measure]
    return {
        "evaluation_description": f"{info.title}: {info.formula}",
        "metric_id": f"measurebench.{record.measure}",
        "metric_name": info.title,
        "metric_unit": info.unit or "none",
        "metric_parameters": {"measure_version": record.measure_version},
        "lower_is_better": info.hypothesis == "+",
        "min_score": "-Infinity",
        "max_score": "Infinity",
    }


def _source(record: Record, each: Measured) -> dict[str, Any]:
    details = {"split": record.split, "configuration": record.config_digest, "images": str(record.n)}
    if repository := HUB_DATASETS.get(each.dataset):
        place = {"source_type": "hf_dataset", "hf_repo": repository, "hf_split": record.split}
        return {"dataset_name": each.dataset, **place, "additional_details": details}
    return {"dataset_name": each.dataset, "source_type": "other", "additional_details": details}


def _uncertainty(record: Record, robust: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if record.standard_error is not None:
        found["standard_error"] = {"value": record.standard_error, "method": "analytic"}
    if robust:
        low, high = interval(record)
        found["confidence_interval"] = {"lower": low, "upper": high, "confidence_level": 0.95, "method": "Wilson"}
    return found | ({"num_samples": record.n} if record.n else {})


def samples(each: Measured, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield one row per accuracy and image: what the network made of it, under the attack where there is one.

    Only verdicts are known of an image, not the image itself: ``input`` names it by split and place in the data set.
    """
    for record in each.accuracies:
        path = verdict_path(folder, record.model_id, record.config_digest, record.split, record.measure)
        arrays = read_arrays(path)
        for place in range(len(arrays["index"]) if arrays else 0):
            yield _sample(record, each, {name: values[place] for name, values in (arrays or {}).items() if values.ndim})


def _sample(record: Record, each: Measured, row: Mapping[str, Any]) -> dict[str, Any]:
    correct, robust = bool(row["correct"]), bool(row["robust"])
    verdict = "withstood" if robust else "broken" if correct else "misclassified"
    asked, label = f"image {int(row['index'])} of {each.dataset}, {record.split}", str(int(row["label"]))
    answer = {"source": "output.raw", "extracted_value": verdict, "extraction_method": "custom"}
    return {
        "schema_version": SCHEMA,
        "evaluation_id": _evaluation_id(each),
        "model_id": _model(each)["id"],
        "evaluation_name": f"{each.dataset} {record.measure} ({record.split})",
        "evaluation_result_id": _result_id(record),
        "sample_id": f"{record.split}-{int(row['index'])}",
        "sample_hash": hashlib.sha256((asked + label).encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {"raw": asked, "reference": [label]},
        "output": {"raw": [verdict]},
        "answer_attribution": [{"turn_idx": 0, **answer, "is_terminal": True}],
        "evaluation": {"score": float(robust), "is_correct": robust},
        "metadata": _metadata(row),
    }


def _metadata(row: Mapping[str, Any]) -> dict[str, str]:
    """Return what else is known of a verdict, as texts."""
    found = {"correct_without_attack": str(bool(row["correct"])).lower()}
    found |= {name: f"{float(row[name]):.8g}" for name in ("distance", "margin") if name in row}
    broken = int(row.get("broken_by", -1))
    return found | ({"broken_by": BROKEN_BY[broken]} if broken >= 0 else {})


def _path(each: Measured) -> Path:
    return Path("data", COLLECTION, _developer(each), _plain(each.model_id), f"{_uuid(each)}.json")


def _uuid(each: Measured) -> UUID:
    """Return a version 4 UUID made of what was measured, in place of a random one."""
    values = [(r.measure, r.split, r.value, r.n, r.time) for r in each.records]
    return UUID(bytes=hashlib.sha256(digest_json([_evaluation_id(each), values]).encode()).digest()[:16], version=4)


def _evaluation_id(each: Measured) -> str:
    return f"{COLLECTION}/{_developer(each)}_{_plain(each.model_id)}/{_seconds(each.time)}"


def _result_id(record: Record) -> str:
    return f"{record.measure}/{record.split}/{record.config_digest}/{record.n}"


def _developer(each: Measured) -> str:
    """Return under whose name a model is filed: where it comes from."""
    return _plain({"digits": "measurebench"}.get(str(each.entry.get("source")), str(each.entry.get("source"))))


def _plain(name: str) -> str:
    """Return a name as a part of a path that every system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(". ") or "model"


def _seconds(time: str) -> str:
    """Return an ISO time as seconds since 1970."""
    return f"{datetime.fromisoformat(time).timestamp():.3f}"
