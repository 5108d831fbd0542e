"""What the package says it runs with is what its sessions and its workflow test."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads(PYPROJECT)["project"]
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
PYTHONS = ["3.11", "3.12", "3.13"]


def comment_of(requirement: str) -> str:
    line = next(line for line in PYPROJECT.splitlines() if f'"{requirement}"' in line)
    return line.partition("#")[2].strip()


def test_every_supported_python_is_stated_tested_and_in_the_workflow() -> None:
    stated = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", text)]
    assert stated == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert f"PYTHONS = {PYTHONS}".replace("'", '"') in NOXFILE
    assert f"python: {PYTHONS}".replace("'", '"') in WORKFLOW


def test_every_dependency_has_a_lower_bound_that_can_be_tested() -> None:
    unbounded = [text for text in PROJECT["dependencies"] if not re.search(r"[>=]=\d", text)]
    assert not unbounded


@pytest.mark.parametrize("requirement", [text for text in PROJECT["dependencies"] if re.search(r"==|<", text)])
def test_a_pin_that_excludes_newer_releases_has_its_reason_beside_it(requirement: str) -> None:
    assert len(comment_of(requirement).split()) > 5


def test_torch_and_its_vision_package_may_be_any_pair_from_2_8_on() -> None:
    assert {"torch>=2.8", "torchvision>=0.23"} <= set(PROJECT["dependencies"])
    assert not [text for text in PROJECT["dependencies"] if text.startswith("setuptools")]


def test_a_missing_interpreter_fails_its_session() -> None:
    assert "nox.options.error_on_missing_interpreters = True" in NOXFILE


def test_every_session_that_the_workflow_calls_exists() -> None:
    called = re.findall(r"nox -s (.+)", WORKFLOW.replace("${{ matrix.python }}", PYTHONS[0]))
    named = {name for line in called for name in line.split()}
    sessions = set(re.findall(r"^def (\w+)\(session", NOXFILE, re.MULTILINE))
    assert {name.partition("-")[0] for name in named} <= sessions
    assert {"lint", "layers", "types", "lowest"} <= named
