"""Certified radius by randomised smoothing (Cohen et al. 2019): Monte Carlo with a confidence bound."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from measurebench.attacks import noise
from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["CertifiedRadius", "lower_bound"]


def lower_bound(counts: Tensor, n: int, alpha: float) -> Tensor:
    """Return the lower end of the one-sided Clopper-Pearson interval for counts [m] of n, float64 [m] on the CPU.

    >>> round(float(lower_bound(torch.tensor([1000]), 1000, 0.001)), 6) == round(0.001 ** (1 / 1000), 6)
    True
    """
    from scipy.stats import beta

    k = counts.cpu().double().numpy()
    bound = torch.from_numpy(beta.ppf(alpha, k, n - k + 1))
    return bound.nan_to_num(0.0)  # at a count of 0 the distribution is not defined and the bound is 0


@register()
@dataclass(frozen=True)
class CertifiedRadius:
    """Mean L2 radius certified around each image for the network smoothed by Gaussian noise.

    A tenth of ``n_draws``, drawn besides, selects the class; ``sigma`` and ``alpha`` are those of Cohen et al. 2019.
    """

    sigma: float = 0.25
    alpha: float = 0.001
    n_draws: int = 500
    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="certified_radius",
        title="Average certified radius",
        family="robustness",
        unit="pixel units (L2)",
        formula="mean_x [c = y] sigma max(0, Phi^-1(p)), p a 99.9 % lower bound of P(f(x + u) = c), u ~ N(0, sigma^2)",
        latex=r"\frac{1}{n} \sum_x \mathbb{1}[c = y]\, \sigma \max(0, \Phi^{-1}(\underline{p})),"
        r"\quad \underline{p} \le \mathbb{P}\bigl(\hat{y}(x + u) = c\bigr),\quad u \sim \mathcal{N}(0, \sigma^2 I)",
        source="Cohen et al. 2019, algorithm CERTIFY with Clopper-Pearson bounds; Zhai et al. 2020, average certified"
        " radius",
        hypothesis="-",
        inputs=("clean",),
        cost="550F",
        explanation="The L2 radius within which the smoothed network provably keeps the label, with probability 99.9 %"
        " for each image; 0 where it abstains or is wrong.",
        properties=("logit_scale_invariant", "logit_shift_invariant"),
        departures="500 draws to certify and 50 to select the class, where the source takes 100,000 and 100, so that no"
        " radius exceeds 2.2 sigma. sigma is 0.25. Noisy images are not clipped.",
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean radius; the shares of abstentions and of certified images are diagnostics."""
        n_selection = max(1, self.n_draws // 10)
        chosen = self._counts(context, "selection", n_selection).argmax(1)
        counts = self._counts(context, "certification", self.n_draws).gather(1, chosen[:, None])[:, 0]
        bound = lower_bound(counts, self.n_draws, self.alpha)
        radius = self.sigma * torch.special.ndtri(bound.clamp_min(0.5))  # 0 where the bound is a half or less
        right = (chosen == context.labels).cpu()
        return MeasureValue.mean(
            radius * right,
            abstained=float((bound <= 0.5).double().mean()),
            certified=float(((bound > 0.5) & right).double().mean()),
        )

    def _counts(self, context: MeasureContext, purpose: str, n_draws: int) -> Tensor:
        """Return how often each class is predicted under noise, int64 [n, K]."""

        def run(rows: slice) -> Tensor:
            images, keys = context.images[rows], context.keys[rows]
            counts = torch.zeros(len(images), context.n_classes, dtype=torch.int64, device=images.device)
            for draw in range(n_draws):
                stream = (context.settings.seed, "smoothing", purpose, draw)
                moved = images + self.sigma * noise.normal(keys, images.shape[1:], *stream, dtype=images.dtype)
                counts += F.one_hot(context.network(moved).argmax(1), context.n_classes)
            return counts

        with torch.no_grad():
            return context.batches.cat(run, context.n)
