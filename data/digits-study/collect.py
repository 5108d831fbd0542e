"""Write the digits study's published files beside this one: python data/digits-study/collect.py STUDY ANALYSIS.

STUDY is what `measurebench train` filled, with its results folder in records/; ANALYSIS is the folder of `measurebench
analyze --claims --audit`. The table itself (models.parquet, models.csv) comes from `measurebench export`, before this.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from measurebench.store.examples import read_arrays, verdict_path
from measurebench.training.checkpoints import TrainingFiles, write_manifest
from measurebench.training.grid import PlannedTraining, read_grid

HERE = Path(__file__).parent
GRID = HERE.parent / "digits" / "study.toml"


def main(study: Path, analysis: Path) -> None:
    """Write autoattack.csv, claims.csv, fragility.csv, curves.parquet and the chosen runs with their weights."""
    autoattack(pd.read_parquet(HERE / "models.parquet"), study / "records").to_csv(HERE / "autoattack.csv", index=False)
    for name in ("claims.csv", "fragility.csv"):
        shutil.copyfile(analysis / name, HERE / name)
    planned = read_grid(GRID, "digits")
    curves(study, planned).to_parquet(HERE / "curves.parquet", index=False)
    keep(study, planned)


def autoattack(models: pd.DataFrame, records: Path) -> pd.DataFrame:
    """Return, per model that AutoAttack was run on, how many of its images are right, and withstand either attack."""
    rows = []
    for row in models[models["autoattack_accuracy_test"].notna()].to_dict("records"):
        pgd, strong = _verdicts(records, row, "pgd"), _verdicts(records, row, "autoattack")
        same = np.isin(pgd["index"], strong["index"])
        counts = {"n": len(strong["robust"]), "clean": strong["correct"].sum(), "pgd": pgd["robust"][same].sum()}
        rows.append({"model_id": row["model_id"], **counts, "autoattack": strong["robust"].sum()})
    return pd.DataFrame.from_records(rows)


def curves(study: Path, planned: list[PlannedTraining]) -> pd.DataFrame:
    """Return the training curves of all runs, one row per run and evaluated epoch."""
    each = {run.name: pd.read_csv(TrainingFiles(study, run).curves) for run in planned}
    return pd.concat(each, names=["run"]).reset_index("run").reset_index(drop=True)


def keep(study: Path, planned: list[PlannedTraining]) -> None:
    """Copy the runs whose weights are published, and write their manifest."""
    for run in filter(chosen, planned):
        there, here = TrainingFiles(study, run), TrainingFiles(HERE, run)
        weights = [(there.weights(name), here.weights(name)) for name in run.checkpoints]
        others = [(there.initial, here.initial), (there.summary, here.summary), (there.curves, here.curves)]
        for old, new in [*weights, *others]:
            new.parent.mkdir(exist_ok=True)
            shutil.copyfile(old, new)
    write_manifest(HERE)


def chosen(run: PlannedTraining) -> bool:
    """Say whether a run's weights are published: one batch size, 10 attack steps, no augmentation, no extra data."""
    config = run.config
    plain = config.batch_size == 64 and not config.augmentation and not config.extra_data
    return plain and (config.defense == "Standard" or config.steps == 10)


def _verdicts(records: Path, row: dict[str, Any], attack: str) -> dict[str, Any]:
    arrays = read_arrays(verdict_path(records, row["model_id"], row["config_digest"], "test", f"{attack}_accuracy"))
    if arrays is None:
        raise SystemExit(f"{records}: expected verdicts of {attack} for {row['model_id']}, got none")
    return arrays


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
