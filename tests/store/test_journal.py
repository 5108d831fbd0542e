import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from measurebench.core.errors import BadInputError, DamageWarning
from measurebench.store.journal import Journal, exclusive


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    for number in range(5):
        journal.append({"n": number})
    assert journal.read() == [{"n": number} for number in range(5)]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_dropped_wherever_it_was_torn(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.append({"n": 1})
    journal.append({"n": 22222})
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-cut])
    assert journal.read() == [{"n": 1}]
    journal.append({"n": 3})
    assert journal.read() == [{"n": 1}, {"n": 3}]


def test_a_damaged_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.path.write_text('{"n": 1}\n{"n": oops}\n{"n": 3}\n')
    with pytest.warns(DamageWarning, match=r"j\.jsonl, line 2 is damaged and not used: no JSON"):
        assert journal.read() == [{"n": 1}, {"n": 3}]
    assert journal.path.read_text().count("\n") == 3


def test_a_file_that_is_damaged_all_over_is_told_in_few_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.path.write_text("oops\n" * 1000)
    with pytest.warns(DamageWarning) as told:
        assert journal.read() == []
    assert len(told) == 6
    assert "995 more lines" in str(told[-1].message)


def test_damaged_lines_are_set_aside_once_and_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    for number in range(3):
        journal.append({"n": number})
    content = journal.path.read_bytes()
    journal.path.write_bytes(content.replace(b'{"n": 1', b'{"n": 7'))
    _, damages = journal.examine()
    assert [(damage.number, damage.reason) for damage in damages] == [(2, "its checksum does not match")]
    journal.set_aside(damages)
    assert journal.read() == [{"n": 0}, {"n": 2}]
    assert (tmp_path / "j.jsonl.damaged").read_bytes().startswith(b'{"n": 7')
    journal.append({"n": 3})
    assert journal.examine() == ([(1, {"n": 0}), (2, {"n": 2}), (3, {"n": 3})], [])


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.append({"n": 1})
    before = journal.path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        journal.append({"n": 2})
    assert journal.path.read_bytes() == before


def test_numbers_survive_bit_for_bit(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    value = 0.1 + 0.2
    journal.append({"value": value})
    assert journal.read()[0]["value"] == value
    assert json.loads(journal.path.read_text())["value"].hex() == value.hex()


def test_a_second_writer_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "lock", "study"),
        pytest.raises(BadInputError, match=f"study: expected a folder that no other run.*process {os.getpid()}"),
        exclusive(tmp_path / "lock", "study"),
    ):
        pass
    with exclusive(tmp_path / "lock", "study"):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_kill_at_any_byte_loses_at_most_the_line_being_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "whole.jsonl")
    values = [{"n": 1, "text": "ä\nb"}, {"n": 22, "text": ""}, {"n": 333, "text": "x" * 5000}]
    ends = [0]
    for value in values:
        journal.append(value)
        ends.append(journal.path.stat().st_size)
    content = journal.path.read_bytes()
    torn = Journal(tmp_path / "torn.jsonl")
    for cut in (*range(ends[2] + 20), *range(ends[2] + 20, ends[3] + 1, 97), ends[3] - 1, ends[3]):
        torn.path.write_bytes(content[:cut])
        whole = sum(end <= cut for end in ends[1:])
        assert torn.read() == values[:whole]
        torn.append({"n": 4})
        assert torn.read() == [*values[:whole], {"n": 4}]


def test_a_journal_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Journal(tmp_path / "none.jsonl").read() == []


def test_what_json_cannot_say_is_not_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.append({"value": float("nan")})
    assert not journal.path.exists()


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.path.write_text('{"n": 1}\n\n[2]\n')
    with pytest.warns(DamageWarning, match=r"line 3 is damaged and not used: no JSON object but list"):
        assert journal.read() == [{"n": 1}]


VALUES = [{"n": 1, "text": "ä"}, {"n": 22}, {"value": 0.125, "zz": None}]


def harmless(before: list[dict], after: list[dict], n_damages: int, torn: bytes) -> bool:
    """Tell whether what is read after a change is right, or what is missing was noticed."""
    missing = [value for value in before if value not in after]
    return all(value in before for value in after) and (not missing or n_damages > 0 or bool(torn))


@pytest.mark.parametrize("change", [1, 2, 4, 8, 16, 32, 64, 128, 0xFF, 0x2A])
def test_a_changed_byte_anywhere_is_noticed_or_changes_nothing(change: int, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    for value in VALUES:
        journal.append(value)
    content, bad = journal.path.read_bytes(), []
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= change
        journal.path.write_bytes(changed)
        found, damages = journal.examine()
        if not harmless(VALUES, [value for _, value in found], len(damages), journal.torn()):
            bad.append(place)
    assert not bad


@pytest.mark.parametrize("n", [1, 3, 17])
def test_lost_and_added_bytes_are_noticed(n: int, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    values = [value | {"long": "x" * 60} for value in VALUES]
    for value in values:
        journal.append(value)
    content = journal.path.read_bytes()
    for place in range(content.index(b"\n"), len(content) - n):
        for changed in (content[:place] + content[place + n :], content[:place] + b"0" * n + content[place:]):
            journal.path.write_bytes(changed)
            found, damages = journal.examine()
            assert harmless(values, [value for _, value in found], len(damages), journal.torn()), place


def test_a_page_of_zeros_is_noticed_and_the_lines_around_it_are_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    for number in range(200):
        journal.append({"n": number, "text": "x" * 50})
    content = bytearray(journal.path.read_bytes())
    content[4096:8192] = bytes(4096)
    journal.path.write_bytes(content)
    found, damages = journal.examine()
    assert 100 < len(found) < 180
    assert len(damages) == 1


def test_lines_of_earlier_versions_have_no_checksum_and_are_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.path.write_text('{"n": 1}\n{"n": 2}\n')
    journal.append({"n": 3})
    assert journal.read() == [{"n": 1}, {"n": 2}, {"n": 3}]
    with journal.path.open("a") as file:
        file.write('{"n": 4}\n')
    with pytest.warns(DamageWarning, match="line 4 .*: its checksum is missing"):
        assert journal.read() == [{"n": 1}, {"n": 2}, {"n": 3}]


HOLDER = """
import fcntl, os, sys, time
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
file.truncate(0)
file.write(str(os.getpid()))
file.flush()
print("held", flush=True)
time.sleep(60)
"""


def test_the_lock_of_another_process_holds_until_that_process_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "lock"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(BadInputError, match=f"in use by process {process.pid}"),
            exclusive(tmp_path / "lock", "study"),
        ):
            pass
        process.kill()
        process.wait()
    with exclusive(tmp_path / "lock", "study"):
        pass


def test_a_lock_that_was_removed_still_keeps_a_second_writer_out(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", "study"):
        (tmp_path / "lock").unlink()
        with pytest.raises(BadInputError, match="no other run is writing to"), exclusive(tmp_path / "lock", "study"):
            pass
    with exclusive(tmp_path / "lock", "study"):
        pass


@pytest.mark.parametrize(
    "use", [lambda path: Journal(path).append({"n": 1}), lambda path: exclusive(path, "s").__enter__()]
)
@pytest.mark.parametrize("dangling", [True, False])
def test_a_planted_link_is_refused_and_its_target_left_alone(use: Callable, dangling: bool, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    if not dangling:
        precious.write_text("no final newline")
    (tmp_path / "planted").symlink_to(precious)
    with pytest.raises(BadInputError, match="planted: expected a regular file, got a link"):
        use(tmp_path / "planted")
    assert precious.exists() is not dangling
    assert dangling or precious.read_text() == "no final newline"


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_a_journal_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for use in (lambda: Journal(tmp_path / "pipe").read(), lambda: Journal(tmp_path / "pipe").append({})):
        with pytest.raises(BadInputError, match="pipe: expected a regular file"):
            use()


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    with (
        pytest.raises(
            BadInputError, match="study: expected a folder on a file system that can lock files, got No locks"
        ),
        exclusive(tmp_path / "lock", "study"),
    ):
        pass
