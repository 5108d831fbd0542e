"""Relative flatness of the last layer (Petzka et al. 2021), in closed form."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["INFO", "RelativeFlatness", "features_and_logits", "last_linear_layer"]

INFO = MeasureInfo(
    id="relative_flatness",
    title="Relative flatness",
    family="flatness",
    unit="nats",
    formula="sum_{s,s'} <w_s, w_s'> Tr H_{s,s'} = mean_x ||phi||^2 (sum_s p_s ||w_s||^2 - ||sum_s p_s w_s||^2)",
    latex=r"\sum_{s, s'} \langle w_s, w_{s'} \rangle \operatorname{Tr} H_{s,s'}"
    r" = \frac{1}{n} \sum_x \lVert \phi \rVert_2^2 \Bigl( \sum_s p_s \lVert w_s \rVert_2^2"
    r" - \left\lVert \sum_s p_s w_s \right\rVert_2^2 \Bigr)",
    source="Petzka et al. 2021, definition of relative flatness, for the softmax cross-entropy of a linear last layer",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="F",
    tier="new",
    explanation="Curvature of the loss in the weights of the last layer, relative to the size of these weights.",
    properties=("rescale_invariant",),
    departures="The trace is computed in closed form, not estimated: for the cross-entropy, Tr H_{s,s'} ="
    " mean_x (p_s [s=s'] - p_s p_s') ||phi||^2, where phi is the input of the last layer. Its bias is left out.",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class RelativeFlatness:
    """Relative flatness of the linear layer whose output is the logits.

    Undefined if the logits are not the output of one linear layer.
    """

    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return INFO.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean over examples."""
        images = context.examples(self.examples)
        layer = last_linear_layer(context.network, images[:1])
        weight = layer.weight.detach().double()

        def run(rows: slice) -> Tensor:
            features, logits = features_and_logits(context.network, layer, images[rows])
            p = logits.double().softmax(1)
            spread = p @ weight.square().sum(1) - (p @ weight).square().sum(1)
            return features.double().square().sum(1) * spread

        return MeasureValue.mean(context.batches.cat(run, context.n))


def features_and_logits(network: nn.Module, layer: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the input of the layer in its last call, [n, d], and the network's output [n, K], without gradients."""
    read: list[Tensor] = []

    def note(_module: nn.Module, inputs: tuple[Any, ...], _output: Any) -> None:
        read.append(inputs[0])

    handle = layer.register_forward_hook(note)
    try:
        with torch.no_grad():
            logits: Tensor = network(images)
    finally:
        handle.remove()
    return read[-1], logits


def last_linear_layer(network: nn.Module, image: Tensor) -> nn.Linear:
    """Return the linear layer whose output equals the network's for an image [1, ...].

    Raises UndefinedMeasureError if there is none.
    """
    outputs: dict[nn.Linear, Tensor] = {}

    def note(module: nn.Linear, inputs: tuple[Any, ...], output: Tensor) -> None:
        if inputs[0].dim() == 2:
            outputs[module] = output

    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    handles = [module.register_forward_hook(note) for module in linear]
    try:
        with torch.no_grad():
            logits = network(image)
    finally:
        for handle in handles:
            handle.remove()
    for module, output in outputs.items():
        if output.shape == logits.shape and torch.equal(output, logits):
            return module
    raise UndefinedMeasureError("the logits are not the output of one linear layer; the closed form needs its weights")
