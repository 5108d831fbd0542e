"""The recorder, where several workers or processes have blocks of one model."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.scheduling import images
from measurebench.core.records import Record
from measurebench.core.specs import ModelSpec
from measurebench.engine.events import BlockTime, Event
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Task
from measurebench.engine.recorder import Recorder
from measurebench.engine.scheduling.costs import CostModel
from measurebench.engine.watching import Quiet
from measurebench.store.folder import ResultsFolder
from measurebench.store.gpu_uses import GpuUse
from measurebench.store.run_log import log_line, read_log
from tests.engine.scheduling.test_queue import CONFIG
from tests.store.test_folder import record


class Watching(Quiet):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def started(self, model_id: str) -> None:
        self.heard.append(f"started {model_id}")

    def recorded(self, record: Record) -> None:
        self.heard.append(record.measure)

    def finished(self, model_id: str) -> None:
        self.heard.append(f"finished {model_id}")


def entry(failure: str = "") -> Event:
    changes = {"model_id": "net", "model_digest": "d", "config_digest": CONFIG.digest(), "failure": failure}
    return Event("model", changes)


def made(measure: str) -> Record:
    split = "train" if measure == "load" else "test"
    status: dict[str, Any] = {"status": "failed", "value": None, "reason": "no memory"} if measure == "load" else {}
    return record(model_id="net", config_digest=CONFIG.digest(), measure=measure, split=split, **status)


@pytest.fixture
def watching() -> Watching:
    return Watching()


@pytest.fixture
def recorder(tmp_path: Path, watching: Watching) -> Any:
    options = RunOptions("arrays:x.npz", device="cpu")
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        recorder = Recorder(folder, set(), CostModel(options, images(10)), watching)
        spec = ModelSpec("net", "local", "net.pt")
        recorder.begin([Task(spec, "d", CONFIG, (("x", "test"), ("y", "test")))], [spec], options, ["run"], 0)
        yield recorder


def test_a_model_that_two_workers_load_is_told_and_written_once(recorder: Recorder, watching: Watching) -> None:
    for measure in ("x", "y"):
        recorder.take(Event("started", "net"))
        recorder.take(entry())
        recorder.take(Event("record", made(measure)))
        recorder.take(Event("finished", "net"))
    assert watching.heard == ["started net", "x", "y", "finished net"]
    assert len(recorder.folder.entries()) == 1
    assert recorder.n_recorded == 2


def test_a_model_that_one_worker_has_loaded_does_not_fail_because_another_could_not(recorder: Recorder) -> None:
    recorder.take(entry())
    recorder.take(entry("no memory"))
    recorder.take(Event("record", made("load")))
    assert [line["failure"] for line in recorder.folder.entries()] == [""]
    assert recorder.folder.records() == []
    assert recorder.unloadable == []


def test_a_model_that_cannot_be_loaded_is_finished_with_one_record(recorder: Recorder, watching: Watching) -> None:
    for _ in range(2):
        recorder.take(entry("no memory"))
        recorder.take(Event("record", made("load")))
    assert len(recorder.folder.records()) == 1
    assert recorder.unloadable[0] == ("net", CONFIG.digest())
    assert watching.heard.count("finished net") == 1


def test_what_another_process_records_counts_as_progress(recorder: Recorder, watching: Watching) -> None:
    recorder.take(Event("record", made("x")))
    recorder.heard(made("y").to_json())
    recorder.heard({"model_id": "net", "of": "a newer version"})
    assert watching.heard == ["x", "y", "finished net"]
    assert recorder.n_recorded == 1


def test_a_record_of_a_block_that_was_taken_over_is_not_written(recorder: Recorder) -> None:
    recorder.owns = lambda _: False
    recorder.take(Event("record", made("x")))
    assert recorder.folder.records() == []


def test_the_end_of_a_run_tells_how_well_its_blocks_were_predicted(recorder: Any, tmp_path: Path) -> None:
    recorder.end()
    assert read_log(tmp_path / "out") == []  # no block has ended
    task = Task(ModelSpec("net", "local", "net.pt"), "d", CONFIG, (("pgd_accuracy", "test"),))
    predicted = recorder.costs.seconds(task)
    for factor in (1.0, 2.0, 4.0):
        recorder.take(Event("block", BlockTime(task, 0.0, factor * predicted)))
    recorder.end()
    event = read_log(tmp_path / "out")[-1]
    assert (event["event"], event["n_blocks"], event["ratio"], event["factor_90"]) == ("predictions", 3, 2.0, 4.0)
    line = "predictions  measured over predicted seconds: median 2, 90 % within a factor of 4, over 3 blocks"
    assert log_line(event).endswith(line)


def test_the_use_of_a_gpu_stands_beside_the_seconds_of_its_block(recorder: Any) -> None:
    task = Task(ModelSpec("net", "local", "net.pt"), "d", CONFIG, (("pgd_accuracy", "test"),))
    use = GpuUse("here", "H100", "cuda:0", 3, 8, 2, None, "2026-11-26T12:00:00+00:00")
    recorder.take(Event("block", BlockTime(task, 0.0, 1.0)))
    recorder.take(Event("block", BlockTime(task, 0.0, 1.0, use)))
    plain, with_gpu = recorder.folder.costs.read()
    assert "gpu" not in plain
    assert with_gpu["gpu"] == use.to_json()
