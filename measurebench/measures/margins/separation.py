"""How well features separate the classes: the Davies-Bouldin index and the robustness difference index (RDI)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.features import class_means, features
from measurebench.measures.registry import register
from measurebench.measures.uncertainty import grouped_jackknife
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["FeatureSeparation", "davies_bouldin", "difference_index"]

Index = Literal["davies_bouldin", "rdi"]


def _spread(vectors: Tensor, classes: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Return the class means [k, d] and the mean distance of each class's vectors to its mean, [k]."""
    means, member, sizes = class_means(vectors, classes, n_classes)
    distances = (vectors - means[member]).norm(dim=1)
    return means, torch.zeros_like(sizes).index_add_(0, member, distances) / sizes


def davies_bouldin(vectors: Tensor, classes: Tensor, n_classes: int) -> Tensor:
    """Return mean_i max_{j != i} (s_i + s_j) / d_ij for vectors [n, d] and classes [n], a scalar.

    It is infinite where two class means are the same, and NaN for a single class.
    """
    means, spread = _spread(vectors, classes, n_classes)
    if len(means) < 2:
        return torch.tensor(torch.nan)
    # by differences: a matrix product would lose the digits of close means
    apart = (means[:, None] - means[None]).norm(dim=2)
    apart.fill_diagonal_(torch.inf)
    worst: Tensor = ((spread[:, None] + spread[None]) / apart).amax(1)
    return worst.mean()


def difference_index(vectors: Tensor, classes: Tensor, n_classes: int) -> Tensor:
    """Return (inter - intra) / max(inter, intra) for vectors [n, d] and classes [n], a scalar; NaN for one class."""
    means, spread = _spread(vectors, classes, n_classes)
    if len(means) < 2:
        return torch.tensor(torch.nan)
    inter, intra = (means - means.mean(0)).norm(dim=1).mean(), spread.mean()
    index: Tensor = (inter - intra) / torch.maximum(inter, intra)
    return index


_INDICES: Mapping[Index, Callable[[Tensor, Tensor, int], Tensor]] = {
    "davies_bouldin": davies_bouldin,
    "rdi": difference_index,
}
_DAVIES_BOULDIN = MeasureInfo(
    id="davies_bouldin",
    title="Davies-Bouldin index of the features",
    family="margins",
    unit="1",
    formula="mean_i max_{j != i} (s_i + s_j) / ||mu_i - mu_j||_2",
    latex=r"\frac{1}{K} \sum_i \max_{j \neq i} \frac{s_i + s_j}{\lVert \mu_i - \mu_j \rVert_2},"
    r"\quad s_i = \frac{1}{n_i} \sum_{y = i} \lVert h - \mu_i \rVert_2",
    source="Davies and Bouldin 1979; of hidden features as a measure of generalization: Natekar and Sharma 2020",
    hypothesis="+",
    inputs=("examples",),
    cost="F",
    explanation="Large when the features h of a class, with mean mu, spread far beside the distance to the mean of"
    " another class. The features are what the last linear layer reads.",
    properties=("logit_scale_invariant", "logit_shift_invariant"),
    departures="The standard error is that of a jackknife over 20 groups of examples.",
)
_RDI = MeasureInfo(
    id="rdi",
    title="Robustness difference index",
    family="margins",
    unit="1",
    formula="(inter - intra) / max(inter, intra), inter = mean_i ||mu_i - mean mu||_2, intra = mean_i s_i",
    latex=r"\frac{D - S}{\max(D, S)},\quad D = \frac{1}{K} \sum_i \lVert \mu_i - \bar{\mu} \rVert_2,"
    r"\quad S = \frac{1}{K} \sum_i \frac{1}{n_i} \sum_{y = i} \lVert h - \mu_i \rVert_2",
    source="Song et al. 2025 (RDI), from the distances within and between classes",
    hypothesis="-",
    inputs=("examples",),
    cost="F",
    explanation="Between -1 and 1: positive when the mean features mu of the classes lie farther from their"
    " centre than the features h lie from the mean of their class.",
    properties=("logit_scale_invariant", "logit_shift_invariant"),
    departures="The features are what the last linear layer reads, and the classes are the labels. The standard error"
    " is that of a jackknife over 20 groups of examples.",
)


@register(index="davies_bouldin", examples="clean")
@register(index="davies_bouldin", examples="pgd")
@register(index="rdi", examples="clean")
@register(index="rdi", examples="pgd")
@dataclass(frozen=True)
class FeatureSeparation:
    """An index of how far the features of the classes lie apart, beside their spread within the classes."""

    index: Index = "davies_bouldin"
    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the index and the kind of examples."""
        return (_DAVIES_BOULDIN if self.index == "davies_bouldin" else _RDI).on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the index.

        Raises UndefinedMeasureError for a network without features, and where there is a single class.
        """
        vectors, labels, n_classes = features(context, self.examples), context.labels, context.n_classes
        index = _INDICES[self.index]
        value = float(index(vectors, labels, n_classes))
        if math.isnan(value):
            raise UndefinedMeasureError("all examples have the same label, so no classes can be told apart")
        error = grouped_jackknife(lambda kept: float(index(vectors[kept], labels[kept], n_classes)), context.keys)
        return MeasureValue(value, error, None, {}, context.n).checked()
