"""Checks what ``measure`` is given: a network that answers with logits, images in [0, 1] and labels of its classes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from measurebench.core.errors import BadInputError
from measurebench.core.unit_range import is_unit_range
from measurebench.models.effective import unwrapped

__all__ = ["LogitsOf", "as_tensors", "bare_network", "check_labels", "checked_pixels", "logits_network"]

_WHOLE = (torch.int8, torch.int16, torch.int32, torch.uint8)
_AGREEMENT = 1e-3  # of the largest logit, as in the preflight: far above rounding, far below what dropout does


class LogitsOf(nn.Module):
    """The network, its output replaced by the logits inside: the attribute ``logits`` or the entry ``"logits"``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [n, K] of images [n, ...]."""
        out = self.network(images)
        logits: Tensor = out["logits"] if isinstance(out, dict) else out.logits
        return logits


def bare_network(network: object) -> nn.Module:
    """Return the network without the wrappers of data parallelism. Raises BadInputError for what is no module."""
    if not isinstance(network, nn.Module):
        hint = "load_model(...).network is the network of a loaded model" if hasattr(network, "network") else ""
        raise BadInputError("network", "a torch.nn.Module", type(network).__name__, hint)
    return unwrapped(network)


def as_tensors(images: Any, labels: Any) -> tuple[Any, Any]:
    """Return images [n, ...] and labels [n] as tensors where they are arrays of numpy, and anything else as it is.

    Labels of any whole-number type become int64, and those of shape [n, 1] become [n]: neither changes a label.

    >>> as_tensors(torch.zeros(2, 1), torch.tensor([[1], [0]], dtype=torch.int32))[1]
    tensor([1, 0])
    """
    images, labels = (torch.as_tensor(part) if _is_numbers(part) else part for part in (images, labels))
    if isinstance(labels, Tensor) and labels.dtype in _WHOLE:
        labels = labels.long()
    if isinstance(labels, Tensor) and labels.dim() == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if isinstance(images, Tensor) and isinstance(labels, Tensor):
        labels = labels.to(images.device)
    return images, labels


def _is_numbers(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu"


def check_labels(images: Tensor, labels: Tensor) -> None:
    """Raise BadInputError unless there is one label int64 [n], 0 or more, for each image [n, ...]."""
    for name, value in (("images", images), ("labels", labels)):
        if not isinstance(value, Tensor):
            raise BadInputError(name, "a torch.Tensor", type(value).__name__)
    if images.dim() < 2 or len(images) == 0:
        raise BadInputError("images", "shape [n, ...] with at least one image", str(tuple(images.shape)))
    if labels.dim() != 1:
        hint = f"labels.flatten() has the shape ({labels.numel()},)" if labels.numel() == len(images) else ""
        raise BadInputError("labels", f"shape ({len(images)},)", str(tuple(labels.shape)), hint)
    if len(images) != len(labels):
        raise BadInputError("labels", f"one per image, {len(images)} images and at least one", str(len(labels)))
    if labels.dtype != torch.int64:
        raise BadInputError("labels", "torch.int64", str(labels.dtype))
    if int(labels.min()) < 0:
        raise BadInputError("labels", "classes from 0", str(int(labels.min())))


def checked_pixels(name: str, images: Tensor) -> Tensor:
    """Return images [n, ...], detached; what rounding left outside [0, 1] is clamped.

    Raises BadInputError for images that are not floating-point or lie further outside.
    """
    if not isinstance(images, Tensor):
        raise BadInputError(name, "a torch.Tensor", type(images).__name__)
    kind = str(images.dtype).removeprefix("torch.")
    if not images.is_floating_point():
        raise BadInputError(name, "float32 or float64 in [0, 1]", kind, "divide uint8 images by 255")
    if images.numel() == 0:
        raise BadInputError(name, "images with pixels", f"shape {tuple(images.shape)}")
    low, high = float(images.min()), float(images.max())
    if not is_unit_range(low, high):
        hint = "was the input normalised twice?" if low < 0 else "divide by 255?"
        raise BadInputError(name, f"{kind} in [0, 1]", f"{kind} in [{low:.4g}, {high:.4g}]", hint)
    return images.detach() if low >= 0 and high <= 1 else images.detach().clamp(0, 1)


def logits_network(network: nn.Module, images: Tensor, labels: Tensor, again: bool = True) -> nn.Module:
    """Return a network in evaluation mode as one that answers images [n, ...] with logits [n, K], the same each time.

    Two images are passed through it, and passed ``again`` where the answers are to be compared. Raises BadInputError
    where it raises or answers with anything else, where its answers differ, and for labels [n] beyond its classes.
    """
    few = images[:2]
    first = _answer(network, few)
    if not isinstance(first, Tensor):
        network = _with_logits(network, first)
        first = _answer(network, few)
    if not isinstance(first, Tensor) or first.dim() != 2 or len(first) != len(few):
        got = str(tuple(first.shape)) if isinstance(first, Tensor) else type(first).__name__
        raise BadInputError("network", f"logits of shape ({len(few)}, classes) for {len(few)} images", got)
    if not first.is_floating_point():
        raise BadInputError("network", "logits of a floating-point type", str(first.dtype))
    gap = float((_answer(network, few) - first).nan_to_num(0.0, 0.0, 0.0).abs().max()) if again else 0.0
    if gap > _AGREEMENT * float(first.nan_to_num(0.0, 0.0, 0.0).abs().max()):
        hint = "it draws random numbers: dropout or noise that stays on in eval mode"
        raise BadInputError("network", "the same logits in two passes", f"logits that differ by {gap:.3g}", hint)
    if int(labels.max()) >= first.shape[1]:
        raise BadInputError("labels", f"classes 0 to {first.shape[1] - 1}", str(int(labels.max())))
    return network


def _answer(network: nn.Module, images: Tensor) -> Any:
    """Return what the network answers. Raises BadInputError with what it raises, but for a lack of memory."""
    try:
        with torch.no_grad():
            return network(images)
    except (torch.OutOfMemoryError, MemoryError, BadInputError):
        raise
    except Exception as error:  # a network may raise anything
        text = (str(error).strip().splitlines() or [""])[0][:200]
        got = f"{type(error).__name__}: {text}"
        raise BadInputError("network", f"logits for images {list(images.shape)}", got) from error


def _with_logits(network: nn.Module, answer: object) -> nn.Module:
    """Return the network with the logits taken out of its answers; raises BadInputError where it is not said which."""
    if isinstance(getattr(answer, "logits", None), Tensor):
        return LogitsOf(network)
    if isinstance(answer, dict) and isinstance(answer.get("logits"), Tensor):
        return LogitsOf(network)
    kind = type(answer).__name__
    if isinstance(answer, tuple | list):
        kind += " of " + ", ".join(str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__ for x in answer)
    elif isinstance(answer, dict):
        kind += " with " + ", ".join(map(repr, list(answer)[:6]))
    hint = "which of them are the logits? wrap the network so that it returns them alone"
    raise BadInputError("network", 'one tensor of logits, or an output with "logits"', kind, hint)
