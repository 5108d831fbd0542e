"""Writes the page's section on methods: what the words mean, what was done, and what is not known."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from measurebench.core.columns import describe, outcome_columns
from measurebench.core.info import MeasureInfo
from measurebench.core.mathematics import SYMBOLS, UnreadableFormulaError, mathml, mathml_parts
from measurebench.core.threat import radius_text
from measurebench.reporting.html.wording import count, fixed, listed, setting_name
from measurebench.reporting.subject.study import Study

__all__ = ["glossary", "limits", "machine_rows", "methods", "provenance", "symbols", "terms"]

_TERMS = (
    (
        "Robust accuracy",
        "The share of images whose prediction stays right under an attack that may change every image within a "
        "fixed limit.",
    ),
    (
        "PGD",
        "Projected gradient descent: the attack climbs the loss in small steps and is projected back inside the "
        "limit after each step.",
    ),
    (
        "AutoAttack",
        "Four attacks, run one after another. An image that survives all of them counts as robust. It is the field's "
        "standard evaluation.",
    ),
    (
        "Robust generalization gap",
        "Robust accuracy on training images minus robust accuracy on test images, in percentage points.",
    ),
    (
        "Measure",
        "A number computed from a trained network, without test images, that might tell how large its {short} is.",
    ),
    (
        "Kendall's τ",
        "Take two models: does the one with the larger measure have the larger {short}? τ is the share of pairs "
        "that say yes minus the share that say no.",
    ),
    (
        "ψ (granulated)",
        "τ among models that differ in one training setting only, averaged over all other settings. It asks whether "
        "the measure follows the effect of that setting.",
    ),
    (
        "π (conditional)",
        "τ among models that share the value of one training setting, averaged over its values. A large π beside a "
        "small ψ points to a confounder.",
    ),
    (
        "Robust sign error",
        "How often the measure gets the direction of a change of {the} wrong: 0 is never, 0.5 is a coin toss. The "
        "maximum over all changes of a setting is its worst case.",
    ),
    (
        "Interval",
        "95 %, from resampling whole training runs with replacement, since checkpoints of one run are not independent.",
    ),
    (
        "Adjusted p",
        "The probability of an association at least as strong if there were none, corrected for the number of tests.",
    ),
    (
        "Shown",
        "An association is shown where its 95 % interval excludes 0 and its adjusted p is at most 0.05. Otherwise it "
        "could be chance.",
    ),
)
_LIMITS = (
    "An association is not a cause: a measure may follow {the} because both follow a training setting. "
    "Sections on settings and regressions show how far that goes.",
)
_LIMITS_OF_A_GAP = (
    "The gap contains train robust accuracy. Measures of the training loss therefore follow it almost by "
    "construction, so the control is shown beside every claim.",
    "The gap is a difference of two sampled proportions. Models whose gaps differ by less than its error cannot be "
    "told apart.",
)
_LIMITS_OF_ATTACKS = (
    "An attack gives an upper bound of robust accuracy. A stronger attack may lower it, and for some defenses more "
    "than for others.",
)


def terms(study: Study) -> list[tuple[str, str]]:
    """Return what the page's words mean."""
    return [(term, _worded(meaning, study)) for term, meaning in _TERMS]


def limits(study: Study) -> list[str]:
    """Return what is not known; two of the limits are those of a gap."""
    of_gap = _LIMITS_OF_A_GAP if study.target.is_gap else ()
    return [_worded(text, study) for text in (*_LIMITS, *of_gap, *_LIMITS_OF_ATTACKS)]


def _worded(text: str, study: Study) -> str:
    return text.replace("{the}", study.target.the).replace("{short}", study.target.short)


def methods(study: Study) -> list[tuple[str, str]]:
    """Return what was done as name and value: data, threat model, attacks, subsets, statistics."""
    table, analysis = study.table, study.analysis
    rows = [
        ("predicted", study.target.name),
        *_uniform(table, ("dataset", "norm", "radius")),
        *_counts(table),
        ("measures", count(len(analysis.measures), "measure")),
        ("settings compared", listed([setting_name(name) for name in analysis.settings], 12)),
        ("unit of resampling", f"{describe(analysis.unit).label}, {analysis.n_units:,} of them"),
    ]
    for name, words in (
        ("bootstrap", "bootstrap draws"),
        ("permutations", "permutations"),
        ("seed", "seed of the statistics"),
        ("where", "filter"),
    ):
        if analysis.provenance.get(name) not in (None, ""):
            rows.append((words, str(analysis.provenance[name])))
    for step in analysis.filters:
        if step.n_after < step.n_before:
            rows.append((f"filter: {step.name}", f"{step.n_before:,} → {step.n_after:,} models"))
    return rows + [("note", note) for note in analysis.notes]


def _uniform(table: pd.DataFrame, names: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    for name in names:
        if name in table.columns and table[name].notna().any():
            values = sorted({radius_text(v) if name == "radius" else str(v) for v in table[name].dropna()})
            found.append((describe(name).label, listed(values)))
    return found


def _counts(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return how many images each accuracy rests on; a range where models differ."""
    found = []
    for column in (describe(name, table.columns) for name in outcome_columns(table.columns)):
        if column.role != "count" or column.name not in table.columns:
            continue
        values = pd.to_numeric(table[column.name], errors="coerce").dropna()
        if len(values):
            low, high = int(values.min()), int(values.max())
            found.append((column.title, f"{low:,}" if low == high else f"{low:,} to {high:,}"))
    return found


def provenance(study: Study) -> tuple[list[tuple[str, str]], list[str]]:
    """Return where the numbers come from as name and value, and the command lines that made them."""
    known = study.provenance
    rows = _uniform_versions(study.table)
    latest: Mapping[str, Any] = (known.get("environments") or [{}])[-1]
    rows += [
        (str(name).replace("_", " "), _told(value))
        for name, value in latest.items()
        if _is_plain(value) and name != "host"
    ]
    rows += machine_rows(known.get("machines") or [])
    for config in known.get("configs") or []:
        rows += [
            (f"configuration {config.get('digest', '')}", _told({k: v for k, v in config.items() if k != "digest"}))
        ]
    commands = [_command(run) for run in known.get("runs") or []]
    return rows or [("source", "a table without records; see the columns above")], [
        c for c in dict.fromkeys(commands) if c
    ]


def machine_rows(machines: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return what each machine measured, as name and value.

    A single machine needs no name: the page would only publish how its owner calls it.
    """
    if len(machines) < 2:
        return []
    return [
        (
            f"machine {machine['host'] or 'without a name'}",
            f"{machine['hardware'] or 'unknown hardware'}: {count(machine['n_records'], 'value')} of "
            f"{count(machine['n_models'], 'model')}",
        )
        for machine in machines
    ]


def _uniform_versions(table: pd.DataFrame) -> list[tuple[str, str]]:
    return _uniform(table, ("measurebench_version", "config_digest"))


def _is_plain(value: Any) -> bool:
    return value is not None and value != "" and value != {} and value != []


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_told(item)}" for name, item in value.items() if _is_plain(item))
    if isinstance(value, (list, tuple)):
        return ", ".join(_told(item) for item in value)
    return fixed(value, 4).rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _command(run: Mapping[str, Any]) -> str:
    line = run.get("command") or run.get("command_line") or run.get("argv") or ""
    text = " ".join(map(str, line)) if isinstance(line, list) else str(line)
    return text.replace("__main__.py", "python -m measurebench", 1) if text.startswith("__main__.py") else text


def glossary(study: Study) -> list[dict[str, Any]]:
    """Return what each measure is, from its own info, in the order of the families."""
    expected = {"+": "+ (larger value, larger gap)", "-": "\u2212 (larger value, smaller gap)", "": "none"}
    versions = study.provenance.get("measure_versions") or {}
    return [
        {
            "id": name,
            "title": info.title,
            "explanation": info.explanation,
            "formula": _formula(info),
            "unit": info.unit,
            "expected": expected[info.hypothesis],
            "version": versions.get(name, info.version),
            "source": info.source,
        }
        for name in study.by_family
        if (info := study.infos.get(name))
    ]


def symbols() -> list[tuple[Markup, str]]:
    """Return the symbols of the formulas as MathML, each with its meaning."""
    return [(Markup(mathml(latex)), meaning) for latex, meaning in SYMBOLS]


def _formula(info: MeasureInfo) -> str:
    """Return the formula as MathML, or as plain text to be escaped where its LaTeX is missing or cannot be set.

    Only the converter's output is marked as safe; it escapes all text and lets no other element through.
    """
    try:
        return Markup(" ").join(Markup(part) for part in mathml_parts(info.latex))
    except UnreadableFormulaError:
        return info.formula
