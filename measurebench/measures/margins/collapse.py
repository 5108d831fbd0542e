"""Neural collapse (Papyan et al. 2020): the variability of features within classes, beside that between them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.features import class_means, features
from measurebench.measures.registry import register
from measurebench.measures.uncertainty import grouped_jackknife
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["NeuralCollapse", "within_over_between"]

# Directions in which class means differ by less than this share of the largest difference are rounding, not signal.
_RANK = 1e-6

_INFO = MeasureInfo(
    id="neural_collapse",
    title="Neural collapse (NC1)",
    family="margins",
    unit="1",
    formula="Tr(S_W S_B^+) / K, S_W = mean_x (h - mu_y)(h - mu_y)^T, S_B = mean_k (mu_k - mu)(mu_k - mu)^T",
    latex=r"\frac{1}{K} \operatorname{Tr}(\Sigma_W \Sigma_B^{+}),"
    r"\quad \Sigma_W = \frac{1}{n} \sum_x (h - \mu_y)(h - \mu_y)^{\top},"
    r"\quad \Sigma_B = \frac{1}{K} \sum_k (\mu_k - \bar{\mu})(\mu_k - \bar{\mu})^{\top}",
    source="Papyan et al. 2020, NC1",
    hypothesis="+",
    inputs=("examples",),
    cost="F",
    explanation="Near zero when the features h of each class have collapsed to their mean mu.",
    properties=("logit_scale_invariant", "logit_shift_invariant"),
    departures="The features are what the last linear layer reads. The overall mean is the mean of the class means,"
    " and K counts the classes that occur. The standard error is that of a jackknife over 20 groups of examples.",
)


def within_over_between(vectors: Tensor, classes: Tensor, n_classes: int) -> Tensor:
    """Return Tr(S_W S_B^+) / K for vectors [n, d] and classes [n], a scalar; NaN where the class means do not differ.

    No matrix [d, d] is formed: S_B^+ follows from the singular vectors of the centred class means.
    """
    means, member, sizes = class_means(vectors, classes, n_classes)
    _, singular, directions = torch.linalg.svd(means - means.mean(0), full_matrices=False)
    # a class fewer than there are: the centred means add up to zero
    kept = (singular > _RANK * singular.amax()) & (torch.arange(len(singular), device=means.device) < len(sizes) - 1)
    along = (vectors - means[member]) @ directions.mT
    within = along.square().mean(0)
    terms = torch.where(kept, within / singular.square(), 0.0)
    return torch.where(kept.any(), terms.sum(), torch.nan)  # the K of S_B cancels that of the definition


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class NeuralCollapse:
    """Variability of the features within classes, in units of that between the class means."""

    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return _INFO.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return NC1.

        Raises UndefinedMeasureError for a network without features, and where the class means do not differ.
        """
        vectors, labels, n_classes = features(context, self.examples), context.labels, context.n_classes
        value = float(within_over_between(vectors, labels, n_classes))
        if value != value:
            raise UndefinedMeasureError("the mean features of the classes do not differ")

        def without(kept: Tensor) -> float:
            return float(within_over_between(vectors[kept], labels[kept], n_classes))

        return MeasureValue(value, grouped_jackknife(without, context.keys), None, {}, context.n)
