"""What is on record of each model of a run, as far as it counts: of the same code, with verdicts that are whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from measurebench.core.records import Diagnostic, Question, Status
from measurebench.engine.measure_code import ORIGIN_KEYS, made_by
from measurebench.engine.plan import Pair, Task
from measurebench.store.record_set import RecordSet
from measurebench.store.verification import has_damaged_verdicts, has_verdicts

__all__ = ["OnRecord"]


class OnRecord:
    """The answers of a results folder to the questions of a run, of all models at once.

    ``origins`` are the diagnostics that name the code of each measure; records of other code do not count.
    """

    def __init__(
        self,
        records: RecordSet,
        questions: Mapping[Question, Pair],
        origins: Mapping[str, Mapping[str, Diagnostic]],
        folder: Path,
    ) -> None:
        self._pairs, self._folder = list(questions.values()), folder
        self._attacks = [k for k, (measure, _) in enumerate(self._pairs) if has_verdicts(measure)]
        self._found = records.statuses(
            list(questions), lambda measure, _, told: made_by(measure, told, origins), ORIGIN_KEYS
        )

    def statuses(self, task: Task) -> Sequence[Status | None]:
        """Return how each question is answered of a model, None where it is not.

        An accuracy under attack whose verdicts for each image are damaged does not count, with a DamageWarning.
        """
        found = self._found.get(task.model_key)
        if found is None:
            return [None] * len(self._pairs)
        for k in self._attacks:
            if found[k] == "measured" and self._is_damaged(task, self._pairs[k]):
                found[k] = None
        return found

    def _is_damaged(self, task: Task, pair: Pair) -> bool:
        return has_damaged_verdicts(self._folder, task.spec.id, task.config.digest(), *pair)
