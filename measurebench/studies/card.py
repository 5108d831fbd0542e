"""The tables and figures of a study's data card, computed from the files of the study's folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from measurebench.core.files import write_atomically
from measurebench.core.intervals import ALPHA
from measurebench.stats.population.population import CONVERGED_AT
from measurebench.store.csv_text import without_marks
from measurebench.studies.markdown import Maker, fill, head, line

__all__ = ["Card", "Change", "fill", "paired"]


@dataclass(frozen=True)
class Change:
    """A setting that differs between two models that are otherwise trained alike, and what the card calls it."""

    setting: str
    before: object
    after: object
    title: str


@dataclass(frozen=True)
class Card:
    """The data card (README.md) of a study's folder.

    ``settings`` are the columns by which models are trained alike. ``more`` are further makers of parts, by name.
    """

    folder: Path
    settings: tuple[str, ...]
    changes: tuple[Change, ...]
    more: Mapping[str, Maker] = field(default_factory=dict)

    @cached_property
    def models(self) -> pd.DataFrame:
        """The study's table."""
        return pd.read_parquet(self.folder / "models.parquet")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The training curves, one row per run and evaluated epoch."""
        return pd.read_parquet(self.folder / "curves.parquet")

    @cached_property
    def learned(self) -> pd.DataFrame:
        """The models of adversarial training that learned some robustness: those that statistics rest on."""
        return self.models.query(f"defense != 'Standard' and pgd_accuracy_train >= {CONVERGED_AT}")

    @property
    def file(self) -> Path:
        """The data card itself."""
        return self.folder / "README.md"

    def write(self) -> None:
        """Write README.md anew, its parts computed from the files beside it."""
        write_atomically(self.file, self.filled(self.file.read_text(encoding="utf-8")).encode())

    def filled(self, text: str) -> str:
        """Return the text of a card with all its marked parts computed anew.

        Raises BadInputError where a part is missing, or one is marked that no maker fills.
        """
        makers: dict[str, Maker] = {
            "n_models": lambda: f"{len(self.models):,}",
            "n_runs": lambda: f"{self.models['run'].nunique():,}",
            "methods": self.methods,
            "changes": self.changed,
            "autoattack": self.autoattack,
            "growth": self.growth,
            "claims": self.claims,
            "failed": lambda: f"{int((self.models['status'] != 'measured').sum())}",
            "unlearned": lambda: f"{self.unlearned()}",
            "one_error": lambda: f"{self.one_error():.3f}",
        }
        used = {name: maker for name, maker in makers.items() if f"<!-- {name} -->" in text}
        return fill(text, {**used, **self.more}, str(self.file))

    def methods(self) -> list[str]:
        """Return, per method, medians of the accuracies and the gap, and the gap's range."""
        named = self.models.assign(method=method(self.models), gap=self.models["robust_gap_pgd"])
        lines = head("method", "models", "clean test", "PGD train", "PGD test", "gap", "gap, smallest to largest")
        for name, rows in named.groupby("method"):
            middle = rows[["clean_accuracy_test", "pgd_accuracy_train", "pgd_accuracy_test"]].median()
            low, high = rows["gap"].min(), rows["gap"].max()
            cells = (len(rows), *(f"{value:.3f}" for value in middle), f"{rows['gap'].median():+.3f}")
            lines.append(line(name, *cells, f"{low:+.3f} to {high:+.3f}"))
        return lines

    def changed(self) -> list[str]:
        """Return what one setting changes in models that are otherwise trained alike.

        Standard training is left out, and so are the models that learned no robustness, as in the statistics.
        """
        lines = head("change, all else equal", "pairs of runs", "gap", "PGD test accuracy")
        for change in self.changes:
            gap, n = paired(self.learned, self.settings, change, "robust_gap_pgd")
            accuracy, _ = paired(self.learned, self.settings, change, "pgd_accuracy_test")
            lines.append(line(change.title, n, gap, accuracy))
        return lines

    def autoattack(self) -> list[str]:
        """Return, per method, what PGD-10 leaves that AutoAttack does not, on the same images."""
        counts = pd.read_csv(self.folder / "autoattack.csv").set_index("model_id")
        models = self.models.set_index("model_id").loc[counts.index]
        counts = counts.assign(method=method(models), pgd=counts["pgd"] / counts["n"])
        counts = counts.assign(autoattack=counts["autoattack"] / counts["n"])
        counts["apart"] = counts["pgd"] - counts["autoattack"]
        lines = head("method", "models", "PGD", "AutoAttack", "difference", "largest difference")
        for name, rows in counts.groupby("method"):
            middle = rows[["pgd", "autoattack", "apart"]].mean()
            lines.append(line(name, len(rows), *(f"{value:.3f}" for value in middle), f"{rows['apart'].max():.3f}"))
        return lines

    def growth(self) -> str:
        """Return how the gap between training and validation images grows in plain AT, early and late in training."""
        each = self.overfitting()
        mean, error = each.mean(), float(each["growth"].std(ddof=1)) / np.sqrt(len(each))
        known = f" has a standard error of {error:.3f} over runs" if len(each) > 1 else " rests on one run"
        runs = "run" if len(each) == 1 else f"{len(each)} runs"
        return (
            f"over the {runs} of AT without AWP, augmentation and extra data, the mean difference of PGD accuracy "
            f"between training and validation images is {mean['late']:.3f} in the last fifth of the epochs and "
            f"{mean['early']:.3f} in the first two fifths; the growth of {mean['growth']:.3f}{known}"
        )

    def overfitting(self) -> pd.DataFrame:
        """Return the early and the late gap of each run of plain AT, and the growth from one to the other."""
        runs = self.models.drop_duplicates("run").set_index("run")
        plain = (runs["defense"] == "AT") & (runs["setting_optimizer"] == "SGD")
        for name in ("setting_augmentation", "setting_extra_data"):
            if name in runs.columns:
                plain &= ~runs[name].fillna(False).astype(bool)
        curves = self.curves.assign(gap=self.curves["train_pgd_accuracy"] - self.curves["validation_pgd_accuracy"])
        curves = curves[curves["run"].isin(runs.index[plain])]
        share = curves["epoch"] / curves.groupby("run")["epoch"].transform("max")
        early = curves[share < 0.4].groupby("run")["gap"].mean()
        late = curves[share > 0.8].groupby("run")["gap"].mean()
        return pd.DataFrame({"early": early, "late": late, "growth": late - early})

    def claims(self) -> list[str]:
        """Return the verdicts, claim by claim."""
        judged = without_marks(pd.read_csv(self.folder / "claims.csv", keep_default_na=False))
        rows = judged[["claim", "measure", "verdict", "found", "edge"]].to_dict("split")["data"]
        names = ("claim", "measure", "verdict", "what was found", "on the edge")
        return [*head(*names), *(line(*row) for row in rows)]

    def unlearned(self) -> int:
        """Return how many measured models learned too little robustness for the statistics, Standard training aside."""
        known = self.models.query("defense != 'Standard' and status == 'measured'")
        return int((known["pgd_accuracy_train"] < CONVERGED_AT).sum())

    def one_error(self) -> float:
        """Return the largest binomial standard error that one model's gap can have with these numbers of images."""
        n_train, n_test = self.models["n_train"].max(), self.models["n_test"].max()
        return float(np.sqrt(0.25 / n_train + 0.25 / n_test))


def paired(models: pd.DataFrame, settings: tuple[str, ...], change: Change, value: str) -> tuple[str, int]:
    """Return the mean change with its 95 % interval, and the number of pairs; both checkpoints of a run are one.

    The interval is Student's, since there may be a handful of pairs. With fewer than two pairs there is none, and the
    change is given as "too few pairs".
    """
    from scipy.stats import t

    alike = [name for name in settings if name != change.setting]
    each = models.set_index([*alike, change.setting])[value].unstack(change.setting)
    if not {change.before, change.after} <= set(each.columns):
        return "too few pairs", 0
    of_a_run = [name for name in alike if name != "setting_early_stopping"]
    difference = (each[change.after] - each[change.before]).dropna().groupby(level=of_a_run).mean()
    if len(difference) < 2:
        return "too few pairs", len(difference)
    n = len(difference)
    half = t.ppf(1 - ALPHA / 2, n - 1) * difference.std(ddof=1) / np.sqrt(n)
    return f"{difference.mean():+.4f} ± {half:.4f}", n


def method(models: pd.DataFrame) -> pd.Series:
    """Return each model's objective with its number of attack steps."""
    steps = models["setting_steps"].map(lambda n: "" if n == 0 else ", 1 step" if n == 1 else f", {n:.0f} steps")
    return models["defense"] + steps
