"""Each reader meets 200 mutations of a valid file: it returns a value or raises our own error, soon and in one line."""

import io
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from measurebench.core.errors import DamageWarning, MeasurebenchError
from measurebench.core.option_fields import read_toml
from measurebench.core.records import Record
from measurebench.datasets import load_dataset
from measurebench.engine.options import RunOptions
from measurebench.models.checkpoint import read_checkpoint
from measurebench.models.manifest import read_manifest
from measurebench.models.states import candidates, fit
from measurebench.reporting.figures.gallery import read_gallery
from measurebench.reporting.figures.pictures import read_picture
from measurebench.stats.analysis_files import read_analysis, write_analysis
from measurebench.store.folder import ResultsFolder, read_records
from measurebench.store.recorded_infos import recorded_infos
from measurebench.store.status import read_status
from measurebench.store.tables import export, read_table, write_table
from measurebench.training.grid import read_grid
from measurebench.training.summaries import read_training_summary
from tests.fuzz.mutations import mutated_bytes, mutated_json, mutated_text
from tests.models.checkpoints import network, safetensors_bytes, saved, state

SECONDS, MEGABYTES = 5.0, 600

Contents = Iterable[bytes]


def _meets(contents: Contents, path: Path, read: Callable[[], object]) -> None:
    """Let a reader read each content; fail at the first that raises anything but our own error in one line."""
    before, messages = _peak(), list[str]()
    for number, content in enumerate(contents):
        path.write_bytes(content)
        start = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as told:  # libraries warn of odd content
                warnings.simplefilter("always")
                read()
            messages += [str(each.message) for each in told if issubclass(each.category, DamageWarning)]
        except MeasurebenchError as found:
            messages.append(str(found))
        except Exception as error:
            error.add_note(f"mutation {number} of {path.name}: {content[:300]!r}")
            raise
        assert time.perf_counter() - start < SECONDS, f"mutation {number} took too long"
    assert messages
    assert [message for message in messages if "\n" in message or len(message) > 2000] == []
    assert _peak() - before < MEGABYTES


def _peak() -> float:
    """Return the peak memory of this process in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _json(values: Iterable[Any]) -> Iterator[bytes]:
    return (json.dumps(value).encode() for value in values)


MANIFEST = """[[model]]
id = "net"
file = "net.pt"
architecture = "resnet-18"
architecture_kwargs = { width = 16, names = ["a", "b"] }
normalization = { mean = [0.5, 0.5, 0.5], std = [0.25, 0.25, 0.25] }
weights = ["state_dict", 0]
dataset = "cifar10"
defense = "AT"
norm = "Linf"
radius = "8/255"
expected_clean_accuracy = 0.9173
run = "net-seed0"
[model.settings]
steps = 10
optimizer = "SGD"
augmentation = true
rate = 0.1"""


@pytest.mark.parametrize("kind", ["bytes", "values"])
def test_manifests(kind: str, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"x")
    path = tmp_path / "models.toml"
    texts = (text.encode("utf-8", "surrogatepass") for text in mutated_text(MANIFEST.split("\n"), 1))

    def read() -> None:
        for spec in read_manifest(path):
            spec.digest()

    _meets(mutated_bytes(MANIFEST.encode(), 1) if kind == "bytes" else texts, path, read)


GRID = """[settings]
epochs = 2
batch_size = 64
milestones = [0.5, 0.75]
[axes]
defense = ["Standard", "AT"]
steps = [1, 10]
seed = [0, 1]
checkpoint = ["last", "best"]
[[runs]]
defense = "TRADES"
beta = 6.0
architecture_kwargs = { width = 8 }
[[rules]]
when = { defense = "Standard" }
drop = ["steps"]
set = { epochs = 1 }"""


@pytest.mark.parametrize("kind", ["bytes", "values"])
def test_grids(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    contents = (
        mutated_bytes(GRID.encode(), 2) if kind == "bytes" else map(str.encode, mutated_text(GRID.split("\n"), 2))
    )

    def read() -> None:
        for run in read_grid(path, "digits"):
            run.config.digest()

    _meets(contents, path, read)


OPTIONS = """dataset = "digits"
measures = ["path_norm", "average_ce"]
norm = "Linf"
radius = "8/255"
train_examples = 100
batch_size = "auto"
normalization = { mean = [0.5], std = [0.5] }
[measure.boundary_thickness]
alpha = 0.5"""


def test_configuration_files(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    contents = chain(mutated_bytes(OPTIONS.encode(), 3), map(str.encode, mutated_text(OPTIONS.split("\n"), 3)))
    _meets(contents, path, lambda: RunOptions(**({"dataset": "digits"} | read_toml(RunOptions, path, "run"))))


def _record(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"model_id": "net", "model_digest": "a" * 64, "measure": "path_norm", "measure_version": 1}
    values |= {"split": "train", "config_digest": "b" * 64, "status": "measured", "value": 1.5, "standard_error": 0.1}
    values |= {"n": 10, "seconds": 0.5, "peak_memory_bytes": 1000, "seed": 0, "environment_digest": "c" * 64}
    values |= {"time": "2026-01-01T00:00:00+00:00", "reason": "", "diagnostics": {"n_layers": 3, "flags": "odd"}}
    return values | changes


ENTRY: dict[str, Any] = {
    "model_id": "net",
    "model_digest": "a" * 64,
    "config_digest": "b" * 64,
    "reference": "net.pt",
    "source": "local",
    "file_sha256": None,
    "architecture": "resnet-18",
    "n_parameters": 100,
    "defense": "AT",
    "dataset": "digits",
    "norm": "Linf",
    "radius": 0.1,
    "radius_text": "1/10",
    "run": None,
    "cluster": "a",
    "settings": {"steps": 10},
    "notes": ["format"],
    "failure": "",
    "measurebench_version": "1",
    "n_train": 10,
    "n_test": 10,
}


def _results(folder: Path) -> Path:
    """Make a results folder with one model and two records."""
    with ResultsFolder.writing(folder, "1") as results:
        results.add_model(ENTRY)
        for measure in ("path_norm", "pgd_accuracy"):
            results.add_record(Record.from_json(_record(measure=measure), "here"))
    return folder


def _read_results(folder: Path) -> None:
    read_records(folder)
    read_status(folder)
    table = export(ResultsFolder.open(folder))
    for ending in (".csv", ".json", ".parquet"):
        write_table(table, folder.parent / f"out{ending}")


@pytest.mark.parametrize("kind", ["bytes", "values"])
def test_records(kind: str, tmp_path: Path) -> None:
    folder = _results(tmp_path / "results")
    path = folder / "records.jsonl"
    lines = (content + b"\n" for content in _json(mutated_json(_record(), 4)))
    _meets(mutated_bytes(path.read_bytes(), 4) if kind == "bytes" else lines, path, lambda: _read_results(folder))


@pytest.mark.parametrize("kind", ["bytes", "values"])
def test_catalogues(kind: str, tmp_path: Path) -> None:
    folder = _results(tmp_path / "results")
    path = folder / "models.jsonl"
    lines = (content + b"\n" for content in _json(mutated_json(ENTRY, 5)))
    _meets(mutated_bytes(path.read_bytes(), 5) if kind == "bytes" else lines, path, lambda: _read_results(folder))


def test_marks_of_results_folders(tmp_path: Path) -> None:
    folder = _results(tmp_path / "results")
    path = folder / "measurebench.json"
    deep = [b"[" * 100_000, b"\xff\xfe\x00", b'{"format": ' + b"9" * 5000 + b"}"]
    contents = chain(deep, mutated_bytes(path.read_bytes(), 6), _json(mutated_json({"format": 1}, 6)))
    _meets(contents, path, lambda: ResultsFolder.open(folder))


TABLE = pd.DataFrame(
    {
        "model_id": [f"m{i}" for i in range(12)],
        "defense": ["AT", "TRADES", "Standard"] * 4,
        "robust_gap_pgd": np.linspace(0, 0.3, 12),
        "path_norm": np.linspace(1, 9, 12) ** 2,
        "setting_steps": [1, 10, None] * 4,
        "spec\nnorm": np.arange(12.0),
    }
)


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
def test_tables(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{ending}"
    write_table(TABLE, path)
    contents: Contents = mutated_bytes(path.read_bytes(), 7)
    if ending == ".json":
        contents = chain(contents, _json(mutated_json(json.loads(path.read_text()), 7)))
    _meets(contents, path, lambda: read_table(path))


@pytest.mark.parametrize("compressed", [False, True])
def test_data_sets(compressed: bool, tmp_path: Path) -> None:
    arrays = {"x_train": np.zeros((6, 1, 4, 4), np.uint8), "y_train": np.arange(6) % 3, "n_classes": np.array(3)}
    arrays |= {"x_test": np.zeros((3, 1, 4, 4)), "y_test": np.arange(3, dtype=np.int32)}
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)  # type: ignore[arg-type]
    _meets(
        mutated_bytes(buffer.getvalue(), 8), tmp_path / "x.npz", lambda: load_dataset(f"arrays:{tmp_path / 'x.npz'}")
    )


@pytest.mark.parametrize(
    ("mode", "form"),
    [("RGB", "png"), ("I;16", "png"), ("P", "gif"), ("RGB", "jpeg"), ("F", "tiff"), ("L", "bmp"), ("RGB", "webp")],
)
def test_pictures(mode: str, form: str, tmp_path: Path) -> None:
    path, buffer = tmp_path / f"picture.{form}", io.BytesIO()
    pixels = np.linspace(0, 255, 48).reshape(6, 8).astype(np.uint8)
    picture = Image.fromarray(pixels).convert("RGB")
    if mode == "I;16":
        picture = Image.fromarray(pixels.astype(np.uint16) * 257)
    elif mode == "F":
        picture = Image.fromarray(pixels.astype(np.float32) / 255)
    elif mode != "RGB":
        picture = picture.convert(mode)
    picture.save(buffer, format=form)
    _meets(mutated_bytes(buffer.getvalue(), 9), path, lambda: read_picture(path, 4))


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors", "kinds"])
def test_checkpoints(form: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = state()
        kinds = {"conv1.weight": torch.quantize_per_tensor(weights["conv1.weight"], 0.1, 0, torch.qint8)}
        kinds |= {"fc.weight": weights["fc.weight"].to_sparse(), "fc.bias": weights["fc.bias"].to(torch.float8_e4m3fn)}
        contents = {
            "zip": lambda: saved({"state_dict": weights, "epoch": 3}),
            "legacy": lambda: saved(weights, legacy=True),
            "safetensors": safetensors_bytes,
            "kinds": lambda: saved(weights | kinds),
        }[form]()
    path, target = tmp_path / "net.pt", network()

    def read() -> None:
        for _, found in candidates(read_checkpoint(path).content):
            fit(target, found, str(path))

    _meets(chain(mutated_bytes(contents, 10), mutated_bytes(contents[:2000], 11, 20)), path, read)


SUMMARY: dict[str, Any] = {
    "run": "net",
    "status": "finished",
    "identity": "a" * 64,
    "dataset": "digits",
    "settings": {"seed": 0},
    "axes": ["seed"],
    "n_classes": 10,
    "in_channels": 1,
    "checkpoints": {"last": {"epoch": 1, "clean_accuracy_test": 0.5, "sha256": "b" * 64}},
}


def test_training_summaries(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    contents = chain(mutated_bytes(json.dumps(SUMMARY).encode(), 12), _json(mutated_json(SUMMARY, 12)))
    _meets(contents, path, lambda: read_training_summary(path))


def test_infos_of_measures(tmp_path: Path) -> None:
    from measurebench.core.infos import measure_infos

    path = tmp_path / "table.measures.json"
    rows = [{"info": asdict(measure_infos()["path_norm"])}]
    contents = chain(mutated_bytes(json.dumps(rows).encode(), 13), _json(mutated_json(rows, 13)))
    _meets(contents, path, lambda: recorded_infos(tmp_path / "table.csv"))


def test_galleries(tmp_path: Path) -> None:
    fields = {"model_id": "net", "index": 1, "true": "cat", "clean_label": "cat", "clean_confidence": 0.9}
    fields |= {"adversarial_label": "dog", "adversarial_confidence": 0.8, "target": "", "distance": 0.1, "factor": 3.0}
    fields |= {"threat_model": "Linf 8/255", "attack": "PGD-40"}
    pictures = {name: f"000-{name}.png" for name in ("clean", "perturbation", "adversarial")}
    for name in pictures.values():
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    rows = [{**fields, **pictures}]
    path = tmp_path / "gallery.json"
    contents = chain(mutated_bytes(json.dumps(rows).encode(), 14), _json(mutated_json(rows, 14)))
    _meets(contents, path, lambda: read_gallery(tmp_path))


def test_analyses(tmp_path: Path) -> None:
    from measurebench.stats import analyze

    write_analysis(analyze(TABLE, measures=["path_norm"], bootstrap=20), tmp_path)
    path = tmp_path / "analysis.json"
    value = json.loads(path.read_text())
    contents = chain(mutated_bytes(path.read_bytes(), 15, 60), _json(mutated_json(value, 15, 60)))
    _meets(contents, path, lambda: read_analysis(tmp_path))
