"""The code of third-party measures in records: kept with every value, and compared before a value is reused."""

from collections.abc import Iterable, Mapping

from measurebench.core.records import Diagnostic
from measurebench.measures.registry import Measure, origin_of_measure

__all__ = ["ORIGIN_KEYS", "made_by", "origin_entry", "origins_of"]

ORIGIN_KEYS = ("origin", "origin_sha256")
"""The diagnostics that name the code of a third-party measure."""


def origin_entry(measure: Measure) -> dict[str, Diagnostic]:
    """Return the diagnostics that name the code of a third-party measure; none for a built-in one.

    ``origin`` is the package with its version, or the file; ``origin_sha256`` the digest of the file that defines it.
    """
    origin = origin_of_measure(measure)
    return {} if origin.is_built_in else dict(zip(ORIGIN_KEYS, (str(origin), origin.sha256), strict=True))


def origins_of(measures: Iterable[Measure]) -> dict[str, dict[str, Diagnostic]]:
    """Return the diagnostics that name the code of each measure, by id."""
    return {item.info.id: origin_entry(item) for item in measures}


def made_by(
    measure: str, diagnostics: Mapping[str, Diagnostic], origins: Mapping[str, Mapping[str, Diagnostic]]
) -> bool:
    """Tell whether a record of a measure is of the code that ``origins`` says of it, or of a measure not among them."""
    told = {key: diagnostics[key] for key in ORIGIN_KEYS if key in diagnostics}
    return measure not in origins or told == origins[measure]
