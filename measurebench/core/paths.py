"""Where the shipped data lies: inside the installed package, or beside it in a checkout."""

import os
from pathlib import Path

from measurebench.core.errors import BadInputError

__all__ = ["cache_folder", "data_folder"]

_PACKAGE = Path(__file__).resolve().parent.parent


def data_folder(*parts: str) -> Path:
    """Return a folder or file of the shipped data, such as ``data_folder("digits", "models.toml")``."""
    for root in (_PACKAGE / "data", _PACKAGE.parent / "data"):
        if root.is_dir():
            return root.joinpath(*parts)
    raise BadInputError("the shipped data", f"{_PACKAGE / 'data'}", "nothing there", "reinstall measurebench")


def cache_folder() -> Path:
    """Return the folder for downloads: ``MEASUREBENCH_CACHE``, or the user's cache folder."""
    if chosen := os.environ.get("MEASUREBENCH_CACHE"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("measurebench"))
