"""What a folder of trained models holds: weights, curves, one file per run, and the manifest.

models.toml                     the manifest that ``run`` reads
weights/RUN-last.safetensors    and ``-best``
weights/initial-*.safetensors   epoch 0, shared by all runs of one architecture and seed
runs/RUN.json                   settings, status, software, what each checkpoint reached
runs/RUN.csv                    the training curves
states/RUN.pt                   only while a run is unfinished: where it goes on after a kill
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from measurebench.core.digests import digest_file, digest_json
from measurebench.core.files import write_atomically
from measurebench.core.toml import to_key, to_toml
from measurebench.core.whole_files import damage_of
from measurebench.models.manifest import name_beside
from measurebench.training.grid import PlannedTraining
from measurebench.training.summaries import read_summaries, read_summary
from measurebench.training.training_config import TrainingConfig

__all__ = [
    "TrainingFiles",
    "files_of",
    "manifest_text",
    "write_curves",
    "write_manifest",
    "write_summary",
    "write_weights",
]


@dataclass(frozen=True)
class TrainingFiles:
    """Where the files of one run lie, under the folder of all models."""

    folder: Path
    run: PlannedTraining

    def weights(self, checkpoint: str) -> Path:
        """Return the file of the last or best checkpoint."""
        return self.folder / "weights" / f"{self.run.name}-{checkpoint}.safetensors"

    @property
    def initial(self) -> Path:
        """The file of the weights at epoch 0: named by all that they depend on."""
        config = self.run.config
        plain = config.architecture.replace("/", "_").replace(":", "_")
        kwargs = f"-{digest_json(dict(config.architecture_kwargs))[:8]}" if config.architecture_kwargs else ""
        return self.folder / "weights" / f"initial-{plain}{kwargs}-s{config.seed}.safetensors"

    @property
    def summary(self) -> Path:
        """The file with settings, status and results."""
        return self.folder / "runs" / f"{self.run.name}.json"

    @property
    def curves(self) -> Path:
        """The file with the training curves."""
        return self.folder / "runs" / f"{self.run.name}.csv"

    @property
    def state(self) -> Path:
        """The file of an unfinished run's state."""
        return self.folder / "states" / f"{self.run.name}.pt"

    def read_summary(self) -> dict[str, Any] | None:
        """Return what is known of this run, or None when it has not ended yet; a damaged summary counts as none."""
        return read_summary(self.summary) if self.summary.is_file() else None

    def damages(self, summary: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
        """Yield each file of weights or curves that is not as the summary of the finished run says, and why."""
        kept, first = summary["checkpoints"], summary.get("initial_sha256")
        hashes = {self.weights(name): entry["sha256"] for name, entry in kept.items()} | {self.initial: first}
        if "curves_sha256" in summary:
            hashes[self.curves] = summary["curves_sha256"]
        for path, sha256 in hashes.items():
            if not path.is_file():
                yield path, "missing"
            elif sha256 and digest_file(path) != sha256:
                yield path, "damaged: its SHA-256 is not the one in the summary"
            elif not sha256 and (damage := damage_of(path)):
                yield path, f"damaged: {damage}"


def write_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state dict, tensors of any shape by name, as safetensors, whole or not at all."""
    from safetensors.torch import save

    write_atomically(path, save({name: tensor.contiguous() for name, tensor in state.items()}))


def write_curves(path: Path, curves: Sequence[Mapping[str, float]]) -> None:
    """Write training curves as CSV, one row per evaluated epoch."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(curves[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(curves)
    write_atomically(path, buffer.getvalue().encode())


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write a run's settings, status and results as JSON, with their checksum."""
    checked = {**summary, "checksum": digest_json(dict(summary))}
    write_atomically(path, json.dumps(checked, indent=1, sort_keys=True).encode() + b"\n")


def write_manifest(folder: Path) -> int:
    """Write models.toml with every checkpoint of every finished run in the folder, and return how many there are."""
    text, n = manifest_text(folder)
    if n:
        write_atomically(folder / "models.toml", text.encode())
    return n


def manifest_text(folder: Path) -> tuple[str, int]:
    """Return the manifest of all finished runs in the folder, and how many checkpoints it names.

    Damaged summaries are left out, with a DamageWarning.
    """
    summaries = read_summaries(folder)
    entries = [
        _entry(folder, summary, checkpoint)
        for summary in summaries
        if summary["status"] == "finished"
        for checkpoint in summary["checkpoints"]
    ]
    head = "# Written by `measurebench train`; the settings of every run in full lie in runs/.\n\n"
    return head + "\n".join(entries), len(entries)


def files_of(folder: Path, summary: Mapping[str, Any]) -> TrainingFiles:
    """Return where the files of a finished run lie, from its summary."""
    config = TrainingConfig.from_mapping(summary["settings"], summary["run"])
    run = PlannedTraining(summary["run"], config, tuple(summary["checkpoints"]), tuple(summary["axes"]))
    return TrainingFiles(folder, run)


def _entry(folder: Path, summary: Mapping[str, Any], checkpoint: str) -> str:
    """Return one [[model]] table."""
    files, kept = files_of(folder, summary), summary["checkpoints"][checkpoint]
    run = files.run
    config = run.config
    values: dict[str, Any] = {
        "id": f"{run.name}-{checkpoint}",
        "file": files.weights(checkpoint).relative_to(folder).as_posix(),
        "sha256": kept["sha256"],
        "architecture": name_beside(config.architecture),
        "architecture_kwargs": _inputs(summary) | dict(config.architecture_kwargs),
        "normalization": config.normalization,
        "init_file": files.initial.relative_to(folder).as_posix(),
        "dataset": summary["dataset"],
        "defense": config.defense,
        "norm": config.norm,
        "radius": config.radius,
        "expected_clean_accuracy": kept["clean_accuracy_test"],
        "run": run.name,
        "cluster": config.architecture,
    }
    settings = _settings(config, run.axes) | {"early_stopping": checkpoint == "best"}
    lines = ["[[model]]", *(f"{to_key(name)} = {to_toml(value)}" for name, value in values.items())]
    lines += ["[model.settings]", *(f"{to_key(name)} = {to_toml(value)}" for name, value in settings.items())]
    return "\n".join(lines) + "\n"


def _inputs(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of classes and channels, which every built-in architecture takes and others need not."""
    names = () if ":" in summary["settings"]["architecture"] else ("n_classes", "in_channels")
    return {name: summary[name] for name in names}


def _settings(config: TrainingConfig, axes: Sequence[str]) -> dict[str, Any]:
    """Return the study's settings, and whatever else is an axis of the grid."""
    settings = {
        name: getattr(config, name) for name in ("steps", "optimizer", "batch_size", "augmentation", "extra_data")
    }
    others = {name: getattr(config, name) for name in axes if name not in ("architecture", "defense", "norm", "radius")}
    return settings | {name: value for name, value in others.items() if isinstance(value, str | int | float | bool)}
