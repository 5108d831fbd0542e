"""What installed packages say of themselves: their versions, and the text that describes them."""

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, version

from measurebench.core.errors import BadInputError

__all__ = ["description_of", "installed_version", "own_version"]


@cache
def installed_version(package: str) -> str | None:
    """Return the version of a package, or None where it is not installed.

    >>> installed_version("no-such-package") is None
    True
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def own_version() -> str:
    """Return the version of measurebench, or ``unknown`` where it runs from a folder without being installed."""
    return installed_version("measurebench") or "unknown"


def description_of(package: str) -> str:
    """Return the long description of an installed package, the text that its page on an index shows.

    Raises BadInputError where the package is not installed.
    """
    try:
        found = metadata(package)
    except PackageNotFoundError:
        raise BadInputError(package, "the package installed", "no such package", f"pip install {package}") from None
    return found.get("Description") or str(found.get_payload())  # type: ignore[attr-defined]
