"""Code that data files name runs only with the user's word, which is asked once per folder and kept."""

import json
from pathlib import Path

import pytest
import torch

import measurebench
from measurebench.checks import check_model, check_models
from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.core.trust import UntrustedCodeError, is_trusted, trust, trusted_folders_file
from measurebench.datasets import load_dataset
from measurebench.models.convert import convert_checkpoint
from measurebench.models.listing import list_models
from measurebench.training.grid import read_grid

NETS = """
from pathlib import Path
from torch import nn
Path({mark!r}).write_text("it ran")
def net(width=2):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture(autouse=True)
def no_word_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEASUREBENCH_CONFIG", str(tmp_path / "configuration"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.fixture
def hostile(tmp_path: Path, mark: Path) -> Path:
    """Return a folder of data alone: a manifest that would run a command, and weights."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    torch.save(torch.nn.Linear(2, 2).state_dict(), folder / "net.pt")
    (folder / "models.toml").write_text(
        '[[model]]\nid = "net"\nfile = "net.pt"\narchitecture = "subprocess:getoutput"\n'
        f'architecture_kwargs = {{ cmd = "touch {mark}" }}\nnormalization = "none"\n'
    )
    return folder


@pytest.fixture
def own(tmp_path: Path, mark: Path) -> Path:
    """Return a folder with a checkpoint, its manifest, and the file that defines the network."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "nets.py").write_text(NETS.format(mark=str(mark)))
    train = load_dataset("digits").train
    images, labels = torch.from_numpy(train.images).flatten(1), torch.from_numpy(train.labels)
    means = torch.stack([images[labels == label].mean(0) for label in range(10)])
    torch.save({"1.weight": means, "1.bias": -means.square().sum(1) / 2}, folder / "net.pt")  # the nearest mean
    (folder / "models.toml").write_text(
        '[[model]]\nid = "net"\nfile = "net.pt"\narchitecture = "nets.py:net"\nnormalization = "none"\n'
        'dataset = "digits"\n'
    )
    return folder


SMALL = ["--train-examples", "8", "--test-examples", "8", "--attacks", "none", "--measures", "num_params"]


def commands(folder: Path, tmp_path: Path) -> list[list[str]]:
    return [
        ["check", str(folder), "--dataset", "digits", "--attack-examples", "0"],
        ["run", str(folder), "--dataset", "digits", "--out", str(tmp_path / "results"), *SMALL],
        ["convert", str(folder), "--out", str(tmp_path / "converted")],
        ["attack", str(folder), "--out", str(tmp_path / "picture.png")],
        ["agreement", str(folder), "--dataset", "digits"],
    ]


@pytest.mark.parametrize("number", range(5))
def test_no_command_runs_what_a_manifest_names_without_the_users_word(
    number: int, hostile: Path, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(commands(hostile, tmp_path)[number]) == 2
    assert not mark.exists()
    assert not trusted_folders_file().exists()
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f'{hostile}/models.toml: model "net": architecture: expected a built-in name' in err
    assert f"subprocess:getoutput(cmd='touch {mark}')" in err
    assert "--trust-code" in err
    assert str(hostile) in err


def test_nothing_is_written_before_the_word_is_given(hostile: Path, tmp_path: Path) -> None:
    for command in commands(hostile, tmp_path):
        assert run_command_line(command) == 2
    assert not [name for name in ("results", "converted", "picture.png") if (tmp_path / name).exists()]


def test_a_package_around_the_named_module_is_not_imported_either(hostile: Path, tmp_path: Path, mark: Path) -> None:
    """Looking for the file of ``package.module`` must not run ``package``: its digest is taken before the word."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text(f"import pathlib; pathlib.Path({str(mark)!r}).touch()")
    (tmp_path / "package" / "nets.py").write_text("net = 1")
    text = (hostile / "models.toml").read_text().replace("subprocess:getoutput", "package.nets:net")
    (hostile / "models.toml").write_text(text)
    for command in commands(hostile, tmp_path):
        assert run_command_line(command) == 2
    assert not mark.exists()
    assert [row["architecture"] for row in list_models(str(hostile))] == ["package.nets:net"]
    assert not mark.exists()


def test_python_asks_for_the_word_as_well(hostile: Path, tmp_path: Path, mark: Path) -> None:
    asking = [
        lambda: measurebench.load_model(str(hostile)),
        lambda: measurebench.run(str(hostile), "digits", tmp_path / "r", measures="num_params", attacks="none"),
        lambda: check_model(str(hostile)),
        lambda: list(check_models(str(hostile))),
        lambda: convert_checkpoint(str(hostile), tmp_path / "c"),
    ]
    for ask in asking:
        with pytest.raises(UntrustedCodeError, match="trust_code=True in Python"):
            ask()
    assert not mark.exists()


def test_the_word_is_asked_once_and_kept_in_the_users_configuration(own: Path, tmp_path: Path) -> None:
    before = sorted(own.iterdir())
    first, run, *others = commands(own, tmp_path)
    assert run_command_line(first) == 2
    assert run_command_line([*first, "--trust-code"]) == 0
    for command in (first, run, *others[:2]):
        assert run_command_line(command) == 0, command
    listed = set(json.loads((tmp_path / "configuration" / "trusted-folders.json").read_text()))
    assert listed == {str(own.resolve()), str((tmp_path / "converted").resolve())}
    assert [path for path in sorted(own.iterdir()) if path.name != "__pycache__"] == before
    other = tmp_path / "other"
    own.rename(other)
    assert not is_trusted(other)
    assert run_command_line(commands(other, tmp_path)[0]) == 2


def test_the_word_and_the_code_are_in_the_record(own: Path, tmp_path: Path) -> None:
    import hashlib

    _, run, *_ = commands(own, tmp_path)
    assert run_command_line([*run, "--trust-code"]) == 0
    entry = json.loads((tmp_path / "results" / "runs.jsonl").read_text())
    content = hashlib.sha256((own / "nets.py").read_bytes()).hexdigest()
    assert entry["trust_code"] is True
    assert entry["code"] == [{"name": "nets.py:net", "sha256": content, "named_by": f"{own}/models.toml"}]
    notes = json.loads((tmp_path / "results" / "models.jsonl").read_text())["notes"]
    assert f"code of nets.py:net (SHA-256 {content}), named by {own}/models.toml with the user's word" in notes


def test_what_convert_writes_needs_no_second_word(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "converted"
    assert run_command_line(["convert", str(own), "--out", str(out), "--trust-code"]) == 0
    assert run_command_line(["check", str(out), "--attack-examples", "0"]) == 0


def test_a_folder_that_holds_a_manifest_is_not_vouched_for_by_converting_into_it(
    own: Path, hostile: Path, mark: Path
) -> None:
    (hostile / "net.pt").rename(hostile / "other.pt")
    (hostile / "models.toml").write_text((hostile / "models.toml").read_text().replace('"net', '"other'))
    convert = ["convert", f"{own}/net.pt", "--architecture", f"{own}/nets.py:net", "--normalization", "none"]
    assert run_command_line([*convert, "--out", str(hostile)]) == 0
    assert not is_trusted(hostile)
    assert run_command_line(["check", f"{hostile}#other"]) == 2


def test_code_named_on_the_command_line_is_the_users_word(own: Path, mark: Path) -> None:
    command = ["check", f"{own}/net.pt", "--architecture", f"{own}/nets.py:net", "--normalization", "none"]
    assert run_command_line([*command, "--dataset", "digits", "--attack-examples", "0"]) == 0
    assert mark.exists()
    assert not trusted_folders_file().exists()


def test_names_that_are_registered_need_no_word(tmp_path: Path) -> None:
    assert run_command_line(["check", "digits:resnet-at-10-b64-s0-last", "--attack-examples", "0"]) == 0
    assert not trusted_folders_file().exists()


ATTACK = """
import pathlib
pathlib.Path({mark!r}).touch()
def stay(network, images, labels):
    return images
"""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('attacks = "pgd,{folder}/mine.py:stay"', "mine.py:stay"),
        ('attacks = ["subprocess:getoutput"]', "subprocess:getoutput"),
        ('architecture = "{folder}/mine.py:stay"', "mine.py:stay"),
        ("allow_pickle = true", "whatever the checkpoints hold"),
        ("trust_code = true", "cannot vouch for itself"),
        ("trust-code = true", "cannot vouch for itself"),
    ],
)
def test_a_configuration_file_needs_the_word_too(
    line: str, told: str, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(ATTACK.format(mark=str(mark)))
    (tmp_path / "run.toml").write_text('dataset = "digits"\n' + line.format(folder=tmp_path))
    command = ["run", "digits:resnet-at-10-b64-s0-last", "--config", "run.toml", "--out", "r"]
    assert run_command_line(command) == 2
    assert told in capsys.readouterr().err
    assert not mark.exists()


def test_the_word_covers_a_configuration_file(tmp_path: Path, mark: Path) -> None:
    (tmp_path / "mine.py").write_text(ATTACK.format(mark=str(mark)))
    (tmp_path / "run.toml").write_text('dataset = "digits"\nattacks = "mine.py:stay"\nmeasures = "num_params"\n')
    run = ["run", "digits:resnet-at-10-b64-s0-last", "--config", "run.toml", "--out", "r", *SMALL[:4]]
    assert run_command_line([*run, "--trust-code"]) == 0
    assert mark.exists()


def test_options_typed_by_the_user_replace_those_of_a_file_and_need_no_word(tmp_path: Path, mark: Path) -> None:
    (tmp_path / "mine.py").write_text(ATTACK.format(mark=str(mark)))
    (tmp_path / "run.toml").write_text('dataset = "digits"\nattacks = "mine.py:stay"\n')
    run = ["run", "digits:resnet-at-10-b64-s0-last", "--config", "run.toml", "--out", "r", *SMALL]
    assert run_command_line(run) == 0
    assert not mark.exists()


GRIDS = [
    '[settings]\nepochs = 1\narchitecture = "{code}"\n[axes]\ndefense = ["Standard"]\n',
    '[axes]\ndefense = ["Standard"]\narchitecture = ["digits-plain", "{code}"]\n',
    '[[runs]]\ndefense = "Standard"\narchitecture = "{code}"\n',
    '[axes]\ndefense = ["Standard"]\n'
    '[[rules]]\nwhen = {{ defense = "Standard" }}\nset = {{ architecture = "{code}" }}\n',
]


@pytest.mark.parametrize("text", GRIDS)
def test_a_grid_needs_the_word_too(text: str, tmp_path: Path, own: Path, mark: Path) -> None:
    (tmp_path / "grid.toml").write_text(text.format(code=f"{own}/nets.py:net"))
    assert run_command_line(["train", "--grid", "grid.toml", "--out", "t"]) == 2
    assert run_command_line(["train", "--grid", "grid.toml", "--out", "t", "--plan"]) == 2
    assert not mark.exists()
    with pytest.raises(UntrustedCodeError, match=r"nets\.py:net\(\)"):
        read_grid(tmp_path / "grid.toml", "digits")
    assert read_grid(tmp_path / "grid.toml", "digits", trust_code=True)
    assert read_grid(tmp_path / "grid.toml", "digits")


def test_what_is_trained_with_the_users_code_is_measured_without_a_second_word(own: Path, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text((own / "nets.py").read_text())
    train = ["train", "--architecture", "nets.py:net", "--defense", "Standard", "--epochs", "1", "--out", "t"]
    assert run_command_line(train) == 0
    assert run_command_line(["check", "t#*-last", "--attack-examples", "0"]) == 0


def test_a_module_beside_the_data_is_not_taken_for_a_librarys_optional_dependency(
    tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries try to import what they can do without; a folder of data must not be searched for it."""
    import importlib
    import sys

    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    (tmp_path / "an_optional_dependency.py").write_text(f"import pathlib; pathlib.Path({str(mark)!r}).touch()")
    assert run_command_line(["models", "digits"]) == 0
    with pytest.raises(ImportError):
        importlib.import_module("an_optional_dependency")


def test_a_list_that_anybody_may_write_to_counts_as_empty(tmp_path: Path) -> None:
    trust(tmp_path)
    assert is_trusted(tmp_path)
    assert not is_trusted(tmp_path / "below")
    trusted_folders_file().chmod(0o666)
    assert not is_trusted(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, "\xff"])
def test_a_damaged_list_counts_as_empty_and_is_replaced(content: str, tmp_path: Path) -> None:
    trusted_folders_file().parent.mkdir()
    trusted_folders_file().write_bytes(content.encode("latin-1"))
    assert not is_trusted(tmp_path)
    trust(tmp_path)
    assert is_trusted(tmp_path)


def test_folders_below_are_covered_where_the_user_writes_so(tmp_path: Path) -> None:
    trusted_folders_file().parent.mkdir()
    trusted_folders_file().write_text(json.dumps({f"{tmp_path.resolve()}/**": ""}))
    assert is_trusted(tmp_path / "a" / "b")
    assert is_trusted(tmp_path)
    assert not is_trusted(tmp_path.parent)


def test_without_a_place_for_settings_the_word_holds_for_the_call(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEASUREBENCH_CONFIG", "/proc/nowhere")
    assert measurebench.load_model(str(own), trust_code=True).n_parameters == 650
    with pytest.raises(BadInputError, match="trust"):
        measurebench.load_model(str(own))


def test_a_link_to_a_manifest_is_trusted_where_the_manifest_lies(own: Path, hostile: Path, tmp_path: Path) -> None:
    trust(hostile)
    (own / "models.toml").rename(tmp_path / "models.toml")
    (hostile / "linked.toml").symlink_to(tmp_path / "models.toml")
    with pytest.raises(BadInputError):
        measurebench.load_model(str(hostile / "linked.toml"))
