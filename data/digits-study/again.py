"""Train and measure one row of the digits study again, and compare it with the table.

python data/digits-study/again.py MODEL_ID [--out DIR] [--tolerance 1e-5]. The model's training run is repeated (both
of its checkpoints come from it), measured, and every accuracy and measure of the row is set beside the new one. Exit
status 1 when one of them differs by more than the tolerance, relative to the larger of the two.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
GRID = HERE.parent / "digits" / "study.toml"
TRAIN = ("train", "--grid", str(GRID), "--dataset", "digits", "--extra-data", "own", "--workers", "1")
MEASURE = ("--dataset", "digits", "--measures", "core", "--workers", "1")


def main() -> int:
    """Repeat the row that the command line names and say how far it is from the table's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_id", help="a value of the table's column model_id")
    parser.add_argument("--out", type=Path, help="folder for the run and its records (default: a temporary one)")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="largest relative difference (default: 1e-5)")
    given = parser.parse_args()
    table = pd.read_parquet(HERE / "models.parquet").set_index("model_id")
    if given.model_id not in table.index:
        parser.error(f"expected a model of the study, such as {table.index[0]}, got {given.model_id!r}")
    row = table.loc[given.model_id]
    out = given.out or Path(mkdtemp(prefix="digits-study-"))
    differences = compare(row, repeat(str(given.model_id), row, out))
    print(differences.to_string(float_format=lambda value: f"{value:.8g}"))
    worst = float(differences["relative_difference"].max())
    print(f"{given.model_id}: {len(differences)} values, largest relative difference {worst:.2g}; files in {out}")
    return 0 if worst <= given.tolerance else 1


def repeat(model_id: str, row: pd.Series, out: Path) -> pd.Series:
    """Train and measure the run of a model under ``out`` and return the model's new row."""
    _measurebench(*TRAIN, "--only", model_id.rsplit("-", 1)[0], "--out", str(out / "run"))
    attacks = "pgd,autoattack" if pd.notna(row.get("autoattack_accuracy_test")) else "pgd"
    examples = ("--autoattack-examples", str(int(row["n_autoattack"]))) if "autoattack" in attacks else ()
    model, records = f"{out / 'run'}#{model_id}", ("--out", str(out / "records"))
    _measurebench("run", model, *MEASURE, "--attacks", attacks, *examples, *records)
    _measurebench("export", str(out / "records"), "--out", str(out / "models.csv"))
    return pd.read_csv(out / "models.csv").set_index("model_id").loc[model_id]


def compare(old: pd.Series, new: pd.Series) -> pd.DataFrame:
    """Return each number of both rows with its relative difference; a number that only one of them has is infinite."""
    rows = {}
    for name, value in old.items():
        if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or str(name).startswith("seconds"):
            continue
        other = new.get(name, np.nan)
        if pd.isna(value) and pd.isna(other):
            continue
        scale = max(abs(float(value)), abs(float(other)))
        difference = abs(float(value) - float(other)) / scale if scale else 0.0
        rows[name] = (float(value), float(other), np.inf if np.isnan(difference) else difference)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["table", "again", "relative_difference"])


def _measurebench(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "measurebench", *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
