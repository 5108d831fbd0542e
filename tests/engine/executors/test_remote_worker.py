"""A worker of another machine, tried in this process: what it sends, in which order, and what it refuses."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from measurebench import read_records, run
from measurebench.core.errors import BadInputError
from measurebench.datasets import load_dataset
from measurebench.engine.environment import HOST_VARIABLE, environment
from measurebench.engine.executors import remote_worker
from measurebench.engine.executors.remote_worker import Job, RemoteWorker, Shared, earlier_files, visible_files
from measurebench.engine.executors.scratch import Scratch, files_below
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Task, chosen_measures, config_for, pairs_of
from measurebench.models.identity import model_digest
from measurebench.models.references import resolve

NAMES: dict[str, Any] = {"measures": "average_ce", "attacks": "pgd", "pgd_steps": 2, "batch_size": 10}


@pytest.fixture
def options(images_file: Path) -> RunOptions:
    return RunOptions(f"arrays:{images_file}", **NAMES)


@pytest.fixture
def task(manifest: Path, options: RunOptions) -> Task:
    (spec,) = resolve([f"{manifest.parent}#net0"], dataset=options.dataset)
    data = load_dataset(options.dataset)
    digests: Any = {split: data.split(split).digest() for split in ("train", "test")}
    config = config_for(options, data, spec.threat_model, digests)
    pairs = tuple((item.info.id, split) for item, split in pairs_of(chosen_measures(options), options))
    return Task(spec, model_digest(spec), config, pairs)


def packed(options: RunOptions, **changes: Any) -> bytes:
    shared = Shared(options, load_dataset(options.dataset), (), str(Path.cwd()), remote_worker.own_version())
    return pickle.dumps(replace(shared, **changes))


@pytest.fixture
def worker(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteWorker]:
    monkeypatch.setenv(HOST_VARIABLE, "")
    made = RemoteWorker(packed(options))
    yield made
    made.close()


def job(task: Task, **changes: Any) -> Job:
    return replace(Job(task, {}, False, visible_files(task), "node-7"), **changes)


def test_it_sends_the_records_of_a_local_run_and_each_file_before_its_record(
    worker: RemoteWorker, task: Task, options: RunOptions, tmp_path: Path
) -> None:
    reference = f"{Path(task.spec.locator).parent}#net0"
    run(reference, options.dataset, tmp_path / "local", workers=1, **NAMES)
    expected = {r.key: (r.status, r.value, r.standard_error) for r in read_records(tmp_path / "local")}
    events = list(worker.measure(job(task)))
    records = [event.value for event in events if event.kind == "record"]
    assert {r.key: (r.status, r.value, r.standard_error) for r in records} == expected
    sent = {event.value[0]: event.value[1] for event in events if event.kind == "file"}
    verdicts = set(files_below(tmp_path / "local", tmp_path / "local" / "examples"))
    assert verdicts
    assert set(sent) >= verdicts
    assert all((tmp_path / "local" / name).read_bytes() == sent[name] for name in verdicts)
    order = [
        event.value[0] if event.kind == "file" else event.value.measure
        for event in events
        if event.kind in ("file", "record")
    ]
    for split in ("train", "test"):
        (file,) = (name for name in verdicts if name.endswith(f"{split}-pgd_accuracy.npz"))
        record = next(i for i, e in enumerate(order) if e == "pgd_accuracy" and i > order.index(file))
        assert record == order.index(file) + 1


def test_its_records_name_the_node_it_was_told_to_be_on(worker: RemoteWorker, task: Task) -> None:
    (told,) = (event.value for event in worker.measure(job(task)) if event.kind == "environment")
    assert told["host"] == "node-7"
    assert environment("cpu")["host"] == "node-7"


def test_a_file_that_only_the_driver_sees_ends_the_run_with_its_path(worker: RemoteWorker, task: Task) -> None:
    (event,) = worker.measure(job(task, must_see=(*visible_files(task), "/only/here.pt")))
    assert event.kind == "fault"
    assert isinstance(event.value, BadInputError)
    assert str(event.value) == (
        "/only/here.pt: expected a file that node-7 can read, got no such file there; "
        "put it on storage that all nodes share, under the same path"
    )


def test_another_version_of_measurebench_is_refused(options: RunOptions, task: Task) -> None:
    other = RemoteWorker(packed(options, version="9.9"))
    (event,) = other.measure(job(task))
    other.close()
    assert str(event.value).startswith("measurebench on node-7: expected version 9.9, as here, got ")


def test_weights_and_the_code_that_builds_networks_must_be_visible(task: Task) -> None:
    names = {Path(path).name for path in visible_files(task)}
    assert names == {"net0.pt", "nets.py"}
    gone = replace(task.spec, locator="/nowhere/net0.pt")
    assert {Path(path).name for path in visible_files(replace(task, spec=gone))} == {"nets.py"}


def test_an_error_of_the_code_itself_is_raised_where_ray_hears_it(
    worker: RemoteWorker, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Iterator[Any]:
        raise ZeroDivisionError("of the code")
        yield

    monkeypatch.setattr(remote_worker, "measure_model", broken)
    with pytest.raises(ZeroDivisionError, match="of the code"):
        list(worker.measure(job(task)))


def test_a_scratch_folder_tells_each_file_once_and_again_when_it_was_written_again() -> None:
    scratch = Scratch()
    scratch.fill({"blocks/m/a.block": b"sent"}, keeps=False)
    assert scratch.changed() == {}
    (scratch.path / "blocks/m/b.block").write_bytes(b"new")
    assert scratch.changed() == {"blocks/m/b.block": b"new"}
    assert scratch.changed() == {}
    (scratch.path / "blocks/m/a.block").write_bytes(b"written again")
    assert scratch.changed() == {"blocks/m/a.block": b"written again"}
    scratch.fill({}, keeps=True)
    assert files_below(scratch.path, scratch.path) == ["blocks/m/a.block", "blocks/m/b.block"]
    scratch.fill({}, keeps=False)
    assert files_below(scratch.path, scratch.path) == []
    scratch.remove()
    assert not scratch.path.exists()


def test_the_scratch_folder_of_a_killed_worker_is_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed, living = Scratch(), Scratch()
    killed._in_use.close()  # as the system does with the files of a process that ends
    Scratch().remove()
    assert not killed.path.exists()
    assert living.path.exists()
    living.remove()


def test_what_a_task_goes_on_from_is_what_belongs_to_its_model(task: Task, options: RunOptions, tmp_path: Path) -> None:
    config = task.config.digest()
    for name in (f"blocks/{task.model_digest}/{config}/train-0.block", "blocks/another/c/train-0.block"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert earlier_files(task, options, tmp_path) == [f"blocks/{task.model_digest}/{config}/train-0.block"]
