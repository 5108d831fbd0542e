"""Constrained margin (Mouton et al. 2023): the distance to the boundary inside the subspace of the data."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from measurebench.core.info import MeasureInfo
from measurebench.core.threat import Norm
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.minimum_norm import MinimumNorm
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["SubspaceMargin", "principal_directions"]


def principal_directions(points: Tensor, explained: float) -> Tensor:
    """Return the fewest principal directions [d, k] that hold a share of the variance of points [n, d].

    There are none, k = 0, if the points do not vary.

    >>> principal_directions(torch.tensor([[0.0, 0.0], [0.0, 2.0]]), 0.9).shape
    torch.Size([2, 1])
    """
    _, singular, directions = torch.linalg.svd(points - points.mean(0), full_matrices=False)
    share = singular.square().cumsum(0) / singular.square().sum()
    # 1e-9: a share that is reached up to rounding is reached
    n_directions = int((share < explained - 1e-9).sum()) + 1 if float(singular.amax()) > 0 else 0
    leading: Tensor = directions[:n_directions].mT
    return leading


@register()
@dataclass(frozen=True)
class SubspaceMargin:
    """Mean L2 distance to the boundary along the leading principal directions of the images."""

    explained: float = 0.95
    n_steps: int = 30
    halvings: int = 12
    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="subspace_margin",
        title="Constrained margin in the data subspace",
        family="margins",
        unit="pixel units (L2)",
        formula="mean_x min {||d||_2 : f(x + d) != y, d in the span of the leading principal directions}",
        latex=r"\frac{1}{n} \sum_x \min \{\lVert d \rVert_2 : \hat{y}(x + d) \neq y,\ d \in \operatorname{span} V\},"
        r"\quad V\ \text{the leading principal directions of the images}",
        source='Mouton et al. 2023, "Input margins can predict generalization too", constrained margins',
        hypothesis="-",
        inputs=("clean",),
        cost="30(F+B)+12F",
        explanation="How far an image has to move among the directions in which images vary, before the prediction"
        " changes; 0 for a misclassified image.",
        properties=("logit_scale_invariant", "logit_shift_invariant"),
        departures="The directions are the fewest that explain 95 % of the variance of the images measured, not those"
        " up to the elbow. The search is that of min_distance, without the box [0, 1], which would leave the"
        " subspace. Images for which nothing is found are left out.",
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean margin.

        Raises UndefinedMeasureError if the images do not vary, or no image has a margin.
        """
        images = context.images
        # the variance is that in float64 of the same pixels, so that as many directions are kept in either precision
        basis = principal_directions(images.flatten(1).double(), self.explained).to(images)
        if basis.shape[1] == 0:
            raise UndefinedMeasureError("the images do not vary, so they span no subspace")
        attack = MinimumNorm(Norm.L2, self.n_steps, self.halvings, basis)
        found = context.batches.cat(lambda rows: attack(context.network, images[rows], context.labels[rows]), context.n)
        finite = found.isfinite()
        if not bool(finite.any()):
            raise UndefinedMeasureError("no change in the data subspace turns a prediction")
        return MeasureValue.mean(found[finite], n_directions=basis.shape[1], n_not_found=int((~finite).sum()))
