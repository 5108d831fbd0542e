"""Turns quantised, sparse and 8-bit floating-point tensors of a checkpoint into dense floats, and says that it did."""

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from measurebench.core.errors import BadInputError

__all__ = ["kinds_converted", "ordinary", "same_values"]


def ordinary(tensor: Tensor, wanted: Tensor, subject: str) -> Tensor:
    """Return a tensor [...] of a checkpoint as a dense one for the place of ``wanted`` [...]; quantised ones as floats.

    Raises BadInputError, which names ``subject``, for numbers that a network of floats cannot take: complex ones, whose
    imaginary part would be lost, and integers, whose scale is not known.

    >>> ordinary(torch.eye(2).to_sparse(), torch.zeros(2, 2), "weight").tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    kind = _name(tensor)
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    elif tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if not wanted.is_floating_point():
        return tensor
    if tensor.is_complex():
        raise BadInputError(subject, "real weights", kind, "the network would lose their imaginary part")
    if not tensor.is_floating_point():
        raise BadInputError(subject, "weights in floating point", kind, "integers without a scale are no weights")
    return tensor.float() if tensor.element_size() == 1 else tensor


def kinds_converted(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return a note for each unusual kind among tensors of any shapes [...], with their number."""
    kinds = Counter(_name(tensor) for tensor in state.values() if _is_unusual(tensor))
    return tuple(f"{number} tensors stored as {kind}, read as dense floats" for kind, number in sorted(kinds.items()))


def same_values(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors [...] of any kinds and shapes hold the same values."""
    if a.shape != b.shape or (a.layout, a.dtype) != (b.layout, b.dtype):
        return False
    if _is_unusual(a):
        a, b = (ordinary(tensor, torch.empty(0), "") for tensor in (a, b))
    return torch.equal(a, b)


def _is_unusual(tensor: Tensor) -> bool:
    eight_bits = tensor.is_floating_point() and tensor.element_size() == 1
    return tensor.is_quantized or tensor.layout is not torch.strided or eight_bits


def _name(tensor: Tensor) -> str:
    """Name the kind of a tensor: its type, and its layout where that is not the usual one."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized:
        return f"{dtype} (quantised)"
    layout = str(tensor.layout).removeprefix("torch.")
    return dtype if layout == "strided" else f"{dtype} ({layout})"
