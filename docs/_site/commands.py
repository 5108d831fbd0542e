"""The page of the command line, made from what each command's ``--help`` prints."""

import contextlib
import io
import re
from typing import Any

from measurebench.cli.app import COMMANDS, run_command_line

__all__ = ["commands_page"]

_HEAD = """# Command line

This page is generated from the commands: `measurebench COMMAND --help` prints the same.

Exit status: 0 if all went well, 1 if some model or measure failed, 2 for bad input, with one message on standard error,
130 after Ctrl-C. `--json` prints one list of objects.

| command | does |
|---|---|
"""


def commands_page() -> str:
    """Return the page as Markdown."""
    rows = [f"| [`{name}`](#{name}) | {_cell(summary)} |" for name, summary in COMMANDS.items()]
    return _HEAD + "\n".join(rows) + "\n\n" + "\n".join(_section(name) for name in COMMANDS)


def _section(name: str) -> str:
    """Return the section of one command: what it does, how it is called, and a table of what it takes."""
    usage, about, *blocks = _help(name)
    parts = [f"## {name}", "", f"```sh\n{usage}\n```", "", about, ""]
    for title, entries in blocks:
        parts += [
            f"| {title} | meaning |",
            "|---|---|",
            *(f"| `{what}` | {_cell(text)} |" for what, text in entries),
            "",
        ]
    return "\n".join(parts)


def _help(name: str) -> list[Any]:
    """Return what ``measurebench NAME --help`` prints: usage, description, and the entries of each block."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_command_line([name, "--help"])
    head, *blocks = re.split(r"^(Arguments|Options):\n", printed.getvalue(), flags=re.MULTILINE)
    usage, _, about = head.strip().partition("\n\n")
    described = "\n\n".join(_joined(paragraph.split("\n")) for paragraph in about.split("\n\n"))
    entries = [
        (title.lower().rstrip("s"), _entries(body)) for title, body in zip(blocks[::2], blocks[1::2], strict=True)
    ]
    return [_joined(usage.removeprefix("Usage: ").split("\n")), described, *entries]


def _entries(body: str) -> list[tuple[str, str]]:
    """Return name and text of each entry: it begins at the third column, and further lines are indented deeper."""
    found: list[list[str]] = []
    for line in body.rstrip().split("\n"):
        if re.match(r"  \S", line):
            what, _, text = line.strip().partition("  ")
            found.append([what, text])
        elif line.strip():
            found[-1].append(line)
    return [(what, _joined(lines)) for what, *lines in found]


def _joined(lines: list[str]) -> str:
    """Return lines as one; a word that was broken at its hyphen becomes whole."""
    return re.sub(r"(?<=[a-z]-) (?=[a-z])", "", " ".join(line.strip() for line in lines if line.strip()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
