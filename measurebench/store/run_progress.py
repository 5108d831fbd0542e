"""How far a run is: what of its plan is measured, and how long the rest will take at the pace of this run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measurebench.core.records import ModelKey, Question
from measurebench.store.folder import ResultsFolder, model_key
from measurebench.store.record_set import RecordSet
from measurebench.store.run_plan import RunPlan, read_plan

__all__ = ["RunProgress", "read_progress", "seconds_left", "seconds_since"]

_SHOWN = 100  # names of models that are not begun


@dataclass(frozen=True)
class RunProgress:
    """What the last run on a folder was asked for, and how much of it is on record.

    ``n_done`` of ``n_values`` values have a record; ``n_lost`` will have none, since their models cannot be loaded.
    ``seconds_left`` is None as long as the run has measured nothing. ``waiting`` are the first models that were not
    begun, ``n_waiting`` is their number. ``began`` and ``last`` are times in UTC, ``last`` that of the newest value of
    this run, empty where there is none.
    """

    n_models: int
    n_values: int
    n_done: int
    n_lost: int
    n_waiting: int
    waiting: tuple[str, ...]
    seconds_left: float | None
    began: str
    last: str

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to measure."""
        return self.n_done + self.n_lost >= self.n_values

    @property
    def percentage(self) -> float:
        """The share of values that need no more work, in percent."""
        return 100.0 * (self.n_done + self.n_lost) / self.n_values if self.n_values else 100.0

    def to_json(self) -> dict[str, Any]:
        """Return the progress as plain values for JSON."""
        return {**asdict(self), "percentage": round(self.percentage, 2), "finished": self.is_finished}


def read_progress(folder: str | Path | ResultsFolder) -> RunProgress | None:
    """Return how far the last run on a results folder is, None where no plan is known.

    It can be asked while the run goes on. Raises BadInputError where the folder is no results folder.
    """
    results = folder if isinstance(folder, ResultsFolder) else ResultsFolder.open(Path(folder))
    plan = read_plan(results.path)
    return None if plan is None else _progress(plan, results.records_by_model(), results.configurations())


def _progress(plan: RunPlan, records: RecordSet, entries: Sequence[Mapping[str, Any]]) -> RunProgress:
    """Count the answers of each model of the plan."""
    by_plan = {(str(entry["model_id"]), str(entry["config_digest"])): entry for entry in entries}
    answered, n_questions = records.n_answered(plan.questions), len(plan.questions)
    n_done = n_lost = 0
    waiting: list[str] = []
    open_keys: list[ModelKey | None] = []
    for planned in plan.models:
        entry = by_plan.get(planned)
        key = None if entry is None else model_key(entry)
        n = 0 if key is None else answered.get(key, 0)
        n_done += n
        if entry is not None and entry.get("failure"):
            n_lost += n_questions - n
        elif n < n_questions:
            open_keys.append(key)
        if entry is None:
            waiting.append(planned[0])
    paces, last = records.paces(plan.time)
    left = seconds_left(_open(plan, records, open_keys), paces, _seconds(plan.time, last))
    names = tuple(dict.fromkeys(waiting))
    return RunProgress(
        n_models=len({model for model, _ in plan.models}),
        n_values=plan.n_values,
        n_done=n_done,
        n_lost=n_lost,
        n_waiting=len(names),
        waiting=names[:_SHOWN],
        seconds_left=left if n_done + n_lost < plan.n_values else 0.0,
        began=plan.time,
        last=last,
    )


def _open(plan: RunPlan, records: RecordSet, keys: Sequence[ModelKey | None]) -> dict[Question, int]:
    """Return of how many models each question is open."""
    begun = [key for key in keys if key is not None]
    found = dict.fromkeys(plan.questions, len(keys) - len(begun))
    for key in begun:
        done = {answer.question for answer in records.answers(key)}
        for question in plan.questions:
            found[question] += question not in done
    return found


def seconds_left(
    open_questions: Mapping[Question, int], paces: Mapping[tuple[str, str], tuple[int, float]], elapsed: float
) -> float | None:
    """Return how long the open questions will take, None where nothing was measured yet.

    Each counts as long as its measure took so far on its split, or as the average measure where it was not taken yet.
    The sum is scaled by the time that passed for each second of measuring: that counts loading, what measures share,
    and workers side by side. ``paces`` are numbers of values and their seconds, by measure and split.

    >>> seconds_left({("path_norm", 1, "train", None): 4}, {("path_norm", "train"): (2, 1.0)}, 3.0)
    6.0
    """
    n, total = sum(n for n, _ in paces.values()), sum(seconds for _, seconds in paces.values())
    if not n:
        return None
    if total <= 0.0:  # measures too fast for the clock
        return elapsed / n * sum(open_questions.values())
    expected = 0.0
    for (measure, _, split, _), n_open in open_questions.items():
        of_measure, seconds = paces.get((measure, split), (n, total))
        expected += n_open * seconds / of_measure
    return expected * elapsed / total


def _seconds(start: str, end: str) -> float:
    """Return the seconds between two times, 0 where one of them is none."""
    try:
        return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def seconds_since(text: str) -> float | None:
    """Return the seconds since a time, None where the text is none."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds())
    except (TypeError, ValueError):
        return None
