"""Margin consistency (Ngnawe et al. 2024): whether the logit margin tells how close the boundary is."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from measurebench.attacks.audit import is_correct
from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.outputs import logit_margins
from measurebench.measures.perturbation.input_margin import input_margins
from measurebench.measures.registry import register
from measurebench.measures.uncertainty import correlation_error
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["MarginConsistency"]

_CHUNK = 1 << 22  # pairs compared at a time: 32 MB for each of the few arrays that compare them


@register()
@dataclass(frozen=True)
class MarginConsistency:
    """Kendall's tau between logit margin and input margin over correctly classified images.

    Input margins beyond ``largest`` times the radius count as equal; those below are found to within
    largest * radius / 2^halvings.
    """

    largest: float = 4.0
    halvings: int = 8
    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="margin_consistency",
        title="Margin consistency",
        family="robustness",
        unit="tau-b",
        formula="tau_b(z_y - max_{j != y} z_j, min {r : an attack of radius r turns x}) over correct x",
        latex=r"\tau_b(m, r),\quad m = z_y - \max_{j \neq y} z_j,"
        r"\quad r\ \text{the smallest radius of an attack that changes the prediction}",
        source="Ngnawe et al. 2024",
        hypothesis="",
        inputs=("clean",),
        cost="90(F+B)+90F",
        tier="new",
        explanation="1 when the logit margin orders images exactly as their distance to the decision boundary does.",
        properties=("logit_scale_invariant", "logit_shift_invariant"),
        departures="The input margin is found by bisection over the radius, with 10 steepest steps on the logit margin"
        " in the threat model's norm, up to 4 radii; the source uses minimum-norm attacks.",
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return tau-b.

        Raises UndefinedMeasureError below three correct images, or where one of the margins is the same for all.
        """
        from scipy.stats import kendalltau

        index = is_correct(context.clean_logits, context.labels).nonzero()[:, 0]
        if len(index) < 3:
            raise UndefinedMeasureError(f"margin consistency needs three correct images, {len(index)} are")
        logit = logit_margins(context, "clean")[index].cpu()
        distance = input_margins(context, index, self.largest * context.threat.radius, self.halvings).cpu()
        if bool((logit == logit[0]).all()) or bool((distance == distance[0]).all()):
            raise UndefinedMeasureError("all images have the same margin, so there is no order to compare")
        tau = float(kendalltau(logit.numpy(), distance.numpy()).statistic)
        mean, error = _projection(logit, distance)
        scale = abs(tau / mean) if mean else 1.0
        return MeasureValue(
            tau,
            None if error is None else error * scale,
            diagnostics={
                "n_correct": len(index),
                "n_beyond": int(distance.isinf().sum()),
                "mean_input_margin": float(distance.clamp_max(self.largest * context.threat.radius).mean()),
            },
            n=context.n,
        )


def _projection(a: Tensor, b: Tensor) -> tuple[float, float | None]:
    """Return tau-a and its standard error from each example's concordance with the others.

    tau-b is tau-a over a factor for ties, which is held fixed.
    """
    n = len(a)
    size = max(1, _CHUNK // n)
    concordance = []
    for start in range(0, n, size):
        rows = slice(start, start + size)
        signs = torch.sign(a[rows, None] - a[None]) * torch.sign(_difference(b[rows, None], b[None]))
        concordance.append(signs.sum(1) / (n - 1))
    each = torch.cat(concordance)
    return float(each.mean()), correlation_error(each)


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """Return a - b, zero between two infinities."""
    return torch.where(a == b, 0.0, a - b)
