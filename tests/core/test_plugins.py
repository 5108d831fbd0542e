import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from measurebench.core import plugins
from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError
from measurebench.core.origins import Origin
from measurebench.core.plugins import (
    PluginWarning,
    broken_plugins,
    has_plugins,
    load_entry_points,
    load_plugin,
    load_plugins,
    plugin_files,
)
from measurebench.core.registry import Registry


class Thing:
    def __init__(self, name: str = "thing") -> None:
        self.name = name


class Other(Thing):
    pass


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins as a new process does: nothing loaded, no file run."""
    for name, empty in (("_loaded", set()), ("_broken", []), ("_files", {})):
        monkeypatch.setattr(plugins, name, empty)
    monkeypatch.setattr(sys, "path", list(sys.path))


def declared(monkeypatch: pytest.MonkeyPatch, folder: Path, **values: str) -> None:
    """Make entry points of the kind ``things`` visible, whose modules lie in a folder."""
    monkeypatch.syspath_prepend(str(folder))
    points = [EntryPoint(name, value, "measurebench.things") for name, value in values.items()]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == "measurebench.things" else [])


def load(registry: Registry[Any]) -> None:
    load_entry_points("things", registry, lambda thing: str(thing.name))


def test_an_entry_point_that_names_an_object_registers_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    registry: Registry[Thing] = Registry("thing")
    declared(monkeypatch, tmp_path, instance=f"{__name__}:INSTANCE", kind=f"{__name__}:Other")
    load(registry)
    assert registry["instance"] is INSTANCE
    assert isinstance(registry["thing"], Other)
    assert registry.origin("thing").sha256 == digest_file(Path(__file__))


INSTANCE = Thing("instance")


def test_an_object_that_its_module_registered_is_not_registered_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry: Registry[Thing] = Registry("thing")
    registry.add("instance", INSTANCE)
    declared(monkeypatch, tmp_path, instance=f"{__name__}:INSTANCE", kind=f"{__name__}:Thing")
    load(registry)
    assert list(registry) == ["instance"]


def test_a_broken_package_is_named_once_and_the_others_are_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_thing.py").write_text("import a_package_that_is_not_there\n")
    registry: Registry[Thing] = Registry("thing")
    declared(monkeypatch, tmp_path, bad="broken_thing", good=f"{__name__}:INSTANCE")
    with pytest.warns(PluginWarning, match="'bad = broken_thing'.*a_package_that_is_not_there") as caught:
        load(registry)
    assert len(caught) == 1
    assert "instance" in registry
    assert [failure.entry_point for failure in broken_plugins()] == ["bad = broken_thing"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(registry)


def test_a_package_that_exits_when_imported_does_not_end_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "exiting_thing.py").write_text("raise SystemExit(3)\n")
    declared(monkeypatch, tmp_path, bad="exiting_thing")
    with pytest.warns(PluginWarning, match="SystemExit: 3"):
        load(Registry("thing"))


def test_a_package_that_takes_a_built_in_name_is_refused_with_both_origins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry: Registry[Any] = Registry("thing")
    registry.add("instance", 1, Origin("measurebench"))
    declared(monkeypatch, tmp_path, mine=f"{__name__}:INSTANCE")
    message = r"thing 'instance' is registered twice: by measurebench and by test_plugins\.py \(SHA-256"
    with pytest.warns(PluginWarning, match=message):
        load(registry)
    assert registry["instance"] == 1


def test_an_object_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    declared(monkeypatch, tmp_path, path="pathlib:PurePath")
    with pytest.warns(
        PluginWarning, match="are not available: TypeError: expected a module, or an object that is a thing"
    ):
        load_entry_points("things", Registry("thing"), lambda thing: str(thing.no_such_field))


def test_what_a_file_defines_has_the_file_s_digest(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("VALUE = 1\n")
    origin = load_plugin(file)
    assert origin == Origin(file=str(file.resolve()), sha256=digest_file(file))
    assert plugin_files() == (file.resolve(),)
    assert has_plugins("things")


def test_a_file_is_run_once(tmp_path: Path) -> None:
    file = tmp_path / "counting.py"
    file.write_text("from pathlib import Path\nwith Path(__file__).with_suffix('.txt').open('a') as f: f.write('x')\n")
    load_plugins([file, file, tmp_path / "." / "counting.py"])
    assert (tmp_path / "counting.txt").read_text() == "x"


def test_a_file_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_the_plugin.py").write_text("VALUE = 1\n")
    (tmp_path / "importing.py").write_text("from beside_the_plugin import VALUE\n")
    load_plugin(tmp_path / "importing.py")
    assert sys.modules["beside_the_plugin"].VALUE == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.py", None, "expected a Python file NAME.py, got no such file"),
        ("notes.txt", "hello", "expected a Python file NAME.py, got another file"),
        ("raising.py", "1 / 0", "expected a Python file that runs, got ZeroDivisionError"),
        ("exiting.py", "raise SystemExit(1)", "expected a Python file that runs, got SystemExit"),
        ("wrong.py", "def", "expected a Python file that runs, got SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_run_is_an_error_in_words(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(BadInputError, match=message):
        load_plugin(tmp_path / name)
    assert plugin_files() == ()


def test_plugins_are_found_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from measurebench.core.plugins import has_plugins; has_plugins('x')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
