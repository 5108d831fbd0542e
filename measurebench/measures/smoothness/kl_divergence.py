"""Kullback-Leibler divergence between the predictions at an image and near it."""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.outputs import log_probabilities
from measurebench.measures.perturbation.image_ascent import Ascent
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["KLDivergence", "divergence"]


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p || q) = sum_k p_k (log p_k - log q_k) in nats, [n], for log-probabilities [n, K]."""
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


@register(attack="pgd")
@register(attack="tpgd")
@dataclass(frozen=True)
class KLDivergence:
    """Mean divergence of the prediction at the adversarial example from that at the image.

    ``attack`` pgd takes the shared PGD examples; tpgd those that maximise the divergence itself, as TRADES does.
    """

    attack: Literal["pgd", "tpgd"] = "pgd"
    variant: str = "definition"

    @property
    def info(self) -> MeasureInfo:
        """Info for the kind of adversarial examples."""
        own = self.attack == "tpgd"
        return MeasureInfo(
            id=f"kl_divergence_{self.attack}",
            title=f"KL divergence ({self.attack.upper()})",
            family="smoothness",
            unit="nats",
            formula="mean_x KL(p(x) || p(x*)) = mean_x sum_k p_k(x) (log p_k(x) - log p_k(x*))",
            source="Zhang et al. 2019 (TRADES), regularisation term" + (", with its own attack" if own else ""),
            hypothesis="+",
            inputs=("clean",) if own else ("clean", "pgd"),
            cost="10(F+B)+2F" if own else "shared",
            tier="extended" if own else "core",
            explanation="How much the prediction changes under attack, whether it was right or not.",
            properties=("logit_shift_invariant",),
            variants={"reverse": "KL(p(x*) || p(x)), the other direction"},
            departures="The examples maximise the divergence: Gaussian start of deviation 0.001, 10 steps of a quarter"
            " of the radius."
            if own
            else "The adversarial examples are PGD's on the cross-entropy; kl_divergence_tpgd attacks the divergence.",
        ).as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean divergence."""
        clean = log_probabilities(context, "clean")
        attacked = self._own_examples(context) if self.attack == "tpgd" else log_probabilities(context, "pgd")
        pair = (attacked, clean) if self.variant == "reverse" else (clean, attacked)
        return MeasureValue.mean(divergence(*pair).clamp_min(0.0))

    def _own_examples(self, context: MeasureContext) -> Tensor:
        """Return log-probabilities at the examples that maximise the divergence."""

        def examples() -> Tensor:
            clean = F.log_softmax(context.clean_logits, 1)
            points = Ascent("tpgd", start="gaussian")(
                context, lambda rows, x: divergence(clean[rows], F.log_softmax(context.network(x), 1))
            )
            return F.log_softmax(context.forward(points).double(), 1)

        return context.shared("tpgd log probabilities", examples)
