"""Products and sums of the layers' squared norms, as logarithms."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.weight_blocks import (
    BN_DEPARTURE,
    BN_SUFFIX,
    blocks_of,
    log_sum,
    squared_frobenius,
    squared_spectral,
    weight_value,
)
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["Form", "LayerNorm", "LogLayerNorms", "squared_norms"]

LayerNorm = Literal["fro", "spec"]
Form = Literal["prod", "sum"]
_SYMBOL = {"fro": "||W_l||_F^2", "spec": "sigma_max(W_l)^2"}
_LATEX = {"fro": r"\lVert %s \rVert_F^2", "spec": r"\sigma_{\max}(%s)^2"}
_FOLDED_LATEX = r",\quad \widetilde{W}_l\ \text{after folding batch norm}"
_NAME = {"fro": "Frobenius", "spec": "spectral"}


def squared_norms(context: MeasureContext, norm: LayerNorm, bn: str) -> Tensor:
    """Return the squared norm of every layer, float64 [layers]."""
    return squared_frobenius(blocks_of(context, bn)) if norm == "fro" else squared_spectral(context, bn)


@register(norm="fro", form="prod")
@register(norm="fro", form="sum")
@register(norm="spec", form="prod")
@register(norm="spec", form="sum")
@register(norm="fro", form="prod", bn="fold")
@register(norm="spec", form="prod", bn="fold")
@dataclass(frozen=True)
class LogLayerNorms:
    """Logarithm of the product of squared layer norms, or of d times its d-th root for a network of d layers.

    The spectral norm is taken of the weight as a matrix with one row per output channel. A layer with groups is a
    block diagonal matrix, so its norm is the largest among its blocks.
    """

    norm: LayerNorm
    form: Form
    bn: str = "ignore"

    @property
    def passes_no_image(self) -> bool:
        """Whether the weights alone are read; to fold batch norm takes a pass that finds the layers."""
        return self.bn == "ignore"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for this norm and form."""
        plain = self.bn == "ignore"
        product = f"sum_l log {_SYMBOL[self.norm]}"
        latex = rf"\sum_l \log {_LATEX[self.norm] % ('W_l' if plain else chr(92) + 'widetilde{W}_l')}"
        folded = {"ignore": "", "fold": ", batch norm folded", "layer": ", batch norm as layers"}[self.bn]
        kind = "Product" if self.form == "prod" else "Sum"
        return MeasureInfo(
            id=f"log_{self.form}_of_{self.norm}{BN_SUFFIX[self.bn]}",
            title=f"{kind} of {_NAME[self.norm]} norms{folded} (log)",
            family="weights",
            unit="nats",
            formula=(product if self.form == "prod" else f"log d + (1/d) {product}") + folded,
            latex=(latex if self.form == "prod" else rf"\log d + \frac{{1}}{{d}} {latex}")
            + ("" if plain else _FOLDED_LATEX),
            source=f"Dziugaite et al. 2020, LOG_{self.form.upper()}_OF_{self.norm.upper()}; Neyshabur et al. 2015",
            hypothesis="+",
            inputs=("weights",),
            cost="0" if self.norm == "fro" else "one eigenvalue problem per layer",
            tier="core" if self.form == "prod" and plain else "extended",
            explanation="How much the layers can amplify a signal that passes through them, multiplied over all layers."
            if self.form == "prod"
            else "The typical amplification of one layer (the geometric mean over layers), times the number of layers.",
            properties=("rescale_invariant",),
            departures=BN_DEPARTURE,
        )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the logarithm in nats; there is none if the weight of a layer is zero."""
        squares = squared_norms(context, self.norm, self.bn)
        total = log_sum(squares, list(blocks_of(context, self.bn)))
        depth = len(squares)
        value = total if self.form == "prod" else math.log(depth) + total / depth
        return weight_value(context, value, self.bn)
