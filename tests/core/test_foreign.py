"""Text from files is made safe at each of the three doors, and there is no other door."""

import ast
import io
import json
import os
import stat
import unicodedata
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from measurebench.cli.app import run_command_line
from measurebench.core.files import write_atomically
from measurebench.core.foreign import for_chart, for_spreadsheet, for_terminal, from_spreadsheet
from measurebench.stats import analyze, write_analysis
from measurebench.store.tables import read_table, write_table

HOSTILE = "net\x1b[2J\x1b]0;title\x07\nmeasurebench: all measured\u202egnp.exe\u2028\x00\x9b2J\x7f[bold]:bug:"
PACKAGE = Path(__file__).parents[2] / "measurebench"

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "=cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    '=HYPERLINK("http://x","y")',
    "\uff1d1",
    "-",
    "+",
    "-e5",
    "-1e5x",
    "-0x10",
    "--1",
    "-1 ",
]
PLAIN = ["AT", "", "a=b", "a-b", "'", "it's", "0.5", "-0.5", "+3", "-1e-05", "-.5", "1e9", "8/255", " =1"]


@given(st.text())
def test_a_terminal_gets_one_printable_line_of_limited_length(text: str) -> None:
    shown = for_terminal(text)
    assert shown.isprintable()
    assert for_terminal(text, 10).isprintable()
    assert len(for_terminal(text, 10)) < 10 * 10 + 40


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_becomes_text(text: str) -> None:
    assert for_spreadsheet(text) == f"'{text}"
    assert from_spreadsheet(for_spreadsheet(text)) == text


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_and_numbers_stay_as_they_are(text: str) -> None:
    assert for_spreadsheet(text) == text


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\n.1eAx"), max_size=8))
def test_no_text_is_changed_by_going_through_a_spreadsheet(text: str) -> None:
    assert from_spreadsheet(for_spreadsheet(text)) == text
    assert not for_spreadsheet(text).startswith(("=", "@", "\t", "\r", "\n"))


@given(st.text())
def test_a_chart_gets_no_character_that_its_language_reads(text: str) -> None:
    shown = for_chart(text)
    assert not any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(c) == "RLO" for c in shown
    )
    assert "\\" not in shown
    assert for_chart(shown) == shown


@pytest.mark.parametrize("name", ["path_norm", "setting_lr", "größe 8/255", "模型", "a.b[0]", "a (b) & c"])
def test_a_usual_name_stays_as_it_is_in_a_chart(name: str) -> None:
    assert for_chart(name) == name


def test_no_cell_of_a_table_is_a_formula_and_the_table_is_read_back_as_it_was(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "model_id": FORMULAS[:4],
            "defense": ["=1", np.nan, "'=2", "AT"],
            "@measure": [-0.5, 1.0, None, -1e-300],
            "count": [-1, 2, 3, 4],
            "flag": [True, False, True, True],
            "mixed": ["-0.5", "+x", "7", "8"],
        }
    )
    write_table(table, tmp_path / "t.csv")
    plain = pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False)
    cells = [*plain.columns, *(cell for name in ("model_id", "defense") for cell in plain[name])]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert list(plain["'@measure"]) == ["-0.5", "1.0", "", "-1e-300"]
    assert list(plain["count"]) == ["-1", "2", "3", "4"]
    assert list(plain["mixed"]) == ["-0.5", "'+x", "7", "8"]
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), table, check_dtype=False)


def test_the_tables_of_an_analysis_hold_no_formula(tmp_path: Path) -> None:
    n = 12
    table = pd.DataFrame(
        {
            "model_id": [f"=m{i}" for i in range(n)],
            "=cmd|' /C calc'!A0": [float(i % 7) for i in range(n)],
            "@other": [float(i % 5) for i in range(n)],
            "robust_gap_pgd": [i / 20 for i in range(n)],
            "defense": ["+AT", "-x"] * (n // 2),
        }
    )
    write_analysis(analyze(table, measures=["=cmd|' /C calc'!A0", "@other"], bootstrap=20), tmp_path)
    for path in tmp_path.glob("*.csv"):
        cells = pd.read_csv(path, dtype=str, keep_default_na=False).to_numpy().ravel()
        assert any(cell.startswith("'=cmd") for cell in cells)
        assert not [cell for cell in cells if cell.startswith(("=", "@")) or cell in ("+AT", "-x")]


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o022, 0o000])
def test_files_have_the_permissions_that_the_umask_leaves(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "f", b"x")
        write_atomically(tmp_path / "f", b"y")
        write_table(pd.DataFrame({"a": [1]}), tmp_path / "t.csv")
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("f", "t.csv")} == {0o666 & ~umask}


# --- by behaviour: what commands print of hostile files ---


def lines_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    run_command_line(arguments)
    captured = capsys.readouterr()
    told = captured.out + captured.err
    assert told
    assert all(line.isprintable() for line in told.splitlines()), told
    return told


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "a.pt").write_bytes(b"\x00")
    (folder / "models.toml").write_text(
        f'[[model]]\nid = {json.dumps(HOSTILE).replace(chr(0x7F), "?")}\nfile = "a.pt"\narchitecture = "resnet-18"\n'
        f'defense = "\\u001b[31m"\n'
    )
    return folder


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_list_of_models_prints_no_escape_sequence(
    more: list[str], hostile_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = lines_of(["models", str(hostile_folder), *more], capsys)
    assert ":bug:" in told
    assert "[bold]" in told


def test_commands_on_a_hostile_manifest_print_no_escape_sequence(
    hostile_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    for arguments in (
        ["check", str(hostile_folder)],
        ["convert", str(hostile_folder), "--out", out],
        ["run", str(hostile_folder), "--dataset", "digits", "--out", out],
        ["status", out],
        ["status", out, "--json"],
        ["export", out, "--out", str(tmp_path / "t.csv")],
        ["attack", str(hostile_folder), "--out", str(tmp_path / "x.png")],
        ["verdicts", out, "--out", str(tmp_path / "v.csv")],
        ["check", f"{hostile_folder}#\x1b[2J"],
        ["train", "--grid", f"\x1b[2J\n{tmp_path}", "--out", out],
        ["report", f"{tmp_path}/\x1b[2J.csv", "--out", out],
        ["compare", f"{tmp_path}/\x1b[2J.csv", "x", "--out", out],
        ["leaderboard", "--out", out, "--norm", "\x1b[2J"],
        ["measures", "\x1b[2J"],
        ["\x1b[2J"],
        ["plugins", "\x1b[2J"],
    ):
        lines_of(arguments, capsys)


PLUGIN = """
import warnings
from dataclasses import dataclass
from typing import ClassVar
from measurebench.core.info import MeasureInfo
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

warnings.warn("beware \\x1b[2J\\nmeasurebench: all measured")


@register()
@dataclass(frozen=True)
class Loud:
    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="loud", title="\\x1b[2J title", family="margins", unit="1", formula="\\u202e x\\nmeasurebench: y",
        source="\\x9b2J", hypothesis="", inputs=("clean",), cost="F", explanation="one\\ntwo \\x07",
    )

    def __call__(self, context):
        return MeasureValue(1.0)
"""


def test_measures_and_warnings_of_a_plugin_print_no_escape_sequence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run in a process of its own, since a measure stays registered."""
    import subprocess
    import sys

    (tmp_path / "loud.py").write_text(PLUGIN)
    for arguments in (["measures"], ["measures", "loud"], ["plugins", "--json"]):
        command = [sys.executable, "-m", "measurebench", *arguments, "--plugin", str(tmp_path / "loud.py")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "loud" in done.stdout, done.stderr
        assert all(line.isprintable() for line in (done.stdout + done.stderr).splitlines())
        assert "\\nmeasurebench: all measured" in done.stderr


def test_progress_prints_no_escape_sequence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from measurebench.cli import progress

    monkeypatch.setattr(progress, "QUIET_SECONDS", -1)
    lines = progress._Lines()
    lines.planned(1, {HOSTILE: 1}, 0)
    lines.finished(HOSTILE)
    assert capsys.readouterr().err.rstrip("\n").isprintable()
    drawn = io.StringIO()
    with Progress(*progress.columns(), console=Console(file=drawn, width=300)) as bar:
        shown = progress._Terminal(bar)
        shown.planned(1, {HOSTILE: 1}, 0)
        shown.started(HOSTILE)
    assert "[bold]" in drawn.getvalue()
    assert all(line.isprintable() for line in drawn.getvalue().splitlines())


def test_a_warning_of_a_library_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from measurebench.cli.printing import plain_warnings

    with plain_warnings():
        warnings.simplefilter("always")
        warnings.warn("a\x1b[2J\nb", UserWarning, stacklevel=1)
    assert capsys.readouterr().err.count("\n") == 1


# --- by syntax: no other module prints, and no other one writes CSV ---

# Each with what it may do itself: its words are its own, or it calls ``for_terminal``.
PRINTING = {"cli/printing.py": "the door", "cli/app.py": "messages", "__main__.py": "one fixed line",
            "core/http_transfer.py": "a line that is written over",
            "engine/submission.py": "why a job of an array ends", "studies/again.py": "what a study's script found",
            "cli/progress.py": "above the bar, that a worker was lost"}  # fmt: skip
CONSOLES = {"cli/printing.py", "cli/progress.py"}
CSV = {"store/csv_text.py", "reporting/subject/study.py", "stats/analyze.py"}  # the latter two digest the text


@cache
def modules() -> dict[str, ast.Module]:
    found = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in found.items()}


@cache
def calls(tree: ast.Module) -> list[str]:
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_no_other_module_prints() -> None:
    others = {
        name: call
        for name, tree in modules().items()
        for call in calls(tree)
        if call in ("print", "typer.echo", "click.echo", "typer.secho", "pprint")
        or call.endswith((".print", "stdout.write", "stderr.write", "console.log"))
    }
    assert set(others) <= set(PRINTING)


def test_no_other_module_opens_a_console_of_rich() -> None:
    found = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich")
    }
    assert found <= CONSOLES


def test_modules_that_print_besides_the_door_print_their_own_words_or_escape() -> None:
    for name in set(PRINTING) - {"cli/printing.py"}:
        for node in ast.walk(modules()[name]):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith((".write", ".echo")):
                continue
            for argument in node.args:
                for part in ast.walk(argument):
                    if isinstance(part, ast.FormattedValue):
                        text = ast.unparse(part.value)
                        sizes = ("self.size / ", "self.total / ")  # in bytes
                        own = text in ("own_version()", "of")
                        assert own or text.startswith(("for_terminal(", *sizes)), (name, text)


def test_no_other_module_writes_csv() -> None:
    found = {name for name, tree in modules().items() for call in calls(tree) if call.endswith(".to_csv")}
    assert found <= CSV
    for name in CSV - {"store/csv_text.py"}:
        inside = [ast.unparse(n) for n in ast.walk(modules()[name]) if isinstance(n, ast.Call)]
        assert sum("to_csv" in call and call.startswith("digest_json(") for call in inside) == 1


def test_commands_hand_json_to_the_door() -> None:
    dumping = {
        name for name, tree in modules().items() if name.startswith("cli/") for call in calls(tree) if "dumps" in call
    }
    assert dumping == {"cli/printing.py"}
