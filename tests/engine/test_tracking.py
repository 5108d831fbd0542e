"""Values on their way to MLflow, with a client that keeps what it is sent."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from measurebench.core.errors import BadInputError
from measurebench.engine import tracking
from measurebench.engine.options import RunOptions
from measurebench.engine.tracking import MlflowProgress, TrackingWarning, tracked
from measurebench.engine.watching import Quiet
from tests.store.test_folder import record

OPTIONS = RunOptions("digits", tracker="mlflow")


class Client:
    """Stands for MlflowClient."""

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.runs, self.ended = fails, dict[str, dict[str, Any]](), Counter[str]()
        self.experiments: list[str] = []

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=name) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        self.experiments.append(name)
        return name

    def create_run(self, experiment: str, tags: dict[str, str]) -> Any:
        if self.fails:
            raise ConnectionError("no server")
        run = f"run-{len(self.runs)}"
        self.runs[run] = {"experiment": experiment, "tags": dict(tags), "metrics": {}}
        return SimpleNamespace(info=SimpleNamespace(run_id=run))

    def log_metric(self, run: str, name: str, value: float) -> None:
        self.runs[run]["metrics"][name] = value

    def set_tag(self, run: str, name: str, value: str) -> None:
        self.runs[run]["tags"][name] = value

    def set_terminated(self, run: str) -> None:
        self.ended[run] += 1


def told(client: Client, watched: Any = None) -> None:
    progress = MlflowProgress(watched or Quiet(), OPTIONS, Path("out"), client)
    progress.planned(2, {"a": 2, "b": 1}, 0)
    progress.started("a")
    progress.recorded(record(model_id="a", measure="path_norm", split="train", value=2.5))
    progress.started("b")
    progress.recorded(record(model_id="b", measure="load", split="train", status="failed", value=None, reason="broken"))
    progress.recorded(record(model_id="a", measure="pgd_accuracy", split="test", value=0.25))
    progress.finished("a")
    progress.finished("b")


def test_each_model_is_a_run_with_a_metric_for_each_value() -> None:
    client = Client()
    told(client)
    a, b = client.runs.values()
    assert a["metrics"] == {"path_norm_train": 2.5, "pgd_accuracy_test": 0.25}
    assert a["tags"] == {"mlflow.runName": "a", "results": "out", "dataset": "digits"}
    assert (b["metrics"], b["tags"]["load_train"]) == ({}, "failed: broken")
    assert client.ended == {"run-0": 1, "run-1": 1}
    assert (client.experiments, a["experiment"]) == (["measurebench"], "measurebench")


def test_the_experiment_is_that_of_mlflow_s_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    client = Client()
    told(client)
    assert client.experiments == ["mine"]


def test_a_tracker_that_fails_is_told_once_and_the_other_watcher_hears_everything() -> None:
    heard: list[str] = []
    names = ("planned", "started", "recorded", "finished")
    watched = SimpleNamespace(**{name: (lambda *_, name=name: heard.append(name)) for name in names})
    with pytest.warns(TrackingWarning, match="MLflow takes no more values: ConnectionError: no server") as warned:
        told(Client(fails=True), watched)
    assert len(warned) == 1
    assert Counter(heard) == {"planned": 1, "started": 2, "recorded": 3, "finished": 2}


def test_without_a_tracker_nothing_stands_between() -> None:
    quiet = Quiet()
    assert tracked(quiet, RunOptions("digits"), Path("out")) is quiet


def test_without_mlflow_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda _name: None)
    with pytest.raises(BadInputError, match=r'pip install "measurebench\[mlflow\]"'):
        tracked(Quiet(), OPTIONS, Path("out"))
