"""Writes what a study found: one sentence, a paragraph and five numbers, all computed from the analysis."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from measurebench.core.intervals import Z
from measurebench.reporting.charts.heatmap import turning_measures
from measurebench.reporting.html.wording import (
    count,
    defined,
    fixed,
    interval,
    listed,
    measure_name,
)
from measurebench.reporting.subject.study import ALL, Study, is_sure
from measurebench.stats.judging.best import holds
from measurebench.stats.judging.verdict import row_words

__all__ = ["Finding", "Number", "best_measure", "finding"]

# What stands after "is associated with the target, but" in the words of a verdict: the headline says the rest itself.
_DOUBTS = {"untested_beside_settings": "may only reflect the training settings"}


@dataclass(frozen=True)
class Number:
    """One of the five numbers: what it is, its value, and what stands under it."""

    label: str
    value: str
    detail: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """The headline, the paragraph below it, and the numbers."""

    sentence: str
    lead: str
    numbers: tuple[Number, ...]


def finding(study: Study) -> Finding:
    """Return what the study found, with intervals and counts."""
    return Finding(
        _sentence(study),
        _lead(study),
        (_measured(study), _spread(study), _best(study), _best_inside(study), _turning(study)),
    )


def best_measure(study: Study, level: str = "") -> tuple[str, dict[str, Any]] | None:
    """Return the best measure and its row; inside a defense that with the largest |tau|, sure ones first.

    Over all models the judgements decide: a measure that holds beside the controls comes before any other.
    """
    rows = [(name, study.estimate(name, "tau_within" if level else "tau_b", level)) for name in study.best_first]
    rows = [(name, row) for name, row in rows if row]
    if not level:
        return rows[0] if rows else None
    return max(rows, key=lambda pair: (is_sure(pair[1]), abs(pair[1]["estimate"]))) if rows else None


def _sentence(study: Study) -> str:
    best, turning = best_measure(study), turning_measures(study)
    if best is None:
        return f"No measure could be compared with {_the_long(study)}"
    found = _best_words(study, *best)
    if len(study.defenses) < 2:
        return found
    if turning:
        verb = "changes" if len(turning) == 1 else "change"
        return f"{found}; {count(len(turning), 'measure')} {verb} sign between defenses"
    return f"{found}; no measure is shown to change sign between defenses"


def _best_words(study: Study, name: str, row: dict[str, Any]) -> str:
    """Say which measure is best; one that does not hold is not said to follow the target best."""
    named, tau, verdict = measure_name(name, study.infos), f"τ = {fixed(row['estimate'])}", study.verdicts[name]
    if not is_sure(row):
        chance = f"but over {count(int(row['n_models']), 'model')} this could be chance"
        return f"{named} follows {_the_long(study)} best ({tau}), {chance}"
    if not holds(verdict):
        doubt = _DOUBTS.get(verdict) or _words(study, name)
        return f"{named} is most strongly associated with {_the_long(study)} ({tau}), but {doubt}"
    other = study.ranked[0]
    best = f"{named} follows {_the_long(study)} best ({tau})"
    if other == name:
        return best
    larger = f"{measure_name(other, study.infos)} has the larger |τ| ({fixed(study.estimate(other)['estimate'])})"
    doubt = _DOUBTS.get(study.verdicts[other]) or _words(study, other)
    return f"{best} among the measures that tell more than the training settings; {larger}, but {doubt}"


def _words(study: Study, name: str) -> str:
    """Return the verdict on a measure in words."""
    judged = study.analysis.judgements
    row = judged[judged["measure"] == name].iloc[0]
    return row_words({str(key): value for key, value in row.items()})


def _the_long(study: Study) -> str:
    return f"the {study.target.long}" if study.target.is_gap else study.target.long


def _lead(study: Study) -> str:
    target, values = study.target, study.measured["_target"]
    one = len(study.ranked) == 1
    opening = (
        "A robust classifier keeps its prediction when an image is slightly perturbed. It does so more often on images "
        "that it was trained on than on new ones; the difference is its robust generalization gap. Here the gap runs "
        if target.is_gap
        else f"This study predicts {target.name}. It runs "
    )
    return (
        f"{opening}{target.span(values.min(), values.max())} over {count(len(values), 'model')}. The study asks "
        f"{'whether one measure predicts' if one else f'which of {len(study.ranked):,} measures predict'} it."
    )


def _measured(study: Study) -> Number:
    total, out = len(study.table), study.left_out
    reasons = pd.Series([_without_name(why, model) for model, why in out.items()], dtype=object).value_counts()
    lines = tuple(f"{n} × {_shortened(str(why))}" for why, n in list(reasons.items())[:3])
    rest = count(len(out), "model") + " left out" if out else "none left out"
    return Number("models in the statistics", f"{study.analysis.n_models:,} of {total:,}", rest, lines)


def _without_name(reason: str, model: str) -> str:
    """Return a reason without the model that it names, so that equal reasons count together."""
    return re.sub(rf"\S*{re.escape(model)}:? ?", "", reason) or reason


def _shortened(text: str, limit: int = 300) -> str:
    """Return a reason whole, or up to the last word that fits: errors of other programs may run to pages.

    >>> _shortened("the loss is not finite", 14)
    'the loss is …'
    """
    return text if len(text) <= limit else f"{text[:limit].rsplit(' ', 1)[0]} …"


def _spread(study: Study) -> Number:
    target, values = study.target, study.measured["_target"]
    error = study.analysis.gap_error.get("median_standard_error")
    told = f"from {target.text(values.min())} to {target.told(values.max())}"
    if error is not None and defined(error):
        told += f"; one {'gap' if target.is_gap else 'value'} is known to ± {target.text(Z * error)} (95 %)"
    label = "middle half of the gaps, in points" if target.is_gap else f"middle half of the {target.many}"
    return Number(label, f"{target.text(values.quantile(0.25))} to {target.text(values.quantile(0.75))}", told)


def _best(study: Study) -> Number:
    best = best_measure(study)
    if best is None:
        return Number("best predictor over all models", "none", "no rank correlation could be computed")
    name, row = best
    way = f"larger values, {'larger' if row['estimate'] > 0 else 'smaller'} {study.target.many}"
    told = f"{way}; τ = {fixed(row['estimate'])}, 95 % "
    told += f"{interval(row['ci_low'], row['ci_high'])}, n = {int(row['n_models'])}"
    told += "" if holds(study.verdicts[name]) else f"; {_words(study, name)}"
    return Number("best predictor over all models", measure_name(name, study.infos), told)


def _best_inside(study: Study) -> Number:
    lines, names = [], []
    for level in study.defenses:
        if level != ALL and (best := best_measure(study, level)):
            name, row = best
            if not is_sure(row):
                lines.append(f"{level}: no association is shown")
                continue
            names.append(name)
            lines.append(
                f"{level}: {measure_name(name, study.infos)}, τ = {fixed(row['estimate'])} "
                f"{interval(row['ci_low'], row['ci_high'])}, n = {int(row['n_models'])}"
            )
    if not lines:
        apart = len(study.defenses) > 1
        value, told = (
            ("none", "no rank correlation inside a defense") if apart else ("one defense only", "nothing to compare")
        )
        return Number("best predictor inside each defense", value, told)
    return Number("best predictor inside each defense", _agreement(names, len(lines)), "", tuple(lines))


def _agreement(names: list[str], n_defenses: int) -> str:
    """Say whether the best measures of the defenses are the same; ``names`` are those with an association shown."""
    if len(names) < 2:
        return f"shown in {len(names)} of {n_defenses}"
    return f"{len(set(names))} different" if len(set(names)) > 1 else "the same one"


def _turning(study: Study) -> Number:
    turning = turning_measures(study)
    leaning = [name for name in study.ranked if _leans(study, name)]
    shown = listed([measure_name(name, study.infos) for name in turning], 4) if turning else "None is shown to"
    told = f"{shown}. By the estimates alone, without their intervals, {len(leaning)} would."
    return Number("measures that change sign between defenses", f"{len(turning)} of {len(study.ranked)}", told)


def _leans(study: Study, name: str) -> bool:
    found = [study.estimate(name, "tau_within", level) for level in study.defenses]
    return len({row["estimate"] > 0 for row in found if row and row["estimate"] != 0}) == 2
