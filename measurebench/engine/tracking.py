"""Sends the values of a run to MLflow as well, for people who watch their experiments there."""

import os
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.records import Record
from measurebench.engine.options import RunOptions
from measurebench.engine.watching import Progress

__all__ = ["MlflowProgress", "TrackingWarning", "tracked"]

_EXPERIMENT = "measurebench"  # unless MLFLOW_EXPERIMENT_NAME names another


class TrackingWarning(UserWarning):
    """The tracker did not take a value; the run goes on, and its records are complete."""


def tracked(progress: Progress, options: RunOptions, out: Path) -> Progress:
    """Return a watcher that tells ``progress`` everything and sends values to the tracker of the options, if any.

    Raises BadInputError where the tracker's package is not installed.
    """
    if options.tracker == "none":
        return progress
    if find_spec("mlflow") is None:
        hint = 'install it with: pip install "measurebench[mlflow]"'
        raise BadInputError("--tracker mlflow", "the package mlflow", "an environment without it", hint)
    from mlflow.tracking import MlflowClient

    return MlflowProgress(progress, options, out, MlflowClient())


class MlflowProgress:
    """A watcher that keeps a run of MLflow for each model, with a metric for each measure and split.

    Its own environment variables (``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``) tell MLflow where. Its first
    failure is a TrackingWarning; nothing more is sent then.
    """

    def __init__(self, progress: Progress, options: RunOptions, out: Path, client: Any) -> None:
        self._progress, self._options, self._out, self._client = progress, options, out, client
        self._runs: dict[str, str] = {}
        self._works = True

    def __getattr__(self, name: str) -> Any:
        """Pass on what only the other watcher hears."""
        return getattr(self._progress, name)

    def planned(self, n_models: int, open_pairs: Mapping[str, int], n_done: int) -> None:
        """Pass on what is planned."""
        self._progress.planned(n_models, open_pairs, n_done)

    def started(self, model_id: str) -> None:
        """Begin the model's run of MLflow."""
        self._progress.started(model_id)
        self._send(lambda: self._begin(model_id))

    def recorded(self, record: Record) -> None:
        """Send a value as a metric, or the reason why there is none as a tag."""
        self._progress.recorded(record)
        self._send(lambda: self._log(record))

    def finished(self, model_id: str) -> None:
        """End the model's run of MLflow."""
        self._progress.finished(model_id)
        if run := self._runs.pop(model_id, None):
            self._send(lambda: self._client.set_terminated(run))

    def _begin(self, model_id: str) -> str:
        if model_id not in self._runs:
            tags = {"mlflow.runName": model_id, "results": str(self._out), "dataset": self._options.dataset}
            self._runs[model_id] = self._client.create_run(self._experiment(), tags=tags).info.run_id
        return self._runs[model_id]

    def _log(self, record: Record) -> None:
        run, name = self._begin(record.model_id), f"{record.measure}_{record.split}"
        if record.value is None:
            self._client.set_tag(run, name, f"{record.status}: {record.reason}"[:500])
        else:
            self._client.log_metric(run, name, record.value)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _send(self, call: Any) -> None:
        if not self._works:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever a tracker or its network does, the run goes on
            self._works = False
            warnings.warn(
                f"MLflow takes no more values: {type(error).__name__}: {error}", TrackingWarning, stacklevel=2
            )
