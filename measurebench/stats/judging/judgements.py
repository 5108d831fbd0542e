"""Says in one sentence per measure what the numbers show, and nothing that they do not show."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.info import MeasureInfo
from measurebench.core.intervals import ALPHA, p_value_text
from measurebench.stats.judging.power import POWER, detectable_tau
from measurebench.stats.judging.significance import Row, excludes_zero, gain_on_the_edge, on_the_edge, significant
from measurebench.stats.judging.verdict import MARGIN, VERDICTS, Evidence, sign, verdict, verdict_words

__all__ = ["VERDICTS", "judgements"]

_DIRECTIONS = {"+": "a larger gap with larger values", "-": "a smaller gap with larger values"}
_NAN = float("nan")
_STATISTICS = ("tau_b", "tau_within", "partial_tau")


def judgements(
    correlations: pd.DataFrame,
    measures: Sequence[str],
    defense: str | None,
    control: str | None,
    infos: Mapping[str, MeasureInfo],
    of_gap: bool = True,
    *,
    added: Mapping[str, Row] | None = None,
    power: Sequence[Mapping[str, Any]] = (),
    margin: float = MARGIN,
    draws: tuple[int, int] | None = None,
) -> list[dict[str, Any]]:
    """Return one judgement per measure, as rows of ``JUDGEMENTS``.

    ``correlations`` are those of the analysis, ``control`` is the column of train robust accuracy or None. Hypotheses
    are about the gap, so they are left out where the target is none (``of_gap`` False). ``added`` says by measure what
    it adds to the settings (None where there are no settings), ``power`` are the rows of that table. ``draws`` counts
    bootstrap draws and permutations: with it the sentence says where another seed might decide otherwise.
    """
    by_measure = _rows_of(correlations, measures)
    units = {str(row["level"]): int(row["n_units"]) for row in power}
    alpha = float(power[0]["alpha"]) if power else ALPHA
    rows = []
    for name in measures:
        own = by_measure[name]
        inside = [row for row in own if row["statistic"] == "tau_within" and row["axis"] == (defense or "?")]
        total, held = _one(own, "tau_b", ""), _one(own, "partial_tau", control or "?")
        found = Evidence(total, inside, held, None if added is None else added[name], units, alpha, margin)
        rows.append(_judge(name, found, defense, control, infos.get(name), of_gap, draws))
    return rows


def _judge(
    name: str,
    of: Evidence,
    defense: str | None,
    control: str | None,
    info: MeasureInfo | None,
    of_gap: bool,
    draws: tuple[int, int] | None,
) -> dict[str, Any]:
    code, reversal = verdict(of)
    found = sign(of.total["estimate"]) if of.total and significant(of.total) else ""
    hypothesis = info.hypothesis if info and of_gap else ""
    edge = _edge(of, draws)
    title = info.title if info else name
    parts = (
        _overall_words(title, of, code, reversal),
        _settings_words(of, code),
        _inside_words(of, reversal, defense),
        _control_words(of, control, code),
        _direction_words(hypothesis, found),
        f"On the edge: another seed of the resampling may decide {edge} otherwise." if edge else "",
    )
    total, held, more = of.total or {}, of.held or {}, of.added or {}
    return {
        "measure": name,
        "title": title,
        "verdict": code,
        "sentence": " ".join(part for part in parts if part),
        "hypothesis": hypothesis,
        "found": found,
        "agrees": found == hypothesis if found and hypothesis else None,
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
        "added": more.get("gain", _NAN),
        "added_ci_low": more.get("ci_low", _NAN),
        "added_ci_high": more.get("ci_high", _NAN),
        "detectable_tau": _detectable(of),
        "edge": edge,
    }


def _detectable(of: Evidence) -> float:
    n = of.n_units(of.total) if of.total else None
    return detectable_tau(n, of.alpha) if n is not None else _NAN


def _edge(of: Evidence, draws: tuple[int, int] | None) -> str:
    """Name the parts of a judgement that stand on the edge of being shown."""
    if draws is None:
        return ""
    named = [("all models", of.total)] if of.total else []
    named += [(str(row["level"]), row) for row in of.inside]
    n_models = int(of.total["n_models"]) if of.total else 0
    names = [name for name, row in named if on_the_edge(row, *draws, n_models)]
    if of.added is not None and of.overall and gain_on_the_edge(of.added, (0.0, of.least_gain), draws[0]):
        names.append("what it adds to the settings")
    return ", ".join(names)


def _overall_words(title: str, of: Evidence, code: str, reversal: bool) -> str:
    total = of.total
    if total is None or code == "undetermined":
        return f"{title} cannot be judged: no rank correlation with the target exists."
    if code == "too_few":
        n = of.n_units(total)
        tau = f" (tau_b = {_number(total['estimate'])} over {total['n_models']:,} models)" if of.has_total else ""
        return f"{title} {VERDICTS[code]}: {n} independent units could not show even a perfect order{tau}."
    words = f"{title} {verdict_words(code, reversal)}: tau_b = {_number(total['estimate'])}{_interval(total)}"
    p = total["p_adjusted"]
    words += f" over {total['n_models']:,} models"
    words += f" (Holm p {_p(p)})." if np.isfinite(p) else " (no p-value)."
    return words + _doubt_words(total, code) + _power_words(of, code)


def _doubt_words(total: Row, code: str) -> str:
    """Say why an association whose interval leaves out zero is still not shown."""
    if code not in {"small", "unknown", "underpowered"} or not excludes_zero(total):
        return ""
    if total["p_value"] <= ALPHA:
        return f" Taken alone it would be shown (p {_p(total['p_value'])}), but not among so many measures."
    return f" The interval leaves out zero, but randomly exchanged values do as well (p {_p(total['p_value'])})."


def _power_words(of: Evidence, code: str) -> str:
    """Say what a table could have shown where nothing was."""
    if code == "small":
        return f" The interval lies within -{of.margin:g} and {of.margin:g}."
    tau = _detectable(of)
    if code not in {"unknown", "underpowered"} or not np.isfinite(tau):
        return ""
    return f" So many models show a tau of {tau:.2f} or more {POWER:.0%} of the time."


def _settings_words(of: Evidence, code: str) -> str:
    """Say what the measure adds to the settings, where it was tested."""
    if of.added is None or code in {"undetermined", "too_few"}:
        return ""
    if not np.isfinite(of.added["ci_low"]):
        reason = of.added.get("reason")
        return f"What it adds to the settings is unknown: {reason}." if reason else ""
    if of.added["ci_low"] == of.added["ci_high"] == 0:
        return "The settings determine it, so that it adds nothing to them."
    verb, (gain, low, high) = "lowers", (float(of.added[key]) for key in ("gain", "ci_low", "ci_high"))
    if gain < 0:
        verb, gain, low, high = "raises", -gain, -high, -low
    interval = f"{_percent(gain)} [{_percent(low)}, {_percent(high)}]"
    words = f"Beside the settings it {verb} the squared error on held-out runs by {interval}"
    if low <= 0:
        return f"{words}, which cannot be told from nothing."
    return f"{words}: it adds nothing to them." if verb == "raises" else f"{words}."


def _percent(share: float) -> str:
    """Return a share in percent, without a negative zero."""
    return f"{round(100 * share, 1) + 0.0:.1f}%"


def _inside_words(of: Evidence, reversal: bool, defense: str | None) -> str:
    if defense is None or not of.inside:
        return "There are no defenses to compare."
    if len(of.inside) > 1 and all(of.too_few(row, str(row["level"])) for row in of.inside):
        known = [row for row in of.inside if np.isfinite(row["estimate"])]
        taus = ", ".join(f"{row['level']} {_number(row['estimate'])}" for row in known) or "tau undefined in all"
        return f"Inside the defenses nothing could have been shown: each has too few models ({taus})."
    words = f"Inside the defenses: {', '.join(_inside(of, row) for row in of.inside)}."
    if reversal:
        words += (
            " This is a Simpson reversal: inside every defense that shows an association, it has the opposite sign."
        )
    return words


def _inside(of: Evidence, row: dict[str, Any]) -> str:
    level = str(row["level"])
    if not np.isfinite(row["estimate"]):
        return f"{level} undefined"
    told = f"{level} {_number(row['estimate'])}"
    if of.shown(row):
        return told
    if significant(row):
        return f"{told} (shown by itself, but not surely enough where nothing is over all models)"
    if of.too_few(row, level):
        return f"{told} (too few to show anything)"
    n = of.n_units(row, level)
    tau = detectable_tau(n, of.alpha) if n is not None else _NAN
    return f"{told} (not shown; {tau:.2f} would be)" if np.isfinite(tau) else f"{told} (not shown)"


def _control_words(of: Evidence, control: str | None, code: str) -> str:
    if control is None:
        return "Train robust accuracy is not in the table, so the association was not controlled for it."
    if of.total is None or of.held is None or not np.isfinite(of.held["estimate"]):
        return ""
    words = f"With train robust accuracy held fixed, tau is {_number(of.held['estimate'])}{_interval(of.held)}"
    if code == "explained_by_train_accuracy" and sign(of.held["estimate"]) != sign(of.total["estimate"]):
        return words + ", of the opposite sign."
    return words + "."


def _direction_words(hypothesis: str, found: str) -> str:
    if not hypothesis:
        return ""
    outcome = "the opposite was found" if found and found != hypothesis else "that was found"
    told = outcome if found else "no direction was shown over all models"
    return f"The hypothesis predicts {_DIRECTIONS[hypothesis]}; {told}."


def _rows_of(correlations: pd.DataFrame, measures: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return by measure the rows that a judgement rests on."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in measures}
    for row in correlations[correlations["statistic"].isin(_STATISTICS)].to_dict("records"):
        if row["measure"] in found:
            found[row["measure"]].append({str(k): v for k, v in row.items()})
    return found


def _one(rows: Sequence[Row], statistic: str, axis: str) -> Row | None:
    return next((row for row in rows if row["statistic"] == statistic and row["axis"] == axis), None)


def _number(value: float) -> str:
    return f"{value:+.2f}"


def _interval(row: Row) -> str:
    if not np.isfinite(row["ci_low"]):
        return ""
    return f" [{_number(row['ci_low'])}, {_number(row['ci_high'])}]"


def _p(value: float) -> str:
    text = p_value_text(value)
    return text if text.startswith("<") else f"= {text}"
