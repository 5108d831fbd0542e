"""Products of the layers' operator norms: of each convolution as a map of whole images, not of its reshaped kernel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch.nn.modules.conv import _ConvNd

from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.convolution import circular_norm, padded_norm
from measurebench.measures.network.layers import WeightLayer
from measurebench.measures.network.weight_blocks import log_sum, squared_spectral, structure_of, weight_value
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["LogProdOfOperatorNorms", "Padding"]

Padding = Literal["fft", "zero_padded"]


@register(padding="fft")
@register(padding="zero_padded")
@dataclass(frozen=True)
class LogProdOfOperatorNorms:
    """Logarithm of the product of squared operator norms of all layers, at their input sizes in this network."""

    padding: Padding
    norms: ClassVar[dict[Padding, Callable[[WeightLayer, Sequence[int]], float]]] = {
        "fft": circular_norm,
        "zero_padded": padded_norm,
    }

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for this padding."""
        circular = self.padding == "fft"
        return MeasureInfo(
            id=f"log_prod_of_spec_{self.padding}",
            title=f"Product of operator norms, {'circular' if circular else 'actual'} padding (log)",
            family="weights",
            unit="nats",
            formula=f"sum_l log ||W_l||_op^2, {'circular padding' if circular else 'padding as in the network'}",
            latex=r"\sum_l \log \lVert W_l \rVert_{\mathrm{op}}^2"
            + rf",\quad \text{{{'circular padding' if circular else 'padding as in the network'}}}",
            source="Sedghi et al. 2019; Dziugaite et al. 2020, LOG_PROD_OF_SPEC_FFT"
            if circular
            else "Definition of the operator norm, computed by Lanczos iteration",
            hypothesis="+",
            inputs=("weights",),
            cost="one eigenvalue problem per layer and frequency" if circular else "about 50 passes of one image",
            explanation="The largest factor by which each layer can stretch an image, multiplied over all layers.",
            properties=("rescale_invariant",),
            departures="Each layer's input size and stride are found by tracing one image; the public code assumes"
            " 32 x 32 inputs and stride 1 for every layer. Batch norm is left out. A linear layer contributes its"
            " spectral norm.",
        )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the logarithm of the product, in nats.

        Raises UndefinedMeasureError for a convolution that the network never calls, or a layer whose weight is zero.
        """
        structure = structure_of(context)
        plain = squared_spectral(context, "ignore").tolist()
        squares = []
        for layer, spectral in zip(structure.layers, plain, strict=True):
            if not isinstance(layer.module, _ConvNd):
                squares.append(spectral)
                continue
            shapes = structure.input_shapes[layer.name]
            if not shapes:
                raise UndefinedMeasureError(f"layer {layer.name!r} is never called: its input size is not known")
            squares.append(max(self.norms[self.padding](layer, shape) for shape in shapes) if spectral else 0.0)
        names = [layer.name for layer in structure.layers]
        return weight_value(context, log_sum(torch.tensor(squares, dtype=torch.float64), names))
