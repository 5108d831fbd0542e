"""Writes pages, charts and figures from tables and analyses. Never imports torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measurebench.reporting.comparison.comparison_page import write_comparison
    from measurebench.reporting.leaderboard.leaderboard_page import write_leaderboard
    from measurebench.reporting.site.site_pages import write_site
    from measurebench.reporting.study.report import write_report

__all__ = ["write_comparison", "write_leaderboard", "write_report", "write_site"]

_HOMES = {
    "write_comparison": "comparison.comparison_page",
    "write_leaderboard": "leaderboard.leaderboard_page",
    "write_report": "study.report",
    "write_site": "site.site_pages",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
