"""Queues of several processes that share a folder. A record here is made at once, without measuring."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

from measurebench.core.records import Record
from measurebench.engine.plan import Task
from measurebench.engine.scheduling.shared_queue import SharedQueue
from measurebench.store.claims import Claims
from measurebench.store.folder import ResultsFolder
from measurebench.store.following import RecordFollower
from tests.engine.scheduling.test_queue import attack, block
from tests.store.test_folder import record

MODELS = [f"m{n}" for n in range(6)]
TASKS = [
    replace(task, block=name)
    for model in MODELS
    for name, task in (("measures", block(model, "x", "y")), ("aa", attack(model, 3)))
]


class Process:
    """A process that measures one pair, or one part, at each step."""

    def __init__(self, path: Path, name: str, stale: float = 3600.0) -> None:
        self.folder = ResultsFolder(path, f"20260101T000000Z-{name}")
        self.claims = Claims(path / "claims", self.folder.writer, stale_seconds=stale, beat_seconds=0.02)
        follower = RecordFollower(self.folder)
        done = {(r.model_id, r.measure) for r in self.folder.records()}
        tasks = [replace(t, pairs=tuple(p for p in t.pairs if (t.spec.id, p[0]) not in done)) for t in TASKS]
        self.queue = SharedQueue([t for t in tasks if t.pairs], None, self.claims, follower, look_seconds=0.0)
        self.task: Task | None = None
        self.left: list[str] = []
        self.parts: list[str] = []

    def step(self) -> None:
        if self.task is None:
            self.task = self.queue.take(0)
            self.left = [] if self.task is None else [measure for measure, _ in self.task.pairs]
        elif self.left:
            made = self.made(self.task, self.left.pop(0))
            if self.queue.owns(made):
                self.folder.add_record(made)
        else:
            if self.task.part is not None:
                self.parts.append(f"{self.task.spec.id} {self.task.block}")
            self.queue.finished(self.task, 0)
            self.task = None

    def made(self, task: Task, measure: str) -> Record:
        return record(model_id=task.spec.id, measure=measure, split="test", config_digest=task.config.digest())

    @property
    def is_done(self) -> bool:
        return self.task is None and not self.queue.waiting

    def die(self) -> None:
        """End as a killed process does: without a word, and its heart stands still."""
        self.claims._closed.set()
        self.claims._thread.join()
        (self.claims.folder / f"{self.claims.name}.process").unlink()


def started(path: Path) -> Path:
    with ResultsFolder.writing(path, "0"):
        pass
    (path / "claims").mkdir()
    return path


def recorded(path: Path) -> Counter[tuple[str, str]]:
    """Return how often each value is in the journals."""
    lines = [value for journal in ResultsFolder.open(path).record_journals for value in journal.read()]
    return Counter((line["model_id"], line["measure"]) for line in lines)


EVERYTHING = Counter((model, measure) for model in MODELS for measure in ("x", "y", "aa"))


def test_processes_that_share_a_folder_divide_its_work_and_measure_nothing_twice(tmp_path: Path) -> None:
    path = started(tmp_path / "out")
    everyone = [Process(path, name) for name in "abc"]
    generator = random.Random(0)
    while not all(process.is_done for process in everyone):
        generator.choice(everyone).step()
    assert recorded(path) == EVERYTHING
    parts = Counter(name for process in everyone for name in process.parts)
    assert len(parts) == 3 * len(MODELS)
    assert set(parts.values()) == {1}
    shares = [sum(line["model_id"] != "" for line in p.folder._records.main.read()) for p in everyone]
    assert shares == [0, 0, 0]  # nobody writes to the file of a run that has the folder for itself
    assert all(process.folder._records.path.is_file() for process in everyone)
    for process in everyone:
        process.claims.close()


def test_processes_begin_with_different_models_and_keep_to_them(tmp_path: Path) -> None:
    path = started(tmp_path / "out")
    everyone = [Process(path, name) for name in "abc"]
    begun: list[set[str]] = [set(), set(), set()]
    while sum(map(len, begun)) < len(MODELS):
        for process, models in zip(everyone, begun, strict=True):
            process.step()
            models |= {process.task.spec.id} if process.task else set()
    assert sorted(name for models in begun for name in models) == MODELS
    for process in everyone:
        process.claims.close()


def test_processes_that_die_at_any_moment_are_replaced_and_lose_and_double_nothing(tmp_path: Path) -> None:
    path = started(tmp_path / "out")
    generator, n_started = random.Random(1), 3
    alive = [Process(path, f"p{n}") for n in range(3)]
    while not all(process.is_done for process in alive):
        process = generator.choice(alive)
        process.step()
        if n_started < 30 and generator.random() < 0.3:
            process.die()
            alive.remove(process)
            alive.append(Process(path, f"p{n_started}"))
            n_started += 1
    assert recorded(path) == EVERYTHING
    assert n_started > 20
    for process in alive:
        process.claims.close()


def test_a_process_that_slept_writes_no_record_of_a_block_that_was_taken_over(tmp_path: Path) -> None:
    path = started(tmp_path / "out")
    sleeper = Process(path, "sleeper")
    sleeper.step()
    task = sleeper.task
    assert task is not None
    sleeper.die()  # as it looks to the others
    other = Process(path, "other")
    while not other.is_done:
        other.step()
    while sleeper.task is task:
        sleeper.step()
    assert recorded(path) == EVERYTHING
    other.claims.close()


def test_a_model_that_another_process_could_not_load_is_left_alone(tmp_path: Path) -> None:
    path = started(tmp_path / "out")
    a, b = Process(path, "a"), Process(path, "b")
    a.folder.add_record(a.made(TASKS[0], "load"))
    while not b.is_done:
        b.step()
    assert {model for model, _ in recorded(path)} == set(MODELS)
    assert recorded(path)[MODELS[0], "x"] == 0
    a.claims.close()
    b.claims.close()
