"""robustbench is imported with and without ``pkg_resources``, which setuptools no longer has from version 81 on."""

import contextlib
import importlib
import importlib.machinery
import subprocess
import sys
import types
from pathlib import Path

import pytest

from measurebench.core.errors import ModelError
from measurebench.models.robustbench import package

# A package that does at its import what robustbench does: it binds the name and calls it later.
LOADERS = (
    "import pkg_resources\n\ndef place():\n    return pkg_resources.resource_filename(__name__, 'helper/list.txt')\n"
)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package on the path that needs ``pkg_resources``, forgotten again after the test."""
    (tmp_path / "like_robustbench").mkdir()
    (tmp_path / "like_robustbench" / "__init__.py").touch()
    (tmp_path / "like_robustbench" / "loaders.py").write_text(LOADERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("like_robustbench", "like_robustbench.loaders"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "like_robustbench"


def imported() -> types.ModuleType:
    with package._importable():
        return importlib.import_module("like_robustbench.loaders")


def test_without_pkg_resources_a_stand_in_serves_the_import_and_is_gone_afterwards(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "pkg_resources", raising=False)
    with hidden(monkeypatch):
        loaders = imported()
        assert "pkg_resources" not in sys.modules
        with pytest.raises(ImportError):
            importlib.import_module("pkg_resources")
    assert loaders.place() == str(library / "helper" / "list.txt")


@contextlib.contextmanager
def hidden(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Hide an installed ``pkg_resources`` from every finder."""

    class Blocked:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "pkg_resources":
                raise ModuleNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "meta_path", [Blocked(), *sys.meta_path])
        yield


def test_the_stand_in_is_removed_also_when_the_import_fails(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (library / "loaders.py").write_text("import pkg_resources\nraise OSError('half installed')\n")
    monkeypatch.delitem(sys.modules, "pkg_resources", raising=False)
    with hidden(monkeypatch), pytest.raises(OSError, match="half installed"):
        imported()
    assert "pkg_resources" not in sys.modules


def test_a_real_pkg_resources_is_used_and_stays(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = types.ModuleType("pkg_resources")
    vars(real)["resource_filename"] = lambda module, resource: f"real:{module}:{resource}"
    monkeypatch.setitem(sys.modules, "pkg_resources", real)
    assert imported().place() == "real:like_robustbench.loaders:helper/list.txt"
    assert sys.modules["pkg_resources"] is real


def test_the_stand_in_names_the_file_that_the_real_one_names(library: Path) -> None:
    with package._quiet():
        real = pytest.importorskip("pkg_resources", reason="this setuptools has none", exc_type=ImportError)
        loaders = imported()
        assert loaders.place() == real.resource_filename("like_robustbench.loaders", "helper/list.txt")
    assert loaders.place() == package._resource_filename("like_robustbench.loaders", "helper/list.txt")


def test_the_stand_in_has_nothing_else() -> None:
    stand_in = package._pkg_resources()
    assert [name for name in vars(stand_in) if not name.startswith("__")] == ["resource_filename"]


def test_autoattack_is_found_under_the_name_that_robustbench_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("autoattack", "autoattack.state"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with package._importable():
        pass
    assert sys.modules["autoattack"] is importlib.import_module("pyautoattack")
    assert sys.modules["autoattack.state"] is importlib.import_module("pyautoattack.state")


@pytest.mark.slow
def test_robustbench_itself_is_imported_without_pkg_resources() -> None:
    code = (
        "import sys; sys.modules.pop('pkg_resources', None)\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'pkg_resources': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from measurebench.models.robustbench.package import model_entries\n"
        "print(len(model_entries('cifar10', 'Linf')), 'pkg_resources' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    n_entries, left = done.stdout.split()
    assert int(n_entries) >= 76
    assert left == "False"


def test_a_model_that_an_old_copy_lacks_is_answered_with_how_the_copy_may_have_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(package, "model_entries", lambda *_: {})
    with pytest.raises(ModelError, match="has no code for this model$"):
        package.construct("cifar10", "Linf", "New2025")
    found = importlib.machinery.ModuleSpec("torchattacks", None)
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda *_: found)
    with pytest.raises(ModelError, match="torchattacks may have overwritten it .*--force-reinstall robustbench==1.1.1"):
        package.construct("cifar10", "Linf", "New2025")
