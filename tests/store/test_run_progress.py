"""How far a run is: counts against the plan, and the time that is left at the pace of each measure."""

from pathlib import Path

import pytest

from measurebench.core.records import Question
from measurebench.store import record_reader
from measurebench.store.folder import ResultsFolder
from measurebench.store.run_plan import RunPlan, read_plan, write_plan
from measurebench.store.run_progress import read_progress, seconds_left
from measurebench.store.verification import verify_results
from tests.store.test_folder import record
from tests.store.test_tables import ENTRY

QUESTIONS: list[Question] = [("average_ce", 1, "train", None), ("local_lip", 1, "train", None)]
MODELS = [(name, "c") for name in "abcd"]


def begun(path: Path) -> Path:
    """Return a folder with a plan of four models: one is measured, one is half done, one cannot be loaded."""
    with ResultsFolder.writing(path, "0") as folder:
        write_plan(path, MODELS, QUESTIONS)
        start = read_plan(path)
        assert start is not None
        later = start.time.replace("+00:00", "9+00:00")
        for name, measures in (("a", ("average_ce", "local_lip")), ("b", ("average_ce",))):
            folder.add_model(ENTRY | {"model_id": name, "config_digest": "c", "model_digest": "d"})
            for measure in measures:
                seconds = 1.0 if measure == "average_ce" else 10.0
                folder.add_record(record(model_id=name, measure=measure, seconds=seconds, time=later))
        folder.add_model(ENTRY | {"model_id": "c", "config_digest": "c", "failure": "ModelError: broken"})
    return path


@pytest.mark.parametrize("with_snapshot", [False, True])
def test_values_are_counted_against_the_plan(
    tmp_path: Path, with_snapshot: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if with_snapshot:
        monkeypatch.setattr(record_reader, "SNAPSHOT_BYTES", 1)
    found = read_progress(begun(tmp_path / "out"))
    assert found is not None
    assert (found.n_models, found.n_values, found.n_done, found.n_lost) == (4, 8, 3, 2)
    assert (found.n_waiting, found.waiting) == (1, ("d",))
    assert found.percentage == 62.5
    assert not found.is_finished
    # 12 seconds of measuring took 0 to 1 ms; one average_ce and two local_lip are open: 21 seconds of measuring.
    assert found.seconds_left is not None
    assert found.seconds_left <= 21 / 12 * 0.001


def test_a_run_that_has_measured_nothing_says_nothing_of_the_time_left(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        write_plan(folder.path, MODELS, QUESTIONS)
        for name in "abc":  # models that fail at once say nothing of how long the others take
            folder.add_model(ENTRY | {"model_id": name, "config_digest": "c", "failure": "ModelError: broken"})
            folder.add_record(record(model_id=name, measure="load", status="failed", value=None, reason="broken"))
    found = read_progress(tmp_path / "out")
    assert found is not None
    assert (found.n_done, found.n_lost, found.seconds_left, found.last) == (0, 6, None, "")


def test_each_open_value_takes_as_long_as_its_measure_did() -> None:
    paces = {("average_ce", "train"): (4, 4.0), ("local_lip", "train"): (2, 20.0)}
    questions = dict(zip(QUESTIONS, (6, 8), strict=True))
    # 24 seconds of measuring took 12 on two workers, so 6 + 80 seconds of it take 43.
    assert seconds_left(questions, paces, 12.0) == 43.0
    # A measure of which nothing is known takes as long as the average of the others: 4 seconds.
    assert seconds_left({("new", 1, "train", None): 3}, paces, 24.0) == 12.0
    assert seconds_left(questions, {}, 12.0) is None


def test_a_folder_without_a_plan_has_no_progress(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_record(record())
    assert read_progress(tmp_path / "out") is None


def test_a_damaged_plan_is_none_and_verify_finds_it(tmp_path: Path) -> None:
    path = begun(tmp_path / "out")
    assert isinstance(read_plan(path), RunPlan)
    content = (path / "plan.json").read_bytes()
    for place in range(0, len(content) - 1, 7):
        (path / "plan.json").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert read_plan(path) is None
    assert [fault.what for fault in verify_results(path) if fault.place.endswith("plan.json")] == ["damaged"]
