"""Versions and descriptions of installed packages, and of packages that are not there."""

from importlib.metadata import version

import pytest

from measurebench.core import packages
from measurebench.core.errors import BadInputError


def test_an_installed_package_has_its_version_and_another_one_none() -> None:
    assert packages.installed_version("numpy") == version("numpy")
    assert packages.installed_version("no-such-package") is None


def test_the_version_is_unknown_where_measurebench_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "installed_version", lambda _package: None)
    assert packages.own_version() == "unknown"


def test_the_description_of_a_package_is_the_text_of_its_page() -> None:
    assert "scientific computing" in packages.description_of("numpy")


def test_a_package_without_installation_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(BadInputError, match=r"no-such-package: expected the package installed.*pip install no-such-p"):
        packages.description_of("no-such-package")
