"""Warnings of attacks about models: which accuracies they are about, and in which words."""

from dataclasses import dataclass

import pandas as pd

from measurebench.core.columns import (
    accuracy_column,
    accuracy_columns,
    attack_title,
    describe,
    flags_column,
    gap_column,
)
from measurebench.reporting.html.wording import count

__all__ = ["Warned", "warned_by", "warning_columns", "warning_sentence", "warnings_in"]


@dataclass(frozen=True)
class Warned:
    """A model whose accuracy under an attack may not be trusted, and why."""

    model: str
    attack: str
    text: str


def warnings_in(table: pd.DataFrame) -> list[Warned]:
    """Return every warning of a table of models, by attack and then in the order of the rows."""
    found = []
    for attack in _attacks(table):
        texts = table[flags_column(attack)]
        found += [
            Warned(str(model), attack_title(attack), str(text))
            for model, text in zip(table["model_id"], texts, strict=True)
            if isinstance(text, str) and text
        ]
    return found


def _attacks(table: pd.DataFrame) -> list[str]:
    """Return the attacks that warn about some model."""
    names = [str(name) for name in table.columns]
    columns = [describe(name, names) for name in names]
    return [column.attack for column in columns if column.role == "status" and column.attack]


def warning_columns(table: pd.DataFrame) -> dict[str, str]:
    """Return for each accuracy and gap that a table has under an attack that warns: the column of its warnings."""
    found: dict[str, str] = {}
    for attack in _attacks(table):
        about = (*(accuracy_column(attack, split) for split in ("train", "test")), gap_column(attack))
        found |= {name: flags_column(attack) for name in about if name in table.columns}
    return found


def warned_by(table: pd.DataFrame, target: str) -> "pd.Series[str] | None":
    """Return the warnings of the attack that a target is about, empty text where there is none; None without any."""
    name = warning_columns(table).get(accuracy_columns(target)[1])
    if name is None:
        return None
    texts = table[name].where(table[name].map(lambda text: isinstance(text, str)), "")
    return texts if bool((texts != "").any()) else None


def warning_sentence(found: list[Warned], n_models: int) -> str:
    """Return one sentence on how many models the attacks warn about; empty for none."""
    if not found:
        return ""
    n = len({each.model for each in found})
    attacks = " and ".join(dict.fromkeys(each.attack for each in found))
    verb = "warns" if " and " not in attacks else "warn"
    return f"{attacks} {verb} about {n:,} of {count(n_models, 'model')}: read their robust accuracies with care."
