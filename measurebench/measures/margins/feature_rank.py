"""Effective rank of the features (Roy and Vetterli 2007)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.features import features
from measurebench.measures.registry import register
from measurebench.measures.uncertainty import grouped_jackknife
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["FeatureRank", "effective_rank"]

_INFO = MeasureInfo(
    id="feature_rank",
    title="Effective rank of the features",
    family="margins",
    unit="1",
    formula="exp(-sum_i q_i log q_i), q_i = s_i / sum_j s_j, s the singular values of the features [n, d]",
    latex=r"\exp\Bigl(-\sum_i q_i \log q_i\Bigr),\quad q_i = \frac{s_i}{\sum_j s_j},"
    r"\quad s\ \text{the singular values of the features}",
    source="Roy and Vetterli 2007, effective rank; of features: Garrido et al. 2023 (RankMe)",
    hypothesis="",
    inputs=("examples",),
    cost="F",
    explanation="How many directions the features use, between 1 and their number.",
    properties=("logit_scale_invariant", "logit_shift_invariant"),
    departures="The features are what the last linear layer reads, not centred. The standard error is that of a"
    " jackknife over 20 groups of examples.",
)


def effective_rank(matrix: Tensor) -> Tensor:
    """Return the exponential of the entropy of the normalised singular values of a matrix [n, d], a scalar.

    It is NaN for a matrix of zeros.

    >>> round(float(effective_rank(torch.eye(4))), 5)
    4.0
    """
    singular = torch.linalg.svdvals(matrix)
    shares = singular / singular.sum()
    entropy: Tensor = torch.special.entr(shares).sum()
    return entropy.exp()


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class FeatureRank:
    """Effective rank of the matrix of features, one row per example."""

    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return _INFO.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the rank.

        Raises UndefinedMeasureError for a network without features, and where all features are zero.
        """
        vectors = features(context, self.examples)
        value = float(effective_rank(vectors))
        if value != value:
            raise UndefinedMeasureError("all features are zero")
        error = grouped_jackknife(lambda kept: float(effective_rank(vectors[kept])), context.keys)
        return MeasureValue(value, error, None, {"n_features": vectors.shape[1]}, context.n)
