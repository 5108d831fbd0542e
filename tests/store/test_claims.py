"""Claims of processes that share a folder."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from measurebench.store import claims as module
from measurebench.store.claims import Claims, live_processes, process_name


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
