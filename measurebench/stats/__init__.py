"""Which measure predicts robust generalization, where, and how surely; on any table, without torch.

``analyze`` judges the measures of a table; ``statistic`` and ``register_statistic`` add a statistic of one's own.
"""

from measurebench.stats.analysis import Analysis, FilterStep
from measurebench.stats.analysis_files import read_analysis, write_analysis
from measurebench.stats.analyze import analyze
from measurebench.stats.judging.claims import judged_claims
from measurebench.stats.judging.paired import Paired, compare_pairs, paired, tiers
from measurebench.stats.statistics.estimates import Estimate, Sample
from measurebench.stats.statistics.registry import (
    Asked,
    Statistic,
    all_statistics,
    find_statistic,
    register_statistic,
    statistic,
)

__all__ = [
    "Analysis",
    "Asked",
    "Estimate",
    "FilterStep",
    "Paired",
    "Sample",
    "Statistic",
    "all_statistics",
    "analyze",
    "compare_pairs",
    "find_statistic",
    "judged_claims",
    "paired",
    "read_analysis",
    "register_statistic",
    "statistic",
    "tiers",
    "write_analysis",
]
