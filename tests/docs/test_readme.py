"""The commands and blocks of the README run as written, on stand-ins for data that would have to be downloaded."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from torch import nn

from measurebench.cli import app
from tests.docs.guides import DOCS

ROOT = DOCS.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.rglob("*.md")),
    *sorted(ROOT.glob("examples/*/*.md")),
]

NETWORK = """
from torch import nn

def make_network():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 10))
"""
# What makes a command short; an option that is given twice counts as it is given last.
FEW = {
    "check": ("--examples", "20"),
    "run": ("--attacks", "pgd", "--train-examples", "20", "--test-examples", "20", "--workers", "1"),
    "train": ("--epochs", "1", "--steps", "1"),
    "analyze": ("--bootstrap", "20"),
}


def fenced(text: str, kind: str) -> list[str]:
    """Return the blocks of a kind, also those that are indented below a list."""
    found = re.findall(rf"^( *)```{kind}\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


def commands(text: str) -> list[list[str]]:
    """Return the arguments of each call of measurebench in the shell blocks of a page."""
    lines = [
        line for kind in ("sh", "") for block in fenced(text, kind) for line in re.sub(r"\\\n", " ", block).split("\n")
    ]
    called = [shlex.split(line.split(" # ")[0]) for line in lines if line.startswith("measurebench ")]
    return [arguments[1:] for arguments in called]


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a folder with a checkpoint, a manifest, images in three channels and a measure, as the README has them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "networks.py").write_text(NETWORK)
    names: dict[str, object] = {}
    exec(NETWORK, names)
    images, labels = np.random.default_rng(0).random((80, 3, 8, 8), dtype=np.float32) * 0.6, np.arange(80) % 10
    images[np.arange(80), :, labels % 8, labels // 8] += 0.4  # each class has a bright pixel of its own
    torch.manual_seed(0)
    network: nn.Module = names["make_network"]()  # type: ignore[operator]
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    normalized = (torch.from_numpy(images) - torch.tensor([0.49, 0.48, 0.45])[:, None, None]) / 0.25
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(normalized), torch.from_numpy(labels)).backward()
        optimizer.step()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "my_trades.pt")
    (described,) = fenced(README, "toml")
    (tmp_path / "models.toml").write_text(re.sub(r"^expected_clean_accuracy.*\n", "", described, flags=re.MULTILINE))
    split = {"x_train": images[:40], "y_train": labels[:40], "x_test": images[40:], "y_test": labels[40:]}
    np.savez("images.npz", **split)
    (measure, *_) = fenced((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "python")
    (tmp_path / "largest_logit.py").write_text(measure)
    return tmp_path


def call(arguments: list[str], *more: str) -> None:
    standing_in = [part.replace("cifar10", "arrays:images.npz") for part in arguments]
    assert app.run_command_line([*standing_in, *FEW.get(arguments[0], ()), *more]) == 0, arguments


def test_a_checkpoint_of_one_s_own_is_checked_and_measured(folder: Path) -> None:
    check, run, *rest = commands(section("Measure your own checkpoint"))
    call(check)
    call(run, "--measures", "average_ce_pgd")
    for command in rest:
        call(command)
    table = pd.read_csv("models.csv")
    assert table["model_id"].tolist() == ["my-trades"]
    assert table["average_ce_pgd"].notna().all()


def test_a_table_of_one_s_own_is_analysed(folder: Path) -> None:
    random = np.random.default_rng(0)
    gap = np.linspace(0.1, 0.3, 12)
    columns = {
        "robust_gap_pgd": gap,
        "my_norm": gap + random.normal(0, 0.02, 12),
        "my_margin": random.random(12),
        "architecture": ["a", "b"] * 6,
        "batch_size": [64, 64, 128, 128] * 3,
    }
    pd.DataFrame(columns).to_csv("models.csv", index=False)
    for command in commands(section("Analyse your own table")):
        call(command)
    judged = pd.read_csv("analysis/correlations.csv")
    assert set(judged["measure"][~judged["control"]]) == {"my_norm", "my_margin"}
    assert {"control: random numbers", "control: all settings"} <= set(judged["measure"][judged["control"]])
    assert (folder / "page" / "index.html").is_file()


@pytest.mark.slow
def test_a_model_is_trained_and_the_grid_is_one(folder: Path) -> None:
    train, run, grid, *_ = commands(section("Train"))
    call(train)
    call(run, "--measures", "average_ce_pgd")
    (folder / "data").symlink_to(ROOT / "data")
    assert app.run_command_line([*grid, "--plan"]) == 0


def test_a_measure_of_one_s_own_is_listed_and_measured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugins, run = commands(section("Your own measure, attack, data set"))
    call(plugins)
    assert "largest_logit" in capsys.readouterr().out
    call(run)
    assert "6 of 6 models measured" in capsys.readouterr().out


def test_the_python_blocks_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured, other = fenced(section("In Python"), "python")
    names: dict[str, object] = {}
    exec(measured, names)
    assert len(names["table"]) == 6  # type: ignore[arg-type]
    assert "average_ce_pgd" in capsys.readouterr().out
    exec(other, names)
    assert "True" in capsys.readouterr().out
    assert (folder / "gallery" / "gallery.json").is_file()
    assert (folder / "converted" / "models.toml").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_takes_the_options_that_it_is_given(page: Path) -> None:
    for name, *arguments in commands(page.read_text(encoding="utf-8")):
        if name.startswith("-"):
            continue
        assert name in app.COMMANDS
        group = typer.main.get_command(app._app(name))
        group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_session_that_a_page_names_is_one(page: Path) -> None:
    sessions = set(re.findall(r"^@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE))
    named = {name.split("-")[0] for name in re.findall(r"nox -s ([\w.-]+)", page.read_text(encoding="utf-8"))}
    assert named <= sessions


def test_the_two_commands_on_top_install_nox_and_call_it() -> None:
    install = 'python3 -m venv .venv && .venv/bin/pip install -q "nox[uv]" && .venv/bin/nox'
    assert [block.strip() for block in fenced(README, "sh")[:2]] == [f"{install} -s quickstart", install]
