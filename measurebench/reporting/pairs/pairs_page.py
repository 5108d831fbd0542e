"""Writes the page of models compared in pairs: tiers, and every difference with its interval and McNemar's test."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from measurebench.core.file_sets import write_set
from measurebench.core.intervals import ALPHA
from measurebench.reporting.charts import first
from measurebench.reporting.figures.page_data import datasets, figure_data
from measurebench.reporting.html.embedding import columns as embedded
from measurebench.reporting.html.shell import render
from measurebench.reporting.html.wording import count
from measurebench.reporting.subject.drawable import drawable
from measurebench.stats.judging.paired_ranking import PairedRanking, paired_ranking
from measurebench.store.csv_text import csv_text

__all__ = [
    "as_json",
    "left_out_sentence",
    "neighbours_sentence",
    "pairs_page",
    "rank_in_pairs",
    "tiers_sentence",
    "write_pairs",
]

_NAMED = 10
"""So many of the models that are left out are named; a list of hundreds hides the sentence."""
_COLUMNS = {
    "rank": ("rank", "integer"),
    "tier": ("tier", "integer"),
    "model_id": ("model", "text"),
    "accuracy": ("robust accuracy", "percent2"),
    "low": ("low", "percent2"),
    "high": ("high", "percent2"),
    "robust": ("images withstood", "integer"),
    "to_first": ("to the first", "points"),
    "to_first_low": ("low, paired", "points"),
    "to_first_high": ("high, paired", "points"),
    "p_next": ("p, next model", "p"),
    "p_next_adjusted": ("p, adjusted", "p"),
}


def rank_in_pairs(
    sources: Sequence[Path | str], *, attack: str = "", split: str = "test", radius: str = ""
) -> PairedRanking:
    """Return the ranking of the models of results folders, or of files of verdicts, by verdicts on the same images.

    Raises BadInputError for a source without verdicts, and for verdicts that cannot be compared.
    """
    from measurebench.store.verdicts import load_verdicts

    table = pd.concat([load_verdicts(source) for source in sources], ignore_index=True)
    return paired_ranking(table, attack=attack, split=split, radius=radius)


def write_pairs(ranking: PairedRanking, out: Path | str) -> list[Path]:
    """Write index.html, ranking.csv, pairs.csv and pairs.json into ``out``, all or none, and return their paths."""
    contents = {
        "index.html": pairs_page(ranking),
        "ranking.csv": csv_text(ranking.entries),
        "pairs.csv": csv_text(ranking.pairs),
        "pairs.json": json.dumps(as_json(ranking), indent=1, ensure_ascii=False) + "\n",
    }
    return write_set(Path(out), {name: text.encode() for name, text in contents.items()})


def as_json(ranking: PairedRanking) -> dict[str, Any]:
    """Return the ranking as plain values: what was compared, tiers, entries, and all pairs; unknown is None."""
    return {
        "attack": ranking.attack,
        "split": ranking.split,
        "task": ranking.task,
        "n_images": ranking.n,
        "alpha": ALPHA,
        "adjustment": "Holm over all pairs",
        "tiers": ranking.tiers,
        "models": _plain(ranking.entries),
        "pairs": _plain(ranking.pairs),
        "left_out": ranking.left_out,
    }


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows of plain values; unknown is None."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows


def tiers_sentence(ranking: PairedRanking) -> str:
    """Return how many tiers there are and who is in the first."""
    leading = ranking.tiers[0]
    told = f"{count(len(ranking.entries), 'model')} in {count(len(ranking.tiers), 'tier')}"
    if len(leading) == 1:
        return f"{told}: {leading[0]} is more robust than every other"
    return f"{told}: the first {len(leading)} cannot be told apart"


def neighbours_sentence(ranking: PairedRanking) -> str:
    """Return how many neighbours in the ranking differ by the paired and by the unpaired test."""
    found = ranking.neighbours()
    paired, unpaired = int((found["p_value"] <= ALPHA).sum()), int(found["unpaired"].sum())
    adjusted = int((found["p_adjusted"] <= ALPHA).sum())
    return (
        f"{paired} of {count(len(found), 'pair')} of neighbours differ by McNemar's test at {ALPHA} "
        f"({adjusted} after Holm's adjustment over all pairs), {unpaired} by the unpaired test"
    )


def left_out_sentence(ranking: PairedRanking) -> str:
    """Return which models are not ranked, for want of verdicts under the attack; empty where all are."""
    if not (names := ranking.left_out):
        return ""
    told = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
    return f"Not ranked, without verdicts of {ranking.attack} on {ranking.split} images at this radius: {told}"


def pairs_page(ranking: PairedRanking) -> str:
    """Return the page as HTML."""
    entries = drawable(_with_next(ranking))
    figure = first.figure(entries, ranking.n)
    sentence = tiers_sentence(ranking)
    return render(
        "pairs.html",
        _data(entries, figure, ranking),
        title=f"Models compared in pairs: {sentence}",
        description="Robust accuracies compared in pairs: McNemar's test, paired intervals, tiers.",
        kicker=f"{ranking.task} \u00b7 {ranking.attack} \u00b7 {ranking.n:,} {ranking.split} images",
        sentence=sentence,
        lead=" ".join(f"{told}." for told in (neighbours_sentence(ranking), left_out_sentence(ranking)) if told),
        figure=figure,
        sections=[("first", "Differences"), ("models", "Models"), ("methods", "Method")],
        tiers=list(enumerate(ranking.tiers, 1)),
        alpha=ALPHA,
    )


def _with_next(ranking: PairedRanking) -> pd.DataFrame:
    """Return the entries with the p-values of the comparison with the model that follows."""
    following = ranking.neighbours().set_index("first")[["p_value", "p_adjusted"]].reindex(ranking.entries["model_id"])
    return ranking.entries.assign(
        p_next=following["p_value"].to_numpy(), p_next_adjusted=following["p_adjusted"].to_numpy()
    )


def _data(entries: pd.DataFrame, figure: Any, ranking: PairedRanking) -> dict[str, Any]:
    shown = entries[list(_COLUMNS)].assign(order=range(len(entries)))
    levels = shown["tier"].value_counts().sort_index()
    return {
        "figures": figure_data([figure]),
        "datasets": datasets([figure], {"models": embedded(shown)}),
        "columns": [
            {"key": key, "label": label, "format": kind, "group": "columns", "shown": True}
            for key, (label, kind) in _COLUMNS.items()
        ],
        "filters": [
            {
                "key": "tier",
                "label": "tier",
                "levels": [{"level": str(tier), "n": int(n)} for tier, n in levels.items()],
            }
        ]
        if len(levels) < 15
        else [],
        "measures": [],
        "measure": None,
        "sort": {"key": "rank", "direction": 1},
        "file": f"pairs-{ranking.attack}",
        "noun": "models",
    }
