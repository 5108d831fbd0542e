"""Trains and measures one row of a study's table again, and compares it with the table."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.foreign import for_terminal

__all__ = ["Again", "compare"]


@dataclass(frozen=True)
class Again:
    """How a study was made: its table's folder, and what ``measurebench train`` and ``run`` were given besides."""

    folder: Path
    train: Sequence[str]
    measure: Sequence[str]

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Repeat the row that the command line names, say how far it is from the table's, and return 1 if too far."""
        parser = argparse.ArgumentParser(description="Train and measure one row of the study again, and compare it.")
        parser.add_argument("model_id", help="a value of the table's column model_id")
        parser.add_argument("--data-dir", help="folder of the images, where the study needs one")
        parser.add_argument("--out", type=Path, help="folder for the run and its records (default: a temporary one)")
        parser.add_argument("--tolerance", type=float, default=1e-5, help="largest relative difference (default: 1e-5)")
        given = parser.parse_args(arguments)
        table = pd.read_parquet(self.folder / "models.parquet").set_index("model_id")
        if given.model_id not in table.index:
            parser.error(f"expected a model of the study, such as {table.index[0]}, got {given.model_id!r}")
        row = table.loc[given.model_id]
        out = given.out or Path(mkdtemp(prefix=f"{self.folder.name}-"))
        images = ("--data-dir", given.data_dir) if given.data_dir else ()
        differences = compare(row, self.repeat(str(given.model_id), row, out, images))
        print("\n".join(map(for_terminal, differences.to_string(float_format="{:.8g}".format).split("\n"))))
        worst = float(differences["relative_difference"].max())
        told = f"{given.model_id}: {len(differences)} values, largest relative difference {worst:.2g}; files in {out}"
        print(for_terminal(told))
        return 0 if worst <= given.tolerance else 1

    def repeat(self, model_id: str, row: "pd.Series[Any]", out: Path, images: Sequence[str]) -> "pd.Series[Any]":
        """Train and measure the run of a model under ``out`` and return the model's new row."""
        only = ("--only", model_id.rsplit("-", 1)[0], "--out", str(out / "run"))
        _measurebench("train", *self.train, *images, "--workers", "1", *only)
        attacks, examples = "pgd", tuple[str, ...]()
        if pd.notna(row.get("autoattack_accuracy_test")):
            attacks, examples = "pgd,autoattack", ("--autoattack-examples", str(int(row["n_autoattack"])))
        model, records = f"{out / 'run'}#{model_id}", ("--out", str(out / "records"))
        _measurebench("run", model, *self.measure, *images, "--workers", "1", "--attacks", attacks, *examples, *records)
        _measurebench("export", str(out / "records"), "--out", str(out / "models.csv"))
        new = pd.read_csv(out / "models.csv")
        return new[new["model_id"] == model_id].iloc[0]


def compare(old: "pd.Series[Any]", new: "pd.Series[Any]") -> pd.DataFrame:
    """Return each number of both rows with its relative difference; a number that only one of them has is infinite."""
    rows = {}
    for name, value in old.items():
        if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or str(name).startswith("seconds"):
            continue
        known, other = float(value), float(new.get(name, np.nan))
        if np.isnan(known) and np.isnan(other):
            continue
        scale = max(abs(known), abs(other))
        difference = abs(known - other) / scale if scale else 0.0
        rows[name] = (known, other, np.inf if np.isnan(difference) else difference)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["table", "again", "relative_difference"])


def _measurebench(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "measurebench", *arguments], check=True)
