"""Write the tables of the digits study's data card (README.md) from the files beside it.

python data/digits-study/card.py
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from measurebench.stats.population.population import CONVERGED_AT
from measurebench.store.csv_text import without_marks

HERE = Path(__file__).parent
SETTINGS = (
    "architecture",
    "defense",
    "setting_steps",
    "setting_optimizer",
    "setting_batch_size",
    "setting_augmentation",
    "setting_extra_data",
    "setting_early_stopping",
)
CHANGES = (
    ("setting_optimizer", "SGD", "AWP", "AWP instead of SGD"),
    ("setting_early_stopping", False, True, "best checkpoint instead of the last"),
    ("setting_augmentation", False, True, "with augmentation"),
    ("setting_extra_data", False, True, "with extra data"),
    ("setting_steps", 1, 10, "10 attack steps instead of 1"),
    ("setting_batch_size", 32, 128, "batches of 128 instead of 32"),
)


def main() -> None:
    """Write README.md anew, its tables filled from the files beside it."""
    (HERE / "README.md").write_text(filled((HERE / "README.md").read_text()))


def table() -> pd.DataFrame:
    """Return the study's table."""
    return pd.read_parquet(HERE / "models.parquet")


def filled(text: str) -> str:
    """Return the data card with what stands between ``<!-- NAME -->`` and ``<!-- end -->`` computed anew."""
    makers = {"methods": methods, "changes": changes, "autoattack": autoattack, "claims": claims}
    for name, maker in makers.items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        made = "\n".join(maker())
        text, n = block.subn(lambda match, made=made: f"{match[1]}\n{made}\n\n{match[2]}", text)
        if n != 1:
            raise SystemExit(f"README.md: expected one block <!-- {name} -->, got {n}")
    return text


def methods() -> list[str]:
    """Return, per method, medians of the accuracies and the gap, and the gap's range."""
    models = table()
    named = models.assign(method=method(models), gap=models["robust_gap_pgd"])
    lines = head("method", "models", "clean test", "PGD train", "PGD test", "gap", "gap, smallest to largest")
    for name, rows in named.groupby("method"):
        middle = rows[["clean_accuracy_test", "pgd_accuracy_train", "pgd_accuracy_test"]].median()
        low, high = rows["gap"].min(), rows["gap"].max()
        cells = (len(rows), *(f"{value:.3f}" for value in middle), f"{rows['gap'].median():+.3f}")
        lines.append(line(name, *cells, f"{low:+.3f} to {high:+.3f}"))
    return lines


def changes() -> list[str]:
    """Return what one setting changes in models that are otherwise trained alike.

    Standard training is left out, and so are the models that learned no robustness, as in the statistics.
    """
    models = table().query(f"defense != 'Standard' and pgd_accuracy_train >= {CONVERGED_AT}")
    lines = head("change, all else equal", "pairs of runs", "gap", "PGD test accuracy")
    for setting, before, after, name in CHANGES:
        gap, n = paired(models, setting, before, after, "robust_gap_pgd")
        accuracy, _ = paired(models, setting, before, after, "pgd_accuracy_test")
        lines.append(line(name, n, gap, accuracy))
    return lines


def paired(models: pd.DataFrame, setting: str, before: object, after: object, value: str) -> tuple[str, int]:
    """Return the mean change with 1.96 standard errors, and the number of pairs; both checkpoints of a run are one."""
    alike = [name for name in SETTINGS if name != setting]
    each = models.set_index([*alike, setting])[value].unstack(setting)
    of_a_run = [name for name in alike if name != "setting_early_stopping"]
    difference = (each[after] - each[before]).dropna().groupby(level=of_a_run).mean()
    error = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    return f"{difference.mean():+.4f} ± {error:.4f}", len(difference)


def autoattack() -> list[str]:
    """Return, per method, what PGD-10 leaves that AutoAttack does not, on the same images."""
    counts = pd.read_csv(HERE / "autoattack.csv").set_index("model_id")
    models = table().set_index("model_id").loc[counts.index]
    counts = counts.assign(method=method(models), pgd=counts["pgd"] / counts["n"])
    counts = counts.assign(autoattack=counts["autoattack"] / counts["n"])
    counts["apart"] = counts["pgd"] - counts["autoattack"]
    lines = head("method", "models", "PGD", "AutoAttack", "difference", "largest difference")
    for name, rows in counts.groupby("method"):
        middle = rows[["pgd", "autoattack", "apart"]].mean()
        lines.append(line(name, len(rows), *(f"{value:.3f}" for value in middle), f"{rows['apart'].max():.3f}"))
    return lines


def claims() -> list[str]:
    """Return the verdicts, claim by claim."""
    judged = without_marks(pd.read_csv(HERE / "claims.csv", keep_default_na=False))
    rows = judged[["claim", "measure", "verdict", "found"]].to_dict("split")["data"]
    return [*head("claim", "measure", "verdict", "what was found"), *(line(*row) for row in rows)]


def method(models: pd.DataFrame) -> pd.Series:
    """Return each model's objective with its number of attack steps."""
    steps = models["setting_steps"].map(lambda n: "" if n == 0 else ", 1 step" if n == 1 else f", {n:.0f} steps")
    return models["defense"] + steps


def head(*names: str) -> list[str]:
    """Return the first two lines of a table."""
    return [line(*names), "|" + "---|" * len(names)]


def line(*cells: object) -> str:
    """Return one row of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


if __name__ == "__main__":
    main()
