"""Collects the files of a published study: what its models measured, how they were trained, and what follows."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.errors import BadInputError
from measurebench.core.files import write_atomically
from measurebench.datasets.base import Dataset
from measurebench.store.csv_text import csv_text
from measurebench.store.examples import read_arrays, verdict_path
from measurebench.store.joining import join_results
from measurebench.store.tables import write_table
from measurebench.training.checkpoints import TrainingFiles, write_manifest
from measurebench.training.grid import PlannedTraining

__all__ = [
    "Publication",
    "autoattack_counts",
    "finished_runs",
    "keep_runs",
    "publish_study",
    "training_curves",
    "training_runs",
    "write_claims",
    "write_comparison_table",
    "write_image_counts",
    "write_test_verdicts",
]

_VERDICTS = (
    *("model_id", "dataset", "norm", "radius", "split", "measure"),
    *("index", "label", "correct", "robust", "broken_by"),
)


@dataclass(frozen=True)
class Publication:
    """What a study publishes in ``folder``: the runs of its grid, and the weights of those for which ``keep`` holds."""

    folder: Path
    planned: Sequence[PlannedTraining]
    keep: Callable[[PlannedTraining], bool]


def publish_study(publication: Publication, trained: Path, records: Path | None = None) -> pd.DataFrame:
    """Write all files of a study but its data card, from the folders of training and of measurement; return the table.

    ``trained`` is what ``measurebench train`` filled; ``records`` the results folder of ``measurebench run``, by
    default ``records`` inside it. Runs that have not finished are left out. Raises BadInputError where no run has
    finished, or there are no results.
    """
    records = records or trained / "records"
    folder, finished = publication.folder, finished_runs(trained, publication.planned)
    table = join_results(records)
    for name in ("models.parquet", "models.csv"):
        write_table(table, folder / name)
    _write_csv(autoattack_counts(table, records), folder / "autoattack.csv")
    _write_csv(training_runs(trained, finished), folder / "runs.csv")
    write_table(training_curves(trained, finished), folder / "curves.parquet")
    keep_runs(trained, folder, [run for run in finished if publication.keep(run)])
    write_claims(folder)
    return table


def finished_runs(trained: Path, planned: Sequence[PlannedTraining]) -> list[PlannedTraining]:
    """Return the runs that have finished. Raises BadInputError where none has."""
    found = []
    for run in planned:
        summary = TrainingFiles(trained, run).read_summary()
        if summary and summary["status"] == "finished":
            found.append(run)
    if not found:
        raise BadInputError(str(trained), f"a finished run of the {len(planned)} of the grid", "none")
    return found


def autoattack_counts(models: pd.DataFrame, records: Path) -> pd.DataFrame:
    """Return, per model that AutoAttack was run on, how many of its images are right, and withstand either attack.

    Raises BadInputError where the verdicts of an accuracy are missing.
    """
    rows = []
    for row in models[models["autoattack_accuracy_test"].notna()].to_dict("records"):
        pgd, strong = _verdicts(records, row, "pgd"), _verdicts(records, row, "autoattack")
        same = np.isin(pgd["index"], strong["index"])
        counts = {"n": len(strong["robust"]), "clean": strong["correct"].sum(), "pgd": pgd["robust"][same].sum()}
        rows.append({"model_id": row["model_id"], **counts, "autoattack": strong["robust"].sum()})
    return pd.DataFrame.from_records(rows, columns=["model_id", "n", "clean", "pgd", "autoattack"])


def _verdicts(records: Path, row: Mapping[Any, Any], attack: str) -> dict[str, Any]:
    path = verdict_path(records, row["model_id"], row["config_digest"], "test", f"{attack}_accuracy")
    arrays = read_arrays(path)
    if arrays is None:
        raise BadInputError(str(records), f"verdicts of {attack} for {row['model_id']}", "none")
    return arrays


def training_curves(trained: Path, runs: Sequence[PlannedTraining]) -> pd.DataFrame:
    """Return the training curves of runs, one row per run and evaluated epoch."""
    each = {run.name: pd.read_csv(TrainingFiles(trained, run).curves) for run in runs}
    return pd.concat(each, names=["run"]).reset_index("run").reset_index(drop=True)


def training_runs(trained: Path, runs: Sequence[PlannedTraining]) -> pd.DataFrame:
    """Return one row per run: seconds of training, device, software, and the epochs of its checkpoints."""
    rows = []
    for run in runs:
        summary = TrainingFiles(trained, run).read_summary() or {}
        epochs = {f"epoch_{name}": kept.get("epoch") for name, kept in summary["checkpoints"].items()}
        software = {name: summary.get("software", {}).get(name) for name in ("measurebench", "python", "torch")}
        rows.append(
            {"run": run.name, "seconds": summary.get("seconds"), "device": summary.get("device"), **software, **epochs}
        )
    return pd.DataFrame.from_records(rows)


def keep_runs(trained: Path, folder: Path, runs: Sequence[PlannedTraining]) -> int:
    """Copy the runs whose weights are published, and write their manifest; return how many checkpoints it names."""
    for run in runs:
        there, here = TrainingFiles(trained, run), TrainingFiles(folder, run)
        weights = [(there.weights(name), here.weights(name)) for name in run.checkpoints]
        others = [(there.initial, here.initial), (there.summary, here.summary), (there.curves, here.curves)]
        for old, new in [*weights, *others]:
            new.parent.mkdir(exist_ok=True)
            shutil.copyfile(old, new)
    return write_manifest(folder)


def write_claims(folder: Path) -> pd.DataFrame:
    """Judge the published claims on the folder's table, write claims.csv and fragility.csv, and return the claims."""
    from measurebench.stats import analyze, judged_claims

    analysis = analyze(pd.read_parquet(folder / "models.parquet"))
    judged = judged_claims(analysis)
    _write_csv(judged, folder / "claims.csv")
    _write_csv(analysis.fragility, folder / "fragility.csv")
    return judged


def write_image_counts(folder: Path, dataset: Dataset, held_out: int) -> pd.DataFrame:
    """Write images.csv: how many images there are to train on, to choose checkpoints by, and to test on.

    ``held_out`` of the training images choose the best checkpoint; the digest of both together is given for each.
    """
    n, test = len(dataset.train), len(dataset.test)
    both = dataset.train.digest()
    found = pd.DataFrame(
        [("train", n - held_out, both), ("validation", held_out, both), ("test", test, dataset.test.digest())],
        columns=["split", "images", "digest"],
    )
    _write_csv(found, folder / "images.csv")
    return found


def write_test_verdicts(records: Path, folder: Path) -> pd.DataFrame:
    """Write verdicts.parquet: per model and test image, whether it is right, and what AutoAttack did to it.

    ``records`` is the results folder. Raises BadInputError for one without verdicts.
    """
    from measurebench.store.verdicts import read_verdicts

    kept = read_verdicts(records, measure="autoattack_accuracy", split="test")[list(_VERDICTS)]
    write_table(kept, folder / "verdicts.parquet")
    return kept


def write_comparison_table(first: Path, folder: Path) -> pd.DataFrame:
    """Write compared.csv beside a study's table: which conclusions of a first study's table it confirms.

    Returns one row per measure, as ``measurebench compare FIRST FOLDER/models.parquet`` prints.
    """
    from measurebench.reporting.comparison.comparison_page import comparison
    from measurebench.reporting.subject.study import load_study

    found = comparison(load_study(first), load_study(folder / "models.parquet"))
    kept = ["measure", "change", "tau_a", "low_a", "high_a", "n_a", "tau_b", "low_b", "high_b", "n_b"]
    kept += ["difference", "difference_low", "difference_high", "difference_p", "differs"]
    _write_csv(found[kept], folder / "compared.csv")
    return found


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    write_atomically(path, csv_text(table).encode())
