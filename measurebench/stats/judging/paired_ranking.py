"""Ranks models by their verdicts on the same images, with tests in pairs and tiers of models that cannot be told apart.

RobustBench publishes accuracies only, which allow the unpaired test. Where it is known which images each model
withstood, two models are compared on the images on which they disagree: McNemar's exact test needs far fewer images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.errors import BadInputError
from measurebench.core.intervals import ALPHA, wilson_interval
from measurebench.core.threat import radius_text
from measurebench.stats.judging.paired import compare_pairs
from measurebench.store.verdicts import check_verdicts

__all__ = ["MAX_MODELS", "PairedRanking", "paired_ranking"]

MAX_MODELS = 2_000
"""Two million pairs: more would take gigabytes, and nobody reads them."""
_TASK = ("dataset", "norm", "radius")
_NAMES = {"dataset": "data sets", "norm": "norms", "radius": "radii"}
_TWO_SETS = "are these two data sets? Compare the models of each by themselves"
# The strongest first: this one counts where no attack is named.
_PREFERRED = ("autoattack_accuracy", "pgd_accuracy")


@dataclass(frozen=True)
class PairedRanking:
    """Models ranked by robust accuracy on ``n`` common images under one attack.

    ``entries`` has a row per model, the most robust first: ``rank`` (ties share the smallest), ``tier``, ``robust``
    (images withstood), ``accuracy`` with ``low`` and ``high``, and ``to_first`` with ``to_first_low`` and
    ``to_first_high``, the difference to the first. ``pairs`` has a row for every two models, the more robust ``first``:
    ``difference``, ``low``, ``high``, ``only_first``, ``only_second``, ``p_value``, ``p_adjusted`` (Holm over all
    pairs) and ``unpaired``, whether Newcombe's interval of independent proportions excludes zero. ``left_out`` names
    the models that have verdicts, but none under this attack, on this split and of this task.
    """

    attack: str
    split: str
    task: str
    n: int
    entries: pd.DataFrame
    pairs: pd.DataFrame
    left_out: list[str] = field(default_factory=list)

    @property
    def tiers(self) -> list[list[str]]:
        """The names of the models, tier by tier."""
        return [list(rows["model_id"]) for _, rows in self.entries.groupby("tier", sort=True)]

    def neighbours(self) -> pd.DataFrame:
        """Return the pairs of models that follow each other in the ranking."""
        names = list(self.entries["model_id"])
        follows = dict(pairwise(names))
        return self.pairs[[follows.get(a) == b for a, b in self.pairs[["first", "second"]].to_numpy()]]


def paired_ranking(
    verdicts: pd.DataFrame, *, attack: str = "", split: str = "test", radius: str = "", alpha: float = ALPHA
) -> PairedRanking:
    """Return the ranking that a table of verdicts (``measurebench verdicts``) gives.

    ``attack`` is ``autoattack`` where all models have its verdicts, else ``pgd``, unless named. Images count that all
    models were attacked on, told by their place in the data set. If a model was attacked on an image under several
    configurations, the first of them counts; repeated rows count once.
    A tier begins with the best model that no tier holds yet, and takes in those that follow it as long as none differs
    from it at ``alpha``, adjusted by Holm over all pairs. Raises BadInputError for a table that lacks a column or a
    value, for verdicts of several tasks, of fewer than two models, or without common images, and for different labels
    of one image or different verdicts on it for one model and configuration.
    """
    check_verdicts(verdicts, "verdicts")
    rows = _at_radius(_on_split(verdicts, split), radius)
    measure = _measure(rows, attack)
    rows, task = _of_one_task(rows[rows["measure"] == measure])
    _refuse_contradictions(rows)
    rows = rows.drop_duplicates(["model_id", "index"], keep="first")
    names, n, robust = _common(rows)
    order = np.lexsort((np.array(names), -robust.sum(axis=1)))
    names, robust = [names[place] for place in order], robust[order]
    found, adjusted = compare_pairs(robust)
    pairs = pd.DataFrame(
        [
            (names[i], names[j], p.difference, p.low, p.high, p.only_first, p.only_second, p.p_value)
            for i, j, p in found
        ],
        columns=["first", "second", "difference", "low", "high", "only_first", "only_second", "p_value"],
    ).assign(p_adjusted=adjusted, unpaired=_unpaired(robust))
    entries = _entries(names, robust, _tiers(pairs, names, alpha), pairs)
    left_out = sorted(set(map(str, verdicts["model_id"])) - set(names))
    return PairedRanking(measure.removesuffix("_accuracy"), split, task, n, entries, pairs, left_out)


def _on_split(verdicts: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the verdicts on the images of a split. Raises BadInputError where there are none."""
    rows = verdicts[verdicts["split"] == split]
    if rows.empty:
        there = sorted(set(map(str, verdicts["split"])))
        got, hint = f"verdicts on {' and '.join(there)} images", f"choose them with --split {there[0]}"
        raise BadInputError("verdicts", f"some on {split} images", got if there else "none", hint if there else "")
    return rows


def _at_radius(rows: pd.DataFrame, radius: str) -> pd.DataFrame:
    """Return the verdicts at a radius, all of them where none is named. Raises BadInputError where it has none."""
    if not radius:
        return rows
    if "radius" not in rows.columns:
        raise BadInputError("--radius", "verdicts with a column radius", "verdicts without one")
    texts = rows["radius"].map(lambda value: _told("radius", value))
    if not (texts == radius).any():
        there = ", ".join(sorted(set(texts))) or "none"
        raise BadInputError("--radius", f"a radius that models were attacked at: {there}", repr(radius))
    return rows[texts == radius]


def _measure(rows: pd.DataFrame, attack: str) -> str:
    """Return the measure whose verdicts count: the named attack's, else the strongest that all models have."""
    by_measure = rows.groupby("measure")["model_id"].nunique()
    if attack:
        if (name := f"{attack}_accuracy") in by_measure.index:
            return name
        known = ", ".join(str(name).removesuffix("_accuracy") for name in by_measure.index)
        raise BadInputError("attack", f"one with verdicts: {known or 'none has any'}", repr(attack))
    complete = by_measure[by_measure == rows["model_id"].nunique()].index
    for name in (*_PREFERRED, *complete):
        if name in complete:
            return str(name)
    there = ", ".join(f"{str(name).removesuffix('_accuracy')} of {n}" for name, n in by_measure.items())
    raise BadInputError(
        "verdicts",
        f"an attack with verdicts of all {rows['model_id'].nunique()} models",
        there,
        "name one with --attack: then the models that have its verdicts are compared",
    )


def _of_one_task(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the rows and their task as text. Raises BadInputError where there are several."""
    present = [name for name in _TASK if name in rows.columns]
    tasks = rows[present].drop_duplicates()
    tasks = pd.DataFrame({name: [_told(name, value) for value in tasks[name]] for name in present}).drop_duplicates()
    texts = sorted(" ".join(row) for row in tasks.to_numpy())
    if len(texts) > 1:
        hint = _separate(tasks)
        raise BadInputError("verdicts", "models of one data set, norm and radius", "; ".join(texts), hint)
    return rows, texts[0] if texts else ""


def _told(name: str, value: Any) -> str:
    """Return a data set, norm or radius as text."""
    if pd.isna(value):
        return f"({name} not stated)"
    return radius_text(value) if name == "radius" else str(value)


def _separate(tasks: pd.DataFrame) -> str:
    """Return how to choose one of several tasks: by the radius, if it tells them apart, else by the rows."""
    if "radius" in tasks and tasks["radius"].is_unique and not tasks["radius"].str.startswith("(").any():
        return f"choose one of them with --radius: {', '.join(sorted(tasks['radius']))}"
    differing = " and ".join(_NAMES[str(name)] for name in tasks if tasks[name].nunique() > 1)
    return (
        f"the {differing} differ: compare each group by itself, from sources or a file (of `measurebench verdicts`) "
        "that hold one group only"
    )


def _refuse_contradictions(rows: pd.DataFrame) -> None:
    """Raise BadInputError where one model, configuration and image have two verdicts.

    Tables of earlier versions do not name the configuration: all rows of a model of theirs are taken for those of one.
    """
    config = rows["config_digest"] if "config_digest" in rows.columns else pd.Series(None, rows.index, dtype=object)
    of_unknown = rows["model_id"].isin(rows["model_id"][config.isna()])
    distinct = rows.assign(_config=config.mask(of_unknown)).drop_duplicates(["model_id", "index", "_config", "robust"])
    against = distinct[distinct.duplicated(["model_id", "index", "_config"])]
    if len(against):
        attack, split, model, image = against.iloc[0][["measure", "split", "model_id", "index"]]
        more = f", and {len(against) - 1:,} more such pairs" if len(against) > 1 else ""
        raise BadInputError(
            "verdicts",
            "one verdict for each model and image",
            f"both robust and not robust under {str(attack).removesuffix('_accuracy')} for model {model!r} on {split} "
            f"image {image}{more}",
            "if two measurements of this model are mixed, keep one of them, or give one another model_id",
        )


def _common(rows: pd.DataFrame) -> tuple[list[str], int, Any]:
    """Return the models, the number of their common images, and robust verdicts [models, n]."""
    wide = rows.pivot(index="model_id", columns="index", values="robust").dropna(axis=1)
    if len(wide) < 2 or not wide.shape[1]:
        models = "model" if len(wide) == 1 else "models"
        got = f"{len(wide)} {models} with {wide.shape[1]} common images"
        hint = "name a source with another model" if len(wide) < 2 else "attack all models on the same test examples"
        raise BadInputError("verdicts", "two models or more that were attacked on the same images", got, hint)
    if len(wide) > MAX_MODELS:
        raise BadInputError("verdicts", f"at most {MAX_MODELS:,} models", f"{len(wide):,}", "name fewer sources")
    labels = rows[rows["index"].isin(wide.columns)].groupby("index")["label"].nunique()
    if (labels > 1).any():
        image = int(labels.index[labels > 1][0])
        raise BadInputError("verdicts", "one label for each image", f"several for image {image}", _TWO_SETS)
    return list(map(str, wide.index)), wide.shape[1], wide.to_numpy(dtype=bool)


def _unpaired(robust: Any) -> list[bool]:
    """Say for every pair i < j whether Newcombe's interval of two independent proportions excludes zero."""
    counts, n = robust.sum(axis=1), robust.shape[1]
    p = counts / n
    low, high = wilson_interval(counts, n)
    return [
        bool(abs(p[i] - p[j]) > np.hypot(p[i] - low[i], high[j] - p[j])) for i, j in combinations(range(len(counts)), 2)
    ]


def _tiers(pairs: pd.DataFrame, names: Sequence[str], alpha: float) -> list[int]:
    """Return the tier of each model, from 1; models are ranked."""
    differs = set(map(tuple, pairs.loc[pairs["p_adjusted"] <= alpha, ["first", "second"]].to_numpy()))
    found: list[int] = []
    head = names[0]
    for name in names:
        new = (head, name) in differs
        head = name if new else head
        found.append((found[-1] if found else 1) + new)
    return found


def _entries(names: Sequence[str], robust: Any, tiers: Sequence[int], pairs: pd.DataFrame) -> pd.DataFrame:
    counts, n = robust.sum(axis=1), robust.shape[1]
    low, high = wilson_interval(counts, n)
    table = pd.DataFrame({"model_id": names, "tier": tiers, "robust": counts, "accuracy": counts / n})
    to_first = pairs[pairs["first"] == names[0]].set_index("second")[["difference", "low", "high"]]
    to_first = -to_first.reindex(list(names))
    return table.assign(
        rank=table["accuracy"].rank(ascending=False, method="min").astype(int),
        low=low,
        high=high,
        to_first=to_first["difference"].to_numpy(),
        to_first_low=to_first["high"].to_numpy(),
        to_first_high=to_first["low"].to_numpy(),
    )
