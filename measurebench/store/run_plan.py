"""What the last run on a results folder was asked for: ``plan.json``, written when the run begins.

It holds no value. Without it, or where it is damaged, ``status`` knows only the models that were begun.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measurebench.core.files import write_atomically
from measurebench.core.records import Question
from measurebench.store.checked_lines import Damage, LineReader, checked_line

__all__ = ["FILE", "RunPlan", "read_plan", "write_plan"]

FILE = "plan.json"


@dataclass(frozen=True)
class RunPlan:
    """The models of a run, each with the digest of its configuration, and what was asked of each of them."""

    models: tuple[tuple[str, str], ...]
    questions: tuple[Question, ...]
    time: str

    @property
    def n_values(self) -> int:
        """The number of values that the run was asked for."""
        return len(self.models) * len(self.questions)


def write_plan(folder: Path, models: Iterable[tuple[str, str]], questions: Iterable[Question]) -> None:
    """Write the plan of a run that begins now, in place of an earlier one. Raises OSError where that fails."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    value = {"time": now, "models": list(dict.fromkeys(models)), "questions": list(questions)}
    write_atomically(folder / FILE, checked_line(value) + b"\n")


def read_plan(folder: Path) -> RunPlan | None:
    """Return the plan of the last run, None where there is none or it is damaged."""
    path = folder / FILE
    if not path.is_file():
        return None
    found = LineReader(checked=True).read(path.read_bytes().rstrip(b"\n"), 1)
    try:
        return None if isinstance(found, Damage) else _plan(found)
    except (KeyError, TypeError, ValueError):
        return None


def _plan(value: dict[str, Any]) -> RunPlan:
    models = tuple((str(model), str(config)) for model, config in value["models"])
    questions = tuple(
        (str(measure), int(version), str(split), None if n is None else int(n))
        for measure, version, split, n in value["questions"]
    )
    return RunPlan(models, questions, str(value["time"]))
