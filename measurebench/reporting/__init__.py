"""Writes pages, charts and figures from tables and analyses. Never imports torch."""

from typing import TYPE_CHECKING

from measurebench.core.importing import names_on_first_use

if TYPE_CHECKING:
    from measurebench.reporting.comparison.comparison_page import write_comparison
    from measurebench.reporting.leaderboard.leaderboard_page import write_leaderboard
    from measurebench.reporting.leaderboard.own_page import write_own_leaderboard
    from measurebench.reporting.site.site_pages import write_site
    from measurebench.reporting.study.report import write_report

__all__ = ["write_comparison", "write_leaderboard", "write_own_leaderboard", "write_report", "write_site"]

_HOMES = {
    "write_comparison": ".comparison.comparison_page",
    "write_leaderboard": ".leaderboard.leaderboard_page",
    "write_own_leaderboard": ".leaderboard.own_page",
    "write_report": ".study.report",
    "write_site": ".site.site_pages",
}

__getattr__ = names_on_first_use(__name__, _HOMES)
