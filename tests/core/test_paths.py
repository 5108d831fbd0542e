from pathlib import Path

import pytest

from measurebench.core import paths
from measurebench.core.errors import BadInputError


def test_shipped_data_is_found() -> None:
    assert paths.data_folder("digits", "split.json").is_file()


def test_data_inside_the_package_comes_before_data_beside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "measurebench")
    (tmp_path / "data").mkdir()
    assert paths.data_folder("digits") == tmp_path / "data" / "digits"
    (tmp_path / "measurebench" / "data").mkdir(parents=True)
    assert paths.data_folder("digits") == tmp_path / "measurebench" / "data" / "digits"


def test_missing_data_is_an_error_that_says_where_it_belongs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "measurebench")
    with pytest.raises(BadInputError, match="got nothing there; reinstall measurebench"):
        paths.data_folder()


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEASUREBENCH_CACHE", "~/somewhere")
    assert paths.cache_folder() == Path.home() / "somewhere"
    monkeypatch.delenv("MEASUREBENCH_CACHE")
    assert paths.cache_folder().name == "measurebench"
