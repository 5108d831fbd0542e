"""The features of a network: what its last linear layer reads."""

from typing import Any

import torch
from torch import Tensor, nn

from measurebench.core.info import Examples
from measurebench.measures.context import MeasureContext
from measurebench.measures.value import UndefinedMeasureError

__all__ = ["class_means", "features"]


def features(context: MeasureContext, examples: Examples) -> Tensor:
    """Return the input of the last linear layer that the network calls, float64 [n, d].

    Raises UndefinedMeasureError for a network without such a layer, or whose last one reads no vector per image.
    """
    images = context.examples(examples)
    return context.shared(
        f"{examples} features",
        lambda: context.batches.cat(lambda rows: _last_input(context.network, images[rows]).double(), context.n),
    )


def _last_input(network: nn.Module, images: Tensor) -> Tensor:
    read: dict[str, Tensor] = {}

    def note(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        read["last"] = inputs[0]

    handles = [m.register_forward_pre_hook(note) for m in network.modules() if isinstance(m, nn.Linear)]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    if "last" not in read or read["last"].dim() != 2 or len(read["last"]) != len(images):
        raise UndefinedMeasureError("no linear layer reads one vector per image, so there are no features")
    return read["last"]


def class_means(vectors: Tensor, classes: Tensor, n_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean vector of each class that occurs, each vector's class among those, and the classes' sizes.

    ``vectors`` float64 [n, d] and ``classes`` int64 [n], below ``n_classes``, give [k, d], int64 [n] and [k].

    >>> class_means(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([2, 2, 7]), 10)[0]
    tensor([[2.],
            [5.]])
    """
    member = nn.functional.one_hot(classes, n_classes).to(vectors)
    member = member[:, member.any(0)]
    sizes = member.sum(0)
    return (member.mT @ vectors) / sizes[:, None], member.argmax(1), sizes
