"""Which measure predicts robust generalization, where, and how surely; on any table, without torch."""

from measurebench.stats.analysis import Analysis, FilterStep
from measurebench.stats.analyze import analyze
from measurebench.stats.files import read_analysis, write_analysis
from measurebench.stats.judging.claims import judged_claims

__all__ = ["Analysis", "FilterStep", "analyze", "judged_claims", "read_analysis", "write_analysis"]
