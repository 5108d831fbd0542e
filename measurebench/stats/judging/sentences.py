"""Puts the judgement of one measure into a sentence: what was found, with its numbers, and what was not."""

from typing import Any

import numpy as np

from measurebench.core.intervals import ALPHA, p_value_text
from measurebench.stats.judging.numerals import percent, signed
from measurebench.stats.judging.power import TOO_COARSE, TOO_FEW_TO_SAY
from measurebench.stats.judging.significance import Row, excludes_zero, significant, stands_in_strata
from measurebench.stats.judging.verdict import GAIN, VERDICTS, Evidence, opposite_inside, sign, verdict_words

__all__ = ["sentence"]

_DIRECTIONS = {"+": "a larger gap with larger values", "-": "a smaller gap with larger values"}
_MARGIN = f"{100 * GAIN:.0f} %"


def sentence(
    title: str,
    of: Evidence,
    code: str,
    defense: str | None,
    control: str | None,
    hypothesis: str,
    edge: str,
) -> str:
    """Return what is said of a measure whose verdict is ``code``.

    ``defense`` and ``control`` name the columns of the defense and of train robust accuracy, None where there are none.
    ``hypothesis`` is "+", "-" or "", ``edge`` names what another seed may decide otherwise.
    """
    parts = (
        _overall_words(title, of, code),
        _settings_words(of, code),
        _inside_words(of, defense),
        _control_words(of, control),
        _direction_words(hypothesis, sign(of.total["estimate"]) if of.total and significant(of.total) else ""),
        f"On the edge: another seed of the resampling may decide {edge} otherwise." if edge else "",
    )
    return " ".join(part for part in parts if part)


def _overall_words(title: str, of: Evidence, code: str) -> str:
    total = of.total
    if total is None or code == "undetermined":
        return f"{title} cannot be judged: no rank correlation with the target exists."
    if code == "too_few":
        n = of.n_units(total)
        tau = f" (tau_b = {signed(total['estimate'])} over {total['n_models']:,} models)" if of.has_total else ""
        return f"{title} {VERDICTS[code]}: {n} independent units could not show even a perfect order{tau}."
    told = verdict_words(code, ", ".join(opposite_inside(of)))
    words = f"{title} {told}: tau_b = {signed(total['estimate'])}{_interval(total)}"
    p = total["p_adjusted"]
    words += f" over {total['n_models']:,} models"
    words += f" (Holm p {_p(p)})." if np.isfinite(p) else " (no p-value)."
    return words + _doubt_words(total, code) + _power_words(of, total, code)


def _doubt_words(total: Row, code: str) -> str:
    """Say why an association whose interval leaves out zero is still not shown."""
    if code not in {"small", "unknown", "underpowered"} or not excludes_zero(total):
        return ""
    if total["p_value"] <= ALPHA:
        return (
            f" Taken alone it would be shown (p {_p(total['p_value'])}, and its pointwise interval leaves out zero), "
            "but not among so many measures."
        )
    return (
        f" The pointwise interval leaves out zero, but randomly exchanged values do as well (p {_p(total['p_value'])})."
    )


def _power_words(of: Evidence, total: Row, code: str) -> str:
    """Say what a table could have shown where nothing was."""
    if code == "small":
        return f" The pointwise interval lies within -{of.margin:g} and {of.margin:g}."
    if code not in {"unknown", "underpowered"} or of.n_units(total) is None:
        return ""
    if of.too_coarse():
        return f" {TOO_COARSE.capitalize()}."
    tau = of.detectable(total)
    if np.isfinite(tau):
        return f" An association of {tau:.2f} would be shown in about four of five such tables."
    return f" There are {TOO_FEW_TO_SAY}."


def _settings_words(of: Evidence, code: str) -> str:
    """Say what the measure adds to the settings, where it was tested."""
    if of.added is None or code in {"undetermined", "too_few"}:
        return ""
    if of.determined:
        return "The settings determine it, so that it adds nothing to them."
    if not np.isfinite(of.added["ci_low"]):
        reason = of.added.get("reason")
        return f"What it adds to the settings is unknown: {reason}." if reason else ""
    gain, low, high = (float(of.added[key]) for key in ("gain", "ci_low", "ci_high"))
    verb, (told, first, last) = ("raises", (-gain, -high, -low)) if gain < 0 else ("lowers", (gain, low, high))
    # This verdict has told the curve and the margin.
    curve = "" if code == "tells_settings" else ", with one curve for all models,"
    return (
        f"Beside the settings{curve} it {verb} the squared error on held-out runs by "
        f"{percent(told)} [{percent(first)}, {percent(last)}]{_gain_words(of, low, high, code)}."
    )


def _gain_words(of: Evidence, low: float, high: float, code: str) -> str:
    """Say what the interval of the gain leaves open; ``GAIN`` is the margin below which a gain counts as little."""
    if of.adds:
        return f", which is less than the margin of {_MARGIN}" if high < GAIN else ""
    told = ", which is not shown among so many measures" if low > 0 else ", which cannot be told from nothing"
    told = ", which is no gain" if high < 0 else told
    if code == "tells_settings":
        return told
    least = f"a gain of {_MARGIN}, the margin, is ruled out" if of.adds_too_little else _least_words(of)
    return f"{told}; {least}"


def _least_words(of: Evidence) -> str:
    """Name the gain that is not ruled out, and why it lies below the margin where it does."""
    n = of.n_units(of.total) if of.total else None
    if not n:
        return f"nor is a gain of {_MARGIN}, the margin, ruled out"
    return (
        f"nor is a gain of {percent(of.least_gain)} ruled out (the margin of {_MARGIN}, less the cost of a curve "
        f"from {n:,} units)"
    )


def _inside_words(of: Evidence, defense: str | None) -> str:
    if defense is None or not of.inside:
        return "There are no defenses to compare."
    if len(of.inside) > 1 and all(of.too_few(row, str(row["level"])) for row in of.inside):
        known = [row for row in of.inside if np.isfinite(row["estimate"])]
        taus = ", ".join(f"{row['level']} {signed(row['estimate'])}" for row in known) or "tau undefined in all"
        return f"Inside the defenses nothing could have been shown: each has too few models ({taus})."
    words = f"Inside the defenses: {', '.join(_inside(of, row) for row in of.inside)}."
    return words + _inside_power_words(of) + _reversal_words(opposite_inside(of))


def _inside(of: Evidence, row: dict[str, Any]) -> str:
    level = str(row["level"])
    if not np.isfinite(row["estimate"]):
        return f"{level} undefined"
    told = f"{level} {signed(row['estimate'])}"
    if of.shown(row):
        return told
    if significant(row) and not stands_in_strata(row):
        return f"{told} (not shown with the settings that divide runs held fixed)"
    if significant(row):
        return f"{told} (shown by itself, but not surely enough where nothing is over all models)"
    if of.too_few(row, level):
        return f"{told} (too few to show anything)"
    return f"{told} (not shown)"


def _inside_power_words(of: Evidence) -> str:
    """Say what would be shown in each defense in which the association is not."""
    levels = [(row, str(row["level"])) for row in of.inside if np.isfinite(row["estimate"]) and not significant(row)]
    levels = [(row, level) for row, level in levels if of.n_units(row, level) is not None]
    taus = {level: of.detectable(row, level) for row, level in levels if not of.too_few(row, level)}
    told = [f"of {tau:.2f} in {level}" for level, tau in taus.items() if np.isfinite(tau)]
    coarse = [level for level in taus if of.too_coarse(level)]
    few = [level for level, tau in taus.items() if np.isnan(tau) and level not in coarse]
    words = f" An association {_listed(told)} would be shown in about four of five such tables." if told else ""
    words += f" Inside {_listed(few)} there are {TOO_FEW_TO_SAY}." if few else ""
    return words + (f" Inside {_listed(coarse)} {TOO_COARSE}." if coarse else "")


def _reversal_words(opposite: list[str]) -> str:
    if len(opposite) < 2:
        return ""
    return (
        f" This is a Simpson reversal: {_listed(opposite)} show the opposite sign, and no defense shows that over all "
        "models."
    )


def _control_words(of: Evidence, control: str | None) -> str:
    if control is None:
        return "Train robust accuracy is not in the table, so the association was not controlled for it."
    if of.total is None or of.held is None or not np.isfinite(of.held["estimate"]):
        return ""
    held, tau = of.held, f"{signed(of.held['estimate'])}{_interval(of.held)}"
    fixed = "With train robust accuracy held fixed"
    turned = of.overall and sign(held["estimate"]) != sign(of.total["estimate"])
    if turned and significant(held):
        return f"{fixed}, tau turns from {signed(of.total['estimate'])} to {tau}."
    unsure = ", whose change of sign is not shown" if turned else " (not shown)" if not significant(held) else ""
    return f"{fixed}, tau is {tau}{unsure}."


def _direction_words(hypothesis: str, found: str) -> str:
    if not hypothesis:
        return ""
    outcome = "the opposite was found" if found and found != hypothesis else "that was found"
    told = outcome if found else "no direction was shown over all models"
    return f"The hypothesis predicts {_DIRECTIONS[hypothesis]}; {told}."


def _listed(names: list[str]) -> str:
    """Return names as a list in words.

    >>> _listed(["AT", "MART", "TRADES"])
    'AT, MART and TRADES'
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _interval(row: Row) -> str:
    if not np.isfinite(row["ci_low"]):
        return ""
    return f" [{signed(row['ci_low'])}, {signed(row['ci_high'])}]"


def _p(value: float) -> str:
    text = p_value_text(value)
    return text if text.startswith("<") else f"= {text}"
