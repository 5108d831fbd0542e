"""Finds out which shape of images a network takes, by trying it."""

import torch
from torch import Tensor, nn

from measurebench.models import architectures
from measurebench.models.loaded import LoadedModel

__all__ = ["Shape", "refusal", "usual_shape"]

Shape = tuple[int, ...]
_SIDES = (8, 16, 28, 32, 64, 96, 224)  # of digits, MNIST, CIFAR, Tiny ImageNet, STL-10, ImageNet


def refusal(network: nn.Module, shape: Shape) -> str:
    """Return why the network gives no row of logits for an image [C, H, W] of this shape, or an empty string."""
    try:
        with torch.no_grad():
            logits = network(torch.zeros(1, *shape))
    except Exception as error:  # noqa: BLE001 - the network may be the user's: whatever it raises, the image does not fit
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    return "" if isinstance(logits, Tensor) and logits.ndim == 2 else "its output is no row of logits"


def usual_shape(model: LoadedModel) -> Shape | None:
    """Return the first of the usual shapes that the network takes, its architecture's own before all others."""
    name = model.spec.architecture or ""
    builtin = None if not name or ":" in name else architectures.find(name)
    sides = (*([builtin.image_shape[1]] if builtin else []), *_SIDES)
    shapes = ((channels, side, side) for side in sides for channels in (3, 1))
    return next((shape for shape in shapes if not refusal(model.network, shape)), None)
