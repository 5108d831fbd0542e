"""The number of weights, their Euclidean norm, and their distance to the initial weights."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.lengths import squared_distance
from measurebench.measures.network.weight_blocks import (
    blocks_of,
    initial_layers,
    layers_of,
    squared_frobenius,
    weight_value,
)
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["EuclideanNorm", "NumParams", "Size"]


@register()
@dataclass(frozen=True)
class NumParams:
    """Number of parameters; tied parameters count once.

    Parameters that need no gradient count too: every network is measured with frozen weights, so that the flag says
    nothing of how it was trained.
    """

    variant: str = "definition"
    passes_no_image: ClassVar[bool] = True

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the definition or a variant."""
        return MeasureInfo(
            id="num_params",
            title="Number of parameters",
            family="weights",
            unit="parameters",
            formula="sum_t |t| over all trainable tensors t",
            latex=r"\sum_t \lvert t \rvert,\quad t\ \text{trainable},\ \lvert t \rvert\ \text{its number of entries}",
            source="Jiang et al. 2020, eq. 20 (counting)",
            hypothesis="+",
            inputs=("weights",),
            cost="0",
            tier="core",
            explanation="Size of the network. It is constant within one architecture and can predict nothing there.",
            properties=("rescale_invariant",),
            variants={"reference": "counts the weights of convolutions and linear layers only"},
        ).as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the count over all parameters, or for the variant ``reference`` over the weight layers alone."""
        if self.variant == "reference":
            return weight_value(context, float(sum(layer.weight.numel() for layer in layers_of(context))))
        return MeasureValue(float(sum(value.numel() for value in context.parameters.values())), n=0)


Size = Literal["euclid_norm", "param_norm", "euclid_init_norm", "fro_dist"]


@register(name="euclid_norm")
@register(name="param_norm")
@register(name="euclid_init_norm")
@register(name="fro_dist")
@dataclass(frozen=True)
class EuclideanNorm:
    """Euclidean norm of all layers' weights, or of their difference from the initial weights; or its square."""

    name: Size
    passes_no_image: ClassVar[bool] = True
    infos: ClassVar[dict[str, tuple[str, str, str]]] = {
        "euclid_norm": ("Euclidean norm", "sqrt(sum_l ||W_l||_F^2)", "L2"),
        "param_norm": ("Squared Euclidean norm", "sum_l ||W_l||_F^2", "PARAM_NORM"),
        "euclid_init_norm": ("Distance to initialisation", "sqrt(sum_l ||W_l - W_l^0||_F^2)", "L2_DIST"),
        "fro_dist": ("Squared distance to initialisation", "sum_l ||W_l - W_l^0||_F^2", "FRO_DIST"),
    }

    @property
    def from_start(self) -> bool:
        """Whether the distance to initialisation is taken."""
        return self.name in ("euclid_init_norm", "fro_dist")

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for this norm."""
        title, formula, key = self.infos[self.name]
        norm = rf"\sum_l \lVert {'W_l - W_l^0' if self.from_start else 'W_l'} \rVert_F^2"
        return MeasureInfo(
            id=self.name,
            title=title,
            family="weights",
            unit="weight" if formula.startswith("sqrt") else "weight^2",
            formula=formula,
            latex=rf"\sqrt{{{norm}}}" if formula.startswith("sqrt") else norm,
            source=f"Dziugaite et al. 2020, {key}",
            hypothesis="+",
            inputs=("weights", "initial_weights") if self.from_start else ("weights",),
            cost="0",
            tier="core" if self.name == "euclid_init_norm" else "extended",
            explanation="How far training moved the weights from their initial values."
            if self.from_start
            else "Size of the weights of all layers together.",
            departures="Layers are selected by the type of their module, not by name, so the affine weights of a"
            " shortcut's batch norm are not counted. Batch norm is left out.",
        )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the norm or its square; a distance is undefined if the initial weights are not known."""
        if self.from_start:
            pairs = zip(layers_of(context), initial_layers(context), strict=True)
            squares = torch.stack([squared_distance(layer.weight, start.weight) for layer, start in pairs])
        else:
            squares = squared_frobenius(blocks_of(context, "ignore"))
        square = float(squares.sum())
        return weight_value(context, math.sqrt(square) if self.name.startswith("euclid") else square)
