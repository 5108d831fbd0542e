"""Sentences of a data card, computed from the files of a study's folder."""

from pathlib import Path

import pandas as pd

from measurebench.store.csv_text import without_marks
from measurebench.studies.markdown import head, line

__all__ = [
    "carried",
    "images",
    "measured_on",
    "ranked_in_pairs",
    "software",
    "told_apart",
    "training_time",
    "typical_gaps",
]

_WORDS = {
    "same": "shown in both studies, with the same sign",
    "neither": "shown in neither study",
    "apart": "same sign, but the intervals do not overlap",
    "turned": "the sign is the opposite",
    "gained": "shown here only",
    "lost": "shown in the first study only",
    "one side": "measured in one study only",
}


def images(folder: Path) -> str:
    """Return how many images there are to train on, to choose checkpoints by, and to test on (from images.csv)."""
    n = pd.read_csv(folder / "images.csv").set_index("split")["images"]
    whole = n["train"] + n["validation"]
    return (
        f"{whole:,} training images, of which {n['validation']:,} are held out to choose the best checkpoint, and "
        f"{n['test']:,} test images"
    )


def measured_on(models: pd.DataFrame) -> str:
    """Return on how many images of each split models were measured, and on how many test images by AutoAttack."""
    n = models[["n_train", "n_test", "n_autoattack"]].max()
    told = f"{n['n_train']:,.0f} training and {n['n_test']:,.0f} test images"
    attacked = int(models["autoattack_accuracy_test"].notna().sum())
    return told + (f"; AutoAttack on {n['n_autoattack']:,.0f} test images of {attacked} models" if attacked else "")


def training_time(folder: Path) -> str:
    """Return how long training took in all and for a single run (from runs.csv)."""
    seconds = pd.read_csv(folder / "runs.csv")["seconds"]
    return (
        f"{len(seconds)} runs took {seconds.sum():,.0f} s in all, {seconds.min():.0f} to {seconds.max():.0f} s each "
        f"(median {seconds.median():.0f} s)"
    )


def software(folder: Path) -> str:
    """Return the versions and devices with which the runs were trained (from runs.csv)."""
    runs = pd.read_csv(folder / "runs.csv", dtype=str).fillna("unknown")
    named = {"measurebench": "measurebench", "python": "Python", "torch": "torch"}
    told = [f"{label} {' and '.join(sorted(set(runs[name])))}" for name, label in named.items()]
    return ", ".join([*told, f"device {' and '.join(sorted(set(runs['device'])))}"])


def typical_gaps(models: pd.DataFrame) -> float:
    """Return the median PGD gap of AT without augmentation, AWP and extra data, over last checkpoints."""
    chosen = (models["defense"] == "AT") & (models["setting_optimizer"] == "SGD")
    for name in ("setting_augmentation", "setting_extra_data", "setting_early_stopping"):
        if name in models.columns:
            chosen &= ~models[name].fillna(False).astype(bool)
    return float(models.loc[chosen, "robust_gap_pgd"].median())


def carried(folder: Path) -> list[str]:
    """Return, per measure, its association with the gap in the first study and in this one (from compared.csv)."""
    table = without_marks(pd.read_csv(folder / "compared.csv"))
    lines = head("measure", "tau, first study", "tau here", "difference", "what became of it")
    for row in table.to_dict("records"):
        cells = [_tau(*(row[f"{name}_{side}"] for name in ("tau", "low", "high"))) for side in "ab"]
        cells.append(_tau(row["difference"], row["difference_low"], row["difference_high"], "unknown"))
        lines.append(line(row["measure"], *cells, _WORDS[row["change"]] + ("; differs" if row["differs"] else "")))
    return lines


def told_apart(verdicts: Path, *, radius: str = "") -> str:
    """Return how many tiers the models of a file of verdicts form, and how many neighbours can be told apart."""
    from measurebench.reporting.pairs.pairs_page import neighbours_sentence, rank_in_pairs, tiers_sentence

    ranking = rank_in_pairs([verdicts], radius=radius)
    return f"on {ranking.n:,} images, {tiers_sentence(ranking)}; {neighbours_sentence(ranking)}"


def ranked_in_pairs(verdicts: Path, *, radius: str = "") -> list[str]:
    """Return the ranking of the models of a file of verdicts, with the paired difference of each to the first."""
    from measurebench.stats.judging.paired_ranking import paired_ranking
    from measurebench.store.verdicts import load_verdicts

    table = load_verdicts(verdicts)
    ranking = paired_ranking(table, radius=radius)
    right = table.drop_duplicates(["model_id", "index"]).groupby("model_id")["correct"].sum()
    lines = head("rank", "tier", "model", f"right, of {ranking.n:,}", "robust", "to the first, points", "p, adjusted")
    against = ranking.pairs[ranking.pairs["first"] == ranking.entries["model_id"].iloc[0]].set_index("second")
    for row in ranking.entries.to_dict("records"):
        cells = (row["rank"], row["tier"], row["model_id"], right[row["model_id"]], row["robust"])
        if (name := row["model_id"]) not in against.index:
            lines.append(line(*cells, "", ""))
            continue
        low, middle, high = (100 * row[f"to_first{end}"] for end in ("_low", "", "_high"))
        lines.append(line(*cells, f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]", f"{against.at[name, 'p_adjusted']:.2g}"))
    return lines


def _tau(estimate: float, low: float, high: float, missing: str = "not measured") -> str:
    if pd.isna(estimate):
        return missing
    return f"{estimate:+.2f}" + ("" if pd.isna(low) else f" [{low:+.2f}, {high:+.2f}]")
