"""Margins at hidden layers (Elsayed et al. 2018; Jiang et al. 2019), to first order and in units of the spread."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.outputs import margins
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["HiddenMargin"]

_INFO = MeasureInfo(
    id="hidden_margin",
    title="Hidden-layer margin",
    family="margins",
    unit="standard deviations",
    formula="mean_{x,l} (z_y - max_{j != y} z_j) / (||grad_{h_l} (z_y - max_{j != y} z_j)||_2 sqrt(v_l)),"
    " v_l = mean_x ||h_l - mean h_l||_2^2",
    latex=r"\frac{1}{n L} \sum_{x, l} \frac{m}{\lVert \nabla_{h_l} m \rVert_2 \sqrt{v_l}},"
    r"\quad m = z_y - \max_{j \neq y} z_j,\quad v_l = \frac{1}{n} \sum_x \lVert h_l - \bar{h}_l \rVert_2^2",
    source="Jiang et al. 2019, margin distributions at hidden layers, normalised by the total variation; the distance"
    " is that of Elsayed et al. 2018",
    hypothesis="-",
    inputs=("examples",),
    cost="F+B",
    explanation="How far the input h of a hidden layer lies from the decision boundary to first order, beside the"
    " spread of these inputs over images; the mean over layers and images. Negative for a misclassified image.",
    properties=("logit_scale_invariant", "logit_shift_invariant"),
    departures="A mean, where the source fits a regression to the quartiles at four layers. The layers are all"
    " convolutions and linear layers but the first one called. An image with a zero gradient at some layer is left"
    " out.",
)


@contextmanager
def _noted(network: nn.Module, read: list[tuple[Tensor, int]]) -> Iterator[None]:
    """Put what each convolution and linear layer reads into a list, and how often it had been changed by then."""

    def note(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        read.append((inputs[0], inputs[0]._version))

    layers = [m for m in network.modules() if isinstance(m, (_ConvNd, nn.Linear))]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class HiddenMargin:
    """Mean over hidden layers and examples of the first-order distance to the boundary, in units of the spread."""

    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return _INFO.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean margin.

        Raises UndefinedMeasureError for a network without a hidden layer whose inputs vary with the image, and if
        every image has a zero gradient at some layer.
        """
        images = context.examples(self.examples)
        distances, first, second = [], list[Tensor](), list[Tensor]()
        for found, sums, squares in context.batches.each(lambda rows: self._batch(context, images, rows), context.n):
            distances.append(found)
            first = [a + b for a, b in zip(first, sums, strict=True)] if first else sums
            second = [a + b for a, b in zip(second, squares, strict=True)] if second else squares
        if not first:
            raise UndefinedMeasureError("a hidden-layer margin needs two convolutions or linear layers in a row")
        spread = [b / context.n - (a / context.n).square().sum() for a, b in zip(first, second, strict=True)]
        variation = torch.stack(spread)
        if not bool((variation > 0).all()):
            raise UndefinedMeasureError("the inputs of a hidden layer are the same for all images")
        each = (torch.cat(distances) / variation.sqrt()).mean(1)
        kept = each.isfinite()
        if not bool(kept.any()):
            raise UndefinedMeasureError("every image has a zero gradient at a hidden layer")
        return MeasureValue.mean(each[kept], n_layers=len(first), n_zero_gradients=int((~kept).sum()))

    @staticmethod
    def _batch(context: MeasureContext, images: Tensor, rows: slice) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return distances, float64 [rows, layers], and per layer the sum of its inputs and of their squared norms."""
        read: list[tuple[Tensor, int]] = []
        points = images[rows].detach().requires_grad_(True)
        with torch.enable_grad(), _noted(context.network, read):
            margin = margins(context.network(points), context.labels[rows])
        # what was changed in place since is no longer what the layer read; what is not per image has no row of its own
        hidden = [h for h, v in read[1:] if h.requires_grad and h._version == v and len(h) == len(points)]
        if not hidden or not margin.requires_grad:
            return torch.zeros(len(points), 0, dtype=torch.float64, device=points.device), [], []
        slopes = torch.autograd.grad(margin.sum(), hidden, materialize_grads=True)
        flat = [h.detach().flatten(1).double() for h in hidden]
        norms = torch.stack([slope.flatten(1).double().norm(dim=1) for slope in slopes], 1)
        distances = margin.detach().double()[:, None] / norms
        return distances, [h.sum(0) for h in flat], [h.square().sum() for h in flat]
