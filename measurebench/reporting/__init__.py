"""Pages, charts and figures from tables and analyses; never torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measurebench.reporting.compare import write_comparison
    from measurebench.reporting.leaderboard import write_leaderboard
    from measurebench.reporting.report import write_report
    from measurebench.reporting.site import write_site

__all__ = ["write_comparison", "write_leaderboard", "write_report", "write_site"]

_HOMES = {
    "write_comparison": "compare",
    "write_leaderboard": "leaderboard",
    "write_report": "report",
    "write_site": "site",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
