"""Robust accuracy estimated from logit margins and a small attacked subset (Ngnawe et al. 2024)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from measurebench.core.info import MeasureInfo
from measurebench.core.intervals import Z
from measurebench.measures.context import MeasureContext
from measurebench.measures.outputs import logit_margins
from measurebench.measures.perturbation.input_margin import turned_within
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["EstimatedRobustAccuracy", "best_threshold"]


def best_threshold(margins: Tensor, robust: Tensor) -> float:
    """Return the margin above which images are best called robust, at least 0.

    ``margins`` float64 [m] and ``robust`` bool [m] belong to the attacked images. Of all thresholds half-way between
    neighbouring margins it is the smallest with the fewest errors.

    >>> best_threshold(torch.tensor([0.5, 1.0, 2.0]), torch.tensor([False, False, True]))
    1.5
    """
    order = margins.argsort()
    ordered, right = margins[order].tolist(), robust[order].tolist()
    errors, fewest, cut = len(right) - sum(right), len(right) - sum(right), 0
    for index, is_robust in enumerate(right, start=1):
        errors += 1 if is_robust else -1
        if errors < fewest:
            fewest, cut = errors, index
    if cut == 0:
        return 0.0  # an image on the wrong side of the boundary is never robust
    above = ordered[cut] if cut < len(ordered) else ordered[-1]
    return max(0.0, float(ordered[cut - 1] + above) / 2)


@register()
@dataclass(frozen=True)
class EstimatedRobustAccuracy:
    """Share of images with a large logit margin, corrected by what an attack on a few of them shows.

    The attacked images are those with the smallest keys: ``n_attacked`` of them, at most a quarter of all.
    """

    n_attacked: int = 200
    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="estimated_robust_accuracy",
        title="Robust accuracy estimated from margins",
        family="robustness",
        unit="share",
        formula="mean_x [m > t] + mean_{x in A} ([x robust] - [m > t]), A the attacked images, m the logit margin",
        latex=r"\frac{1}{n} \sum_x \mathbb{1}[m > t]"
        r" + \frac{1}{|A|} \sum_{x \in A} \bigl(\mathbb{1}[x\ \text{robust}] - \mathbb{1}[m > t]\bigr),"
        r"\quad m = z_y - \max_{j \neq y} z_j",
        source="Ngnawe et al. 2024, robust accuracy by margin consistency; the correction and its variance are those of"
        " Angelopoulos et al. 2023 (prediction-powered inference)",
        hypothesis="",
        inputs=("clean",),
        cost="F+2.5(F+B)",
        explanation="Attacks a few images, finds the logit margin that best tells which ones resist, and carries it"
        " over to all images.",
        properties=("logit_scale_invariant", "logit_shift_invariant"),
        departures="200 images are attacked, at most a quarter, by 10 steepest steps on the logit margin. The source"
        " has no correction. The threshold t is chosen on the attacked images, which the standard error leaves out of"
        " account. The diagnostics hold the 95 % interval.",
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the estimate with its standard error; raises UndefinedMeasureError for a single example."""
        if context.n < 2:
            raise UndefinedMeasureError("an estimate from a subset needs two examples or more")
        size = min(self.n_attacked, max(2, context.n // 4))
        index = context.keys.argsort(stable=True)[:size]
        reach = torch.full((size,), context.threat.radius, dtype=torch.float64, device=index.device)
        turned = context.batches.cat(lambda rows: turned_within(context, index[rows], reach[rows]), size)
        margins, correct = logit_margins(context, "clean").cpu(), (context.clean_logits.argmax(1) == context.labels)
        robust = (~turned & correct[index]).cpu()
        threshold = best_threshold(margins[index.cpu()], robust)
        called = (margins > threshold).double()
        return _corrected(called, called[index.cpu()], robust.double(), threshold)


def _corrected(called: Tensor, here: Tensor, robust: Tensor, threshold: float) -> MeasureValue:
    """Return the corrected mean of ``called`` [n], from its values ``here`` [m] and the truth ``robust`` [m]."""
    n, m = len(called), len(here)
    wrong = robust - here
    value = float(called.mean() + wrong.mean())
    covariance = float(torch.cov(torch.stack([here, wrong]))[0, 1])
    variance = float(called.var()) / n + float(wrong.var()) / m + 2 * covariance / n
    error = math.sqrt(max(0.0, variance))
    shown = {
        "low": max(0.0, value - Z * error),
        "high": min(1.0, value + Z * error),
        "threshold": threshold,
        "n_attacked": m,
        "share_above_threshold": float(called.mean()),
        "errors_on_attacked": float(wrong.abs().mean()),
    }
    return MeasureValue(min(1.0, max(0.0, value)), error, None, shown, n)
