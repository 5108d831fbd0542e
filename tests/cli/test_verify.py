"""``measurebench verify``: whole folders are whole, every changed byte is found or harmless, and the remedy is true."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from measurebench import run
from measurebench.checks.stored import verify_folder
from measurebench.cli.app import run_command_line
from measurebench.core.download import note_sha256
from measurebench.core.errors import DamageWarning
from measurebench.core.files import TEMPORARY
from measurebench.store.checked_lines import checked_line
from measurebench.store.examples import write_arrays
from measurebench.store.tables import read_table
from measurebench.training.fleet import Source, train_all
from measurebench.training.grid import expand

OPTIONS = {"measures": "average_ce", "attacks": "pgd", "workers": 1, "pgd_steps": 1}


@pytest.fixture(scope="module")
def results(manifest: Path, images_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "out"
    assert run(f"{manifest.parent}#net0", f"arrays:{images_file}", out, **OPTIONS).exit_status == 0
    return out


@pytest.fixture
def copy(results: Path, tmp_path: Path) -> Path:
    shutil.copytree(results, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    settings = {"epochs": 1, "steps": 1, "evaluation_examples": 10, "architecture_kwargs": {"width": 4}}
    train_all(expand({"runs": [settings | {"defense": "Standard"}]}, "digits", "grid"), Source("digits"), folder)
    return folder


def flip(path: Path, place: int, change: int = 4) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= change
    path.write_bytes(content)


def test_a_whole_results_folder_is_whole(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["verify", str(results)]) == 0
    assert capsys.readouterr().out == f"{results}: results folder, all is whole\n"
    assert run_command_line(["verify", str(results), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_damaged_adversarial_images_are_found_and_made_again(copy: Path, manifest: Path, images_file: Path) -> None:
    again = f"{manifest.parent}#net0", f"arrays:{images_file}", copy
    run(*again, save_adversarial=True, **OPTIONS)
    assert verify_folder(copy) == []
    file = sorted((copy / "adversarial").rglob("*.npz"))[0]
    flip(file, 200)
    (fault,) = verify_folder(copy)
    assert (fault.place, fault.what) == (str(file), "damaged")
    run(*again, save_adversarial=True, **OPTIONS)
    assert verify_folder(copy) == []


@pytest.mark.parametrize("name", ["records.jsonl", "models.jsonl", "configs.jsonl", "environments.jsonl", "runs.jsonl"])
def test_a_changed_byte_in_any_file_of_lines_is_found(name: str, copy: Path) -> None:
    path = copy / name
    content, unnoticed = path.read_bytes(), []
    step = 1 if name == "records.jsonl" else 7
    for place in range(0, len(content), step):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        if not (_journal_faults(path) if step == 1 else verify_folder(copy)):
            unnoticed.append(place)
    assert not unnoticed


def _journal_faults(path: Path) -> list:
    """Return the faults of one file: reading the whole folder for each of thousands of bytes would take minutes."""
    from measurebench.store import verification

    return verification._journal_faults(verification.Journal(path))


def test_a_changed_byte_in_verdicts_is_found(copy: Path) -> None:
    path = next(copy.glob("examples/*/*/*.npz"))
    content, unnoticed = path.read_bytes(), []
    for place in range(0, len(content), 5):
        path.write_bytes(content)
        flip(path, place, 1 << (place % 8))
        if not any(str(path) in fault.place for fault in verify_folder(copy)):
            unnoticed.append(place)
    assert not unnoticed


Damage = Callable[[Path], None]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "record": (lambda out: flip(out / "records.jsonl", 30), "records.jsonl, line 1: damaged"),
    "torn record": (
        lambda out: (out / "records.jsonl").write_bytes((out / "records.jsonl").read_bytes()[:-9]),
        "without an end of line",
    ),
    "catalogue lost": (lambda out: (out / "models.jsonl").unlink(), "no entry of the model 'net0'"),
    "configuration lost": (lambda out: (out / "configs.jsonl").unlink(), "configs.jsonl: no entry"),
    "verdicts damaged": (lambda out: flip(next(out.glob("examples/*/*/*.npz")), 50), "measures this accuracy again"),
}


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_what_is_promised_to_be_measured_again_is(
    name: str, copy: Path, results: Path, manifest: Path, images_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, told = DAMAGES[name]
    damage(copy)
    assert run_command_line(["verify", str(copy)]) == 1
    assert told in capsys.readouterr().out
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)
        assert run(f"{manifest.parent}#net0", f"arrays:{images_file}", copy, **OPTIONS).exit_status == 0
    assert verify_folder(copy) == []
    assert read_table(copy).equals(read_table(results))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda out: next(out.glob("examples/*/*/*.npz")).unlink(), "missing; the value is kept"),
        (lambda out: (out / f".0123456789abcdef{TEMPORARY}").write_text("x"), "left over from a killed process"),
        (lambda out: (out / "environments.jsonl").unlink(), "environments.jsonl: no entry"),
    ],
)
def test_other_faults_are_told(damage: Damage, told: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(copy)
    assert run_command_line(["verify", str(copy)]) == 1
    assert told in capsys.readouterr().out


def rewritten(journal: Path, change: Callable[[dict], object]) -> int:
    """Change the first line of a journal, give it a right checksum, and return the number of the line."""
    lines = journal.read_bytes().split(b"\n")
    value = json.loads(lines[0])
    change(value)
    journal.write_bytes(b"\n".join([checked_line(value), *lines[1:]]))
    return 1


WRONG_LINES: dict[str, tuple[str, Callable[[dict], object], str]] = {
    "seconds as text": ("costs", lambda v: v.update(seconds="3"), "seconds: expected a number, got '3'"),
    "no prediction": ("costs", lambda v: v.pop("predicted"), "predicted: expected a number, got none"),
    "a truth value as work": ("costs", lambda v: v.update(work=True), "work: expected a number, got True"),
    "negative seconds": ("costs", lambda v: v.update(seconds=-1.0), "seconds: expected a number, got -1.0"),
    "half a GPU": (
        "costs",
        lambda v: v.update(gpu={"host": "h"}),
        "gpu: expected how a GPU was used, got {'host': 'h'}",
    ),
    "a radius as text": (
        "models",
        lambda v: v.update(radius="big"),
        "radius: expected a number or null, got 'big'",
    ),
    "operations as text": ("models", lambda v: v.update(flops="x"), "flops: expected a number or null, got 'x'"),
    "an entry without digest": ("models", lambda v: v.pop("model_digest"), "expected the field 'model_digest'"),
    "a list as configuration": ("configs", lambda v: v.update(digest=["a"]), "digest: expected text, got ['a']"),
    "no environment's digest": ("environments", lambda v: v.pop("digest"), "digest: expected text, got none"),
    "a record's value as text": ("records", lambda v: v.update(value="1"), "value: expected a number or null, got '1'"),
}


@pytest.mark.parametrize("name", sorted(WRONG_LINES))
def test_a_line_that_readers_do_not_use_is_told_although_its_checksum_is_right(name: str, copy: Path) -> None:
    kind, change, told = WRONG_LINES[name]
    journal = copy / f"{kind}.jsonl"
    place = f"{journal}, line {rewritten(journal, change)}"
    (fault,) = (fault for fault in verify_folder(copy) if fault.place == place)
    assert fault.what.startswith(told)
    assert fault.remedy.startswith("remove the line; ")


def test_a_wrong_info_of_a_measure_is_told(copy: Path) -> None:
    journal = copy / "measures.jsonl"
    lines = [{"digest": "a", "info": {"id": "mine"}}, {"digest": "b", "info": 5}]
    journal.write_bytes(b"".join(checked_line(line) + b"\n" for line in lines))
    first, second = verify_folder(copy)
    assert first.what.startswith("expected the fields of a measure")
    assert second.what == "info: expected the info of a measure, got 5"


def test_a_block_without_work_or_time_is_no_fault(copy: Path) -> None:
    """Measures of weights alone take no operations of forward passes, and a clock may be too coarse for them."""
    rewritten(copy / "costs.jsonl", lambda v: v.update(work=0.0, seconds=0.0))
    assert verify_folder(copy) == []


def test_a_line_of_the_log_that_is_no_event_is_told(copy: Path) -> None:
    log = copy / "log.jsonl"
    n = len(log.read_bytes().splitlines())
    with log.open("ab") as file:
        file.write(b'{"event": 3}\n{"event": "begin"}\n{"eve')
    faults = verify_folder(copy)
    assert [(fault.place, fault.what) for fault in faults] == [
        (f"{log}, line {n + 1}", "no event of a run"),
        (f"{log}, line {n + 3}", "no event of a run"),
    ]


IMAGES = {name: np.zeros(3, dtype=kind) for name, kind in (("index", int), ("label", int), ("correct", bool))}
WRONG_VERDICTS = {
    "no array 'robust'": IMAGES,
    "robust: expected one value for each of 3 images, got shape [2]": {**IMAGES, "robust": np.zeros(2, dtype=bool)},
    "robust: expected truth values, got float64": {**IMAGES, "robust": np.zeros(3)},
    "broken_by: expected numbers from -1 to 3, got -1 to 9": {
        **IMAGES,
        "robust": np.zeros(3, dtype=bool),
        "broken_by": np.array([-1, 0, 9]),
    },
}


@pytest.mark.parametrize("told", sorted(WRONG_VERDICTS))
def test_wrong_arrays_of_verdicts_are_told_and_refused(
    told: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next(copy.glob("examples/*/*/*.npz"))
    write_arrays(file, WRONG_VERDICTS[told])
    (fault,) = verify_folder(copy)
    assert (fault.place, fault.what) == (str(file), told)
    assert run_command_line(["verdicts", str(copy), "--out", str(copy.parent / "v.csv")]) == 2
    assert f"{file}: {told}; `measurebench verify {copy}` lists such files" in capsys.readouterr().err


def test_wrong_arrays_of_blocks_and_adversarial_images_are_told(copy: Path) -> None:
    block, images = copy / "blocks" / "a" / "b" / "c.block", copy / "adversarial" / "a" / "b" / "test-pgd.npz"
    for path in (block, images):
        path.parent.mkdir(parents=True)
    block.write_bytes(b"no arrays" + hashlib.sha256(b"no arrays").digest())
    write_arrays(images, {"adversarial": np.zeros((1, 1, 2, 2))})
    faults = {fault.place: fault.what for fault in verify_folder(copy)}
    assert faults == {
        str(block): "no arrays that can be read",
        str(images): "expected the array 'index', got only adversarial",
    }


def test_folders_of_other_kinds_are_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "none", tmp_path / "file"):
        assert run_command_line(["verify", str(place)]) == 2
        assert "expected a results folder, a folder of trained models, or a cache" in capsys.readouterr().err


def test_a_whole_training_folder_is_whole_and_every_damage_is_found(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["verify", str(trained)]) == 0
    assert "training folder, all is whole" in capsys.readouterr().out
    for number, path in enumerate(sorted(p for p in trained.rglob("*") if p.is_file() and p.name != "lock")):
        folder = tmp_path / str(number)
        shutil.copytree(trained, folder)
        damaged = folder / path.relative_to(trained)
        for place in (-3, len(path.read_bytes()) // 2):
            flip(damaged, place, 1)
            assert str(damaged) in [fault.place for fault in verify_folder(folder)], (path, place)
            flip(damaged, place, 1)


def test_a_training_state_that_no_run_could_go_on_from_is_told(trained: Path, tmp_path: Path) -> None:
    """The file is a whole archive of torch; what it holds is no state."""
    shutil.copytree(trained, tmp_path / "out")
    states = tmp_path / "out" / "states"
    states.mkdir(exist_ok=True)
    torch.save({"network": 1}, states / "other.pt")
    (fault,) = verify_folder(tmp_path / "out")
    assert (fault.place, fault.what) == (
        str(states / "other.pt"),
        "expected a training state, got KeyError: 'identity'",
    )
    torch.save({"identity": "x"}, states / "other.pt")
    assert verify_folder(tmp_path / "out") == []


def test_a_note_of_the_cache_that_holds_no_hash_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"a" * 100)
    (tmp_path / "a.bin.sha256").write_text("no hash")
    (fault,) = verify_folder(tmp_path)
    assert fault.place == str(tmp_path / "a.bin.sha256")
    assert fault.what.startswith("no SHA-256")


def test_a_cache_is_read_against_its_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_bytes(name.encode() * 100)
        note_sha256(tmp_path / name, hashlib.sha256(name.encode() * 100).hexdigest())
    assert run_command_line(["verify", str(tmp_path)]) == 0
    assert "download cache, all is whole" in capsys.readouterr().out
    flip(tmp_path / "a.pt", 7)
    (tmp_path / "b.pt").unlink()
    (tmp_path / "c.pt.partial").write_bytes(b"12345")
    assert run_command_line(["verify", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "a.pt: the kept file is not as it was fetched; the next use fetches it again" in told
    assert "b.pt.sha256: the file that it describes is missing" in told
    assert "5 bytes of a download that broke off" in told
