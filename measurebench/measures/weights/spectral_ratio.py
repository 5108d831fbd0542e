"""The sum of the layers' stable ranks, and the spectral distance to initialisation."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.layers import squared_spectral_norms
from measurebench.measures.network.weight_blocks import (
    Blocks,
    blocks_of,
    initial_blocks,
    squared_frobenius,
    squared_spectral,
    weight_value,
)
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["DistSpecInit", "FroOverSpec", "ratio_to_spectral", "way_from_start"]


def ratio_to_spectral(context: MeasureContext, blocks: Blocks) -> float:
    """Return sum_l ||A_l||_F^2 / sigma_max(W_l)^2 for matrices A_l, in the order of the network's layers W_l.

    Raises UndefinedMeasureError if a weight W_l is zero.
    """
    spectral: Tensor = squared_spectral(context, "ignore")
    for name, square in zip(blocks, spectral.tolist(), strict=True):
        if square == 0:
            raise UndefinedMeasureError(f"the weight of layer {name!r} is zero, so its stable rank does not exist")
    return float((squared_frobenius(blocks) / spectral).sum())


def way_from_start(context: MeasureContext) -> Blocks:
    """Return W_l - W_l^0 for every layer; undefined if the initial weights are not known."""
    start = initial_blocks(context)
    return {name: block - start[name] for name, block in blocks_of(context, "ignore").items()}


@register()
@dataclass(frozen=True)
class FroOverSpec:
    """Sum of the layers' stable ranks."""

    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="fro_over_spec",
        title="Sum of stable ranks",
        family="weights",
        unit="ranks",
        formula="sum_l ||W_l||_F^2 / sigma_max(W_l)^2",
        latex=r"\sum_l \frac{\lVert W_l \rVert_F^2}{\sigma_{\max}(W_l)^2}",
        source="Dziugaite et al. 2020, FRO_OVER_SPEC",
        hypothesis="+",
        inputs=("weights",),
        cost="one eigenvalue problem per layer",
        explanation="The number of directions in which the layers act strongly: 1 for a layer of rank one, the full"
        " rank for an orthogonal one.",
        properties=("rescale_invariant",),
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the sum of stable ranks."""
        return weight_value(context, ratio_to_spectral(context, blocks_of(context, "ignore")))


@register()
@dataclass(frozen=True)
class DistSpecInit:
    """Sum over layers of the squared spectral norm of the difference from the initial weights."""

    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="dist_spec_init",
        title="Spectral distance to initialisation",
        family="weights",
        unit="weight^2",
        formula="sum_l sigma_max(W_l - W_l^0)^2",
        latex=r"\sum_l \sigma_{\max}(W_l - W_l^0)^2",
        source="Dziugaite et al. 2020, DIST_SPEC_INIT",
        hypothesis="+",
        inputs=("weights", "initial_weights"),
        cost="one eigenvalue problem per layer",
        explanation="How far training moved each layer from its initial weights, in the direction that moved most.",
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the sum over layers; undefined if the initial weights are not known."""
        squares = [squared_spectral_norms(block).amax() for block in way_from_start(context).values()]
        return weight_value(context, float(sum(squares)))
