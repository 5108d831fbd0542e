"""Code that is found at run time is imported once, searched for where a user expects it, and forgotten if it fails."""

import sys
from pathlib import Path

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.importing import import_by_name, import_file, import_submodules, names_on_first_use


@pytest.fixture(autouse=True)
def _unchanged_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


def test_a_file_runs_once_and_finds_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("value = 3\n")
    (tmp_path / "mine.py").write_text("import beside_it\ntimes = [beside_it.value]\n")
    first = import_file(tmp_path / "mine.py", "measurebench_test_mine")
    first.times.append(4)
    assert import_file(tmp_path / "mine.py", "measurebench_test_mine").times == [3, 4]


def test_a_file_that_fails_is_forgotten_and_runs_again(tmp_path: Path) -> None:
    path = tmp_path / "failing.py"
    path.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        import_file(path, "measurebench_test_failing")
    path.write_text("value = 1\n")
    assert import_file(path, "measurebench_test_failing").value == 1


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("value = 1\n")
    with pytest.raises(BadInputError, match=r"expected a Python file NAME.py"):
        import_file(tmp_path / "notes.txt", "measurebench_test_notes")


def test_modules_of_the_current_folder_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_this_folder.py").write_text("value = 5\n")
    monkeypatch.chdir(tmp_path)
    assert import_by_name("of_this_folder", "attack").value == 5


def test_a_module_that_is_not_there_is_named_with_what_asked_for_it() -> None:
    with pytest.raises(BadInputError, match="attack: expected a module that can be imported as 'no_such_module'"):
        import_by_name("no_such_module", "attack")


def test_all_modules_of_a_package_are_imported_those_of_inner_packages_too(tmp_path: Path) -> None:
    inner = tmp_path / "a_package_of_three" / "inner"
    inner.mkdir(parents=True)
    for path in (inner.parent / "__init__.py", inner / "__init__.py", inner.parent / "one.py", inner / "two.py"):
        path.write_text("")
    sys.path.append(str(tmp_path))
    import_submodules("a_package_of_three", [str(inner.parent)])
    assert {"a_package_of_three.one", "a_package_of_three.inner.two"} <= set(sys.modules)


def test_a_public_name_is_imported_when_it_is_first_used(tmp_path: Path) -> None:
    (tmp_path / "late_module.py").write_text("value = 7\n")
    sys.path.append(str(tmp_path))
    find = names_on_first_use("package", {"value": "late_module"})
    assert "late_module" not in sys.modules
    assert find("value") == 7


def test_another_name_is_an_attribute_error_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'other'"):
        names_on_first_use("package", {})("other")
