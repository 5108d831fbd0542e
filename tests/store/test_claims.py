"""Claims of processes that share a folder."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from measurebench.core.errors import BadInputError
from measurebench.store import claims as module
from measurebench.store.claims import Claims, live_processes, process_name
from measurebench.store.costs import prediction_errors
from measurebench.store.folder import ResultsFolder


def claims(folder: Path, name: str, stale: float = 60.0) -> Claims:
    return Claims(folder, name, stale_seconds=stale, beat_seconds=0.05)


def elsewhere(folder: Path, name: str, age: float = 0.0) -> None:
    """Announce a process of another machine that was last heard ``age`` seconds ago."""
    path = folder / f"{name}.process"
    path.write_text(json.dumps({"boot": "another", "space": "another", "pid": 1, "start": "1"}))
    os.utime(path, (time.time() - age, time.time() - age))


def test_a_block_has_one_owner_until_it_is_released(tmp_path: Path) -> None:
    a, b = claims(tmp_path, "a"), claims(tmp_path, "b")
    assert a.claim("x")
    assert a.claim("x")
    assert not b.claim("x")
    assert b.is_taken("x")
    assert not a.is_taken("x")
    a.release("x")
    assert b.claim("x")
    assert not a.holds("x")
    a.close()
    b.close()
    assert not list(tmp_path.glob("*.process"))


def test_of_many_that_claim_at_once_one_gets_the_block(tmp_path: Path) -> None:
    everyone = [claims(tmp_path, f"p{n}") for n in range(8)]
    barrier, won = threading.Barrier(8), list[str]()

    def go(mine: Claims) -> None:
        for block in map(str, range(20)):
            barrier.wait()
            if mine.claim(block):
                won.append(block)

    threads = [threading.Thread(target=go, args=(mine,)) for mine in everyone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine in everyone:
        mine.close()
    assert sorted(won) == sorted(map(str, range(20)))


def test_a_silent_process_of_another_machine_loses_its_block_after_the_stated_time(tmp_path: Path) -> None:
    mine = claims(tmp_path, "me", stale=60.0)
    (tmp_path / "x.0").write_text("them")
    elsewhere(tmp_path, "them", age=50)
    assert not mine.claim("x")
    elsewhere(tmp_path, "them", age=70)
    assert mine.claim("x")
    assert (tmp_path / "x.1").read_text() == "me"
    mine.close()


def test_a_claim_of_a_process_that_was_never_announced_or_has_ended_is_free(tmp_path: Path) -> None:
    (tmp_path / "x.0").write_text("nobody")
    mine = claims(tmp_path, "me")
    assert mine.claim("x")
    mine.close()


def test_a_process_of_this_machine_that_is_gone_loses_its_block_at_once(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from measurebench.store.claims import Claims;"
        "c = Claims(pathlib.Path(sys.argv[1]), 'them'); assert c.claim('x'); print('ok', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as them:
        assert them.stdout is not None
        assert them.stdout.readline() == b"ok\n"
        mine = claims(tmp_path, "me")
        assert not mine.claim("x")
        assert live_processes(tmp_path) == ["me", "them"]
        them.kill()
    assert mine.claim("x")
    assert live_processes(tmp_path) == ["me"]
    mine.close()


def test_a_process_that_slept_too_long_sees_that_its_block_was_taken_over(tmp_path: Path) -> None:
    mine = claims(tmp_path, "me")
    assert mine.claim("x")
    (tmp_path / "x.1").write_text("another")
    assert not mine.holds("x")
    mine.close()


def test_heartbeats_renew_an_announcement_and_make_a_lost_one_again(tmp_path: Path) -> None:
    mine = claims(tmp_path, "me")
    path = tmp_path / "me.process"
    os.utime(path, (0, 0))
    deadline = time.monotonic() + 20
    while path.stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.stat().st_mtime > 0
    path.unlink()
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists()
    mine.close()


def test_without_links_claims_are_exclusive_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(module.os, "link", refuse)
    a, b = claims(tmp_path, "a"), claims(tmp_path, "b")
    assert a.claim("x")
    assert not b.claim("x")
    a.close()
    b.close()


def test_names_of_processes_differ_and_sort_by_time() -> None:
    first, second = process_name(), process_name()
    assert first != second
    assert first[:16] <= second[:16]


def test_a_block_that_was_taken_over_and_released_is_not_held_by_its_first_owner(tmp_path: Path) -> None:
    first = claims(tmp_path, "first")
    assert first.claim("x")
    (tmp_path / "x.0").write_text("nobody")  # as if the first had another name and were gone
    second = claims(tmp_path, "second")
    assert second.claim("x")
    (tmp_path / "x.0").write_text("first")
    second.release("x")
    assert not first.holds("x")
    third = claims(tmp_path, "third")
    assert third.claim("x")
    first.release("x")  # not the third's
    assert third.holds("x")
    for mine in (first, second, third):
        mine.close()


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_place_of_the_clock_changes_nothing_elsewhere(tmp_path: Path, exists: bool) -> None:
    folder, other = tmp_path / "claims", tmp_path / "other"
    folder.mkdir()
    if exists:
        other.write_text("kept")
        os.utime(other, (1, 1))
    (folder / ".time").symlink_to(other)
    elsewhere(folder, "b")
    with pytest.raises(BadInputError, match="expected a regular file, got a link"):
        live_processes(folder)
    assert other.exists() == exists
    assert not exists or other.stat().st_mtime == 1


def test_a_pipe_in_place_of_an_announcement_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.process")
    with pytest.raises(BadInputError, match="expected a regular file"):
        live_processes(tmp_path)


def test_an_announcement_without_a_process_number_counts_by_its_age(tmp_path: Path) -> None:
    about = module._this_process() | {"pid": None}
    (tmp_path / "b.process").write_text(json.dumps(about))
    assert live_processes(tmp_path) == ["b"]
    os.utime(tmp_path / "b.process", (1, 1))
    assert live_processes(tmp_path) == []


@pytest.mark.parametrize("name", ["examples", "blocks", "adversarial", "claims", "examples/a"])
@pytest.mark.parametrize("open_folder", [ResultsFolder.writing, ResultsFolder.sharing])
def test_nothing_is_written_through_a_link_to_a_folder(
    tmp_path: Path, name: str, open_folder: Callable[[Path, str], AbstractContextManager[ResultsFolder]]
) -> None:
    folder, other = tmp_path / "r", tmp_path / "other"
    with ResultsFolder.writing(folder, "0"):
        pass
    other.mkdir()
    (other / ".0123456789abcdef.measurebench.tmp").write_text("kept")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(other)
    with pytest.raises(BadInputError, match="got a link"), open_folder(folder, "0"):
        pass
    assert [path.name for path in other.iterdir()] == [".0123456789abcdef.measurebench.tmp"]


@pytest.mark.parametrize("value", ["x", None, [1], 10**400, 1e308])
def test_costs_that_are_no_times_are_left_out(tmp_path: Path, value: object) -> None:
    with ResultsFolder.writing(tmp_path / "r", "0") as folder:
        line = {"kind": "attack", "device": "cpu", "predicted": 2.0, "seconds": 1.0}
        folder.costs.append(line)
        folder.costs.append(line | {"predicted": value})
    assert [found.n_blocks for found in prediction_errors(tmp_path / "r")] == [1]


def test_a_folder_that_goes_away_is_not_made_again(tmp_path: Path) -> None:
    held = claims(tmp_path / "r" / "claims", "a")
    (tmp_path / "r").rename(tmp_path / "gone")
    time.sleep(0.3)  # six beats
    assert not (tmp_path / "r").exists()
    held.close()
