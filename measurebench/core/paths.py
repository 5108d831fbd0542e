"""Finds the shipped data, inside the installed package or beside it in a checkout, and the user's own folders."""

import os
from pathlib import Path

from measurebench.core.errors import BadInputError

__all__ = ["as_text", "cache_folder", "config_folder", "data_folder"]

_PACKAGE = Path(__file__).resolve().parent.parent


def data_folder(*parts: str) -> Path:
    """Return the path of a folder or file of the shipped data. Raises BadInputError where there is no data at all.

    >>> data_folder("digits", "models.toml").is_file()
    True
    """
    for root in (_PACKAGE / "data", _PACKAGE.parent / "data"):
        if root.is_dir():
            return root.joinpath(*parts)
    raise BadInputError("the shipped data", f"{_PACKAGE / 'data'}", "nothing there", "reinstall measurebench")


def cache_folder() -> Path:
    """Return the folder for downloads: environment variable ``MEASUREBENCH_CACHE``, else the user's cache folder."""
    if chosen := os.environ.get("MEASUREBENCH_CACHE"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("measurebench"))


def config_folder() -> Path:
    """Return the folder of the user's settings: ``MEASUREBENCH_CONFIG``, else the user's configuration folder."""
    if chosen := os.environ.get("MEASUREBENCH_CONFIG"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_config_dir("measurebench"))


def as_text(name: str) -> str:
    r"""Return the name of a file as text that any file and any terminal takes: bytes that are no UTF-8 are escaped.

    >>> as_text("net-\udcff"), as_text("net")
    ('net-\\xff', 'net')
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")
