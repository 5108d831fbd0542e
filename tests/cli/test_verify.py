"""``measurebench verify``: whole folders are whole, every changed byte is found or harmless, and the remedy is true."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from measurebench import run
from measurebench.checks.stored import verify_folder
from measurebench.cli.app import run_command_line
from measurebench.core.download import note_sha256
from measurebench.core.errors import DamageWarning
from measurebench.core.files import TEMPORARY
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


def test_a_cache_is_read_against_its_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import hashlib

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
