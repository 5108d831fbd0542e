"""Says in one sentence per measure what the numbers show, and nothing that they do not show."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.info import MeasureInfo
from measurebench.core.intervals import p_value_text
from measurebench.stats.judging.significance import ALPHA, Row, excludes_zero, significant

__all__ = ["VERDICTS", "judgements"]

VERDICTS = {
    "holds_everywhere": "holds over all models and inside every defense",
    "holds_overall": "holds over all models, and inside some defenses",
    "holds_undivided": "holds over all models, not divided by defense",
    "between_defenses_only": "holds over all models, but is shown inside no defense",
    "within_defenses_only": "holds inside defenses, not over all models",
    "turns_with_defense": "changes sign from one defense to another",
    "explained_by_train_accuracy": "is explained by train robust accuracy",
    "indistinguishable": "shows no association that differs from chance",
    "undetermined": "cannot be judged",
}


def judgements(
    correlations: pd.DataFrame,
    measures: tuple[str, ...],
    defense: str | None,
    control: str | None,
    infos: Mapping[str, MeasureInfo],
    of_gap: bool = True,
) -> list[dict[str, Any]]:
    """Return one judgement per measure, as rows of ``JUDGEMENTS``.

    ``correlations`` are those of the analysis, ``control`` is the column of train robust accuracy or None. Hypotheses
    are about the gap, so they are left out where the target is none (``of_gap`` False).
    """
    by_measure = dict(tuple(correlations.groupby("measure", sort=False)))
    return [_judge(name, by_measure[name], defense, control, infos.get(name), of_gap) for name in measures]


def _judge(
    name: str, rows: pd.DataFrame, defense: str | None, control: str | None, info: MeasureInfo | None, of_gap: bool
) -> dict[str, Any]:
    total = _one(rows, "tau_b", "")
    within = rows[(rows["statistic"] == "tau_within") & (rows["axis"] == (defense or "?"))]
    inside = [{str(k): v for k, v in row.items()} for row in within.to_dict("records")]
    held = _one(rows, "partial_tau", control or "?")
    verdict, reversal = _verdict(total, inside, held)
    found = _sign(total["estimate"]) if total and significant(total) else ""
    hypothesis = info.hypothesis if info and of_gap else ""
    agrees = found == hypothesis if found and hypothesis else None
    title = info.title if info else name
    sentence = " ".join(
        part
        for part in (
            _overall_words(title, total, verdict),
            _inside_words(inside, reversal, defense),
            _control_words(total, held, control, verdict),
            _direction_words(hypothesis, found),
        )
        if part
    )
    total, held = total or {}, held or {}
    return {
        "measure": name,
        "title": title,
        "verdict": verdict,
        "sentence": sentence,
        "hypothesis": hypothesis,
        "found": found,
        "agrees": agrees,
        "reversal": reversal,
        "n_models": total.get("n_models", 0),
        "tau_b": total.get("estimate"),
        "ci_low": total.get("ci_low"),
        "ci_high": total.get("ci_high"),
        "p_value": total.get("p_value"),
        "p_adjusted": total.get("p_adjusted"),
        "partial_tau": held.get("estimate"),
        "partial_ci_low": held.get("ci_low"),
        "partial_ci_high": held.get("ci_high"),
    }


def _verdict(total: Row | None, inside: list[dict[str, Any]], held: Row | None) -> tuple[str, bool]:
    """Return the verdict, and whether all models together contradict every defense (a Simpson reversal)."""
    if total is None or not np.isfinite(total["estimate"]):
        return "undetermined", False
    shown = [row for row in inside if significant(row)]
    signs = {_sign(row["estimate"]) for row in shown}
    overall = significant(total)
    reversal = overall and bool(signs) and signs == {_opposite(_sign(total["estimate"]))}
    if len(signs) == 2 or reversal:
        return "turns_with_defense", reversal
    if not overall:
        return ("within_defenses_only" if shown else "indistinguishable"), False
    if _explained(total, held):
        return "explained_by_train_accuracy", False
    if not inside:
        return "holds_undivided", False
    judged = [row for row in inside if np.isfinite(row["estimate"])]
    if len(judged) > 1 and len(shown) == len(judged) == len(inside):
        return "holds_everywhere", False
    return ("holds_overall" if shown else "between_defenses_only"), False


def _explained(total: Row, held: Row | None) -> bool:
    """Say whether tau changes sign with train accuracy held fixed, or falls below half and is not shown any more."""
    if held is None or not np.isfinite(held["estimate"]) or not np.isfinite(held["ci_low"]):
        return False
    turned = _sign(held["estimate"]) != _sign(total["estimate"])
    return turned or (not significant(held) and abs(held["estimate"]) < abs(total["estimate"]) / 2)


def _overall_words(title: str, total: Row | None, verdict: str) -> str:
    if total is None or verdict == "undetermined":
        return f"{title} cannot be judged: no rank correlation with the target exists."
    interval = _interval(total)
    p = total["p_adjusted"]
    words = (
        f"{title} {VERDICTS[verdict]}: tau_b = {_number(total['estimate'])}{interval} over {total['n_models']:,} models"
    )
    return words + (f" (Holm p {_p(p)})." if np.isfinite(p) else " (no p-value).") + _doubt_words(total, verdict)


def _doubt_words(total: Row, verdict: str) -> str:
    """Say why an association whose interval leaves out zero is still not shown."""
    if verdict != "indistinguishable" or not excludes_zero(total):
        return ""
    if total["p_value"] <= ALPHA:
        return f" Taken alone it would be shown (p {_p(total['p_value'])}), but not among so many measures."
    return f" The interval leaves out zero, but randomly exchanged values do as well (p {_p(total['p_value'])})."


def _inside_words(inside: list[dict[str, Any]], reversal: bool, defense: str | None) -> str:
    if defense is None or not inside:
        return "There are no defenses to compare."
    parts = [
        f"{row['level']} {_number(row['estimate'])}{'' if significant(row) else ' (not shown)'}"
        if np.isfinite(row["estimate"])
        else f"{row['level']} undefined"
        for row in inside
    ]
    words = f"Inside the defenses: {', '.join(parts)}."
    if reversal:
        words += (
            " This is a Simpson reversal: inside every defense that shows an association, it has the opposite sign."
        )
    return words


def _control_words(total: Row | None, held: Row | None, control: str | None, verdict: str) -> str:
    if control is None:
        return "Train robust accuracy is not in the table, so the association was not controlled for it."
    if total is None or held is None or not np.isfinite(held["estimate"]):
        return ""
    words = f"With train robust accuracy held fixed, tau is {_number(held['estimate'])}{_interval(held)}"
    if verdict == "explained_by_train_accuracy" and _sign(held["estimate"]) != _sign(total["estimate"]):
        return words + ", of the opposite sign."
    return words + "."


def _direction_words(hypothesis: str, found: str) -> str:
    if not hypothesis:
        return ""
    words = {"+": "a larger gap with larger values", "-": "a smaller gap with larger values"}[hypothesis]
    outcome = "the opposite was found" if found and found != hypothesis else "that was found"
    return f"The hypothesis predicts {words}; {outcome if found else 'no direction was shown over all models'}."


def _one(rows: pd.DataFrame, statistic: str, axis: str) -> Row | None:
    found = rows[(rows["statistic"] == statistic) & (rows["axis"] == axis)]
    return {str(k): v for k, v in found.iloc[0].to_dict().items()} if len(found) else None


def _sign(value: float) -> str:
    return "+" if value > 0 else "-" if value < 0 else ""


def _opposite(sign: str) -> str:
    return {"+": "-", "-": "+"}.get(sign, "")


def _number(value: float) -> str:
    return f"{value:+.2f}"


def _interval(row: Row) -> str:
    if not np.isfinite(row["ci_low"]):
        return ""
    return f" [{_number(row['ci_low'])}, {_number(row['ci_high'])}]"


def _p(value: float) -> str:
    text = p_value_text(value)
    return text if text.startswith("<") else f"= {text}"
