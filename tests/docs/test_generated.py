"""The pages that are made from the code say all of it, and every formula and link of a page can be followed."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType

import pytest

import measurebench
from measurebench.cli.app import COMMANDS, run_command_line
from measurebench.core.mathematics import mathml
from tests.docs.guides import DOCS

ROOT = DOCS.parent
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
GENERATED = {DOCS / "reference" / "commands.md", DOCS / "reference" / "python.md"}
FORMULA = re.compile(
    r"\$\$(.+?)\$\$|^```math\n(.+?)\n```$|(?<![\\$\w])\$(?! )([^$\n]+?)(?<! )\$(?!\w)", re.DOTALL | re.MULTILINE
)


def site_module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{name}", DOCS / "_site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(page: Path) -> str:
    """Return a page without code; formulas in fences stay."""
    text = re.sub(r"^```(?!math)\w*\n.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]+`", "", text)


@pytest.fixture(scope="module")
def commands() -> str:
    return str(site_module("commands").commands_page())


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_page_of_the_command_line_has_every_option(commands: str, name: str) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert run_command_line([name, "--help"]) == 0
    section = commands.split(f"\n## {name}\n")[1].split("\n## ")[0]
    options = set(re.findall(r"^  (--[a-z-]+)", printed.getvalue(), re.MULTILINE))
    assert options
    assert {option for option in options if f"`{option}" not in section} == set()


def test_the_page_of_the_python_interface_has_every_public_name() -> None:
    page = site_module("python_page").python_page()
    named = set(re.findall(r"^::: [\w.]+\.(\w+)$", page, re.MULTILINE))
    assert set(measurebench.__all__) <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_formula_of_a_page_can_be_set(page: Path) -> None:
    for block, fence, inline in FORMULA.findall(prose(page)):
        assert mathml(block or fence or inline).startswith("<math")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    broken = [
        link for link in links if (target := (page.parent / link).resolve()) not in GENERATED and not target.exists()
    ]
    assert broken == []


def test_examples_in_docstrings_are_put_into_fences() -> None:
    fenced = site_module("fences").fenced
    assert fenced("Adds.\n\n>>> 1 + 1\n2\n\nMore.") == "Adds.\n\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore."
