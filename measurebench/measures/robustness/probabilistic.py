"""Probabilistic robustness (Robey et al. 2022): the accuracy under uniform noise in the threat model's ball."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from measurebench.attacks.starts import keyed_start
from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["ProbabilisticRobustness"]


@register()
@dataclass(frozen=True)
class ProbabilisticRobustness:
    """Mean share of uniform draws from the ball around an image that are classified as its label."""

    n_draws: int = 100
    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="probabilistic_robustness",
        title="Probabilistic robustness",
        family="robustness",
        unit="share",
        formula="mean_x P(f(x + u) = y), u uniform in {||u|| <= eps}",
        latex=r"\frac{1}{n} \sum_x \mathbb{P}\bigl(\hat{y}(x + u) = y\bigr),"
        r"\quad u\ \text{uniform in}\ \lVert u \rVert \le \varepsilon",
        source="Robey et al. 2022, probabilistic robustness; Webb et al. 2019, its statistical assessment",
        hypothesis="-",
        inputs=("clean",),
        cost="100F",
        explanation="The accuracy on random images of the threat model's ball: how often noise, not an attack, leaves"
        " the label.",
        properties=("logit_scale_invariant", "logit_shift_invariant"),
        departures="A mean of probabilities; the source also asks for the share of images whose probability reaches"
        " 1 - rho, which is a diagnostic for rho = 0.05. Noisy images are clipped to [0, 1].",
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean share; with its standard error over images, which holds that of the draws."""
        norm, radius, seed = context.threat.norm, context.threat.radius, context.settings.seed

        def run(rows: slice) -> Tensor:
            images, keys, labels = context.images[rows], context.keys[rows], context.labels[rows]
            hits = torch.zeros(len(images), dtype=torch.float64, device=images.device)
            for draw in range(self.n_draws):
                points = keyed_start("uniform", images, keys, norm, radius, seed, "probabilistic robustness", draw)
                hits += context.network(points).argmax(1) == labels
            return hits / self.n_draws

        with torch.no_grad():
            shares = context.batches.cat(run, context.n)
        return MeasureValue.mean(shares, share_at_95_percent=float((shares >= 0.95).double().mean()))
