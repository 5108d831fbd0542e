"""Kullback-Leibler divergence between the predictions for an image and for its adversarial example."""

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
    """Return KL(p || q) = sum_k p_k (log p_k - log q_k) in nats, [n], for log-probabilities [n, K].

    >>> import torch
    >>> p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]])
    >>> round(float(divergence(p.log(), q.log())), 4)
    0.1438
    """
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


@register(attack="pgd")
@register(attack="tpgd")
@dataclass(frozen=True)
class KLDivergence:
    """Mean divergence between the predictions for an image and for its adversarial example.

    With ``attack="pgd"`` the adversarial examples are the shared PGD examples; with ``"tpgd"`` they maximise the
    divergence itself, as in TRADES.
    """

    attack: Literal["pgd", "tpgd"] = "pgd"
    variant: str = "definition"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of adversarial examples."""
        own = self.attack == "tpgd"
        return MeasureInfo(
            id=f"kl_divergence_{self.attack}",
            title=f"KL divergence ({self.attack.upper()})",
            family="smoothness",
            unit="nats",
            formula="mean_x KL(p(x) || p(x*)) = mean_x sum_k p_k(x) (log p_k(x) - log p_k(x*))",
            latex=r"\frac{1}{n} \sum_x \operatorname{KL}\bigl(p(x) \,\Vert\, p(x^*)\bigr)"
            r" = \frac{1}{n} \sum_x \sum_k p_k(x) \log \frac{p_k(x)}{p_k(x^*)}",
            source="Zhang et al. 2019 (TRADES), regularisation term" + (", with its own attack" if own else ""),
            hypothesis="+",
            inputs=("clean",) if own else ("clean", "pgd"),
            cost="10(F+B)+2F" if own else "shared",
            tier="extended" if own else "core",
            explanation="How much the predicted distribution changes under attack, whether or not the prediction is"
            " correct.",
            properties=("logit_shift_invariant",),
            variants={"reverse": "KL(p(x*) || p(x)), the other direction"},
            departures="The adversarial examples maximise the divergence, from a Gaussian start with standard deviation"
            " 0.001, in 10 steps of a quarter of the radius."
            if own
            else "The adversarial examples maximise the cross-entropy (PGD); those of kl_divergence_tpgd maximise the"
            " divergence.",
        ).as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean divergence over examples; rounding cannot make it negative."""
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
