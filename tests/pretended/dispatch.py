"""What an operation of the pretended GPU does: refuse, count, compute."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

from tests.pretended.counts import (
    note_operation,
    note_reduced,
    note_synchronisation,
    note_undetermined,
    note_upload,
)
from tests.pretended.tensor import GPU_GENERATORS, PretendedTensor

__all__ = ["Dispatch", "dispatch"]

aten = torch.ops.aten

_READ_BY_HOST = {
    aten._local_scalar_dense.default: "item",
    aten.item.default: "item",
    aten.is_nonzero.default: "bool",
    aten.equal.default: "equal",
    aten.nonzero.default: "nonzero",
    aten.masked_select.default: "masked_select",
    aten._unique.default: "unique",
    aten._unique2.default: "unique",
    aten.unique_dim.default: "unique",
    aten.unique_consecutive.default: "unique",
    aten.bincount.default: "bincount",
    aten._linalg_check_errors.default: "linalg",
    aten.repeat_interleave.Tensor: "repeat_interleave",
}
_INDEXING = (
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
)
# Besides pointwise operations these take a number that lies in the memory of the host, as a tensor without axes.
_TAKE_HOST_NUMBERS = (aten.fill_.Tensor, aten.masked_fill.Tensor, aten.masked_fill_.Tensor)
_NO_KERNEL = (aten._local_scalar_dense.default, aten._unsafe_view.default, aten.detach.default)
_COPIES = (aten.copy_.default, aten._foreach_copy_.default)
# What torch's notes on reproducibility name as different from run to run on a GPU, of what a measure may use.
_UNDETERMINED = {
    "bincount",
    "cumsum",
    "histc",
    "index_add",
    "index_add_",
    "put_",
    "scatter_add",
    "scatter_add_",
    "scatter_reduce",
}
_CONVOLUTIONS = {"convolution", "convolution_backward"}
_PRODUCTS = {"addmm", "mm", "bmm", "baddbmm", "mv", "addmv"}
_HALF = (torch.bfloat16, torch.float16)


class Dispatch(TorchDispatchMode):
    """Sees every operation, so that tensors that torch itself makes inside an operation of the GPU lie there too.

    Such a tensor is made without a device of its own: a factory outside the ones in ``factories.py``. It may meet
    tensors of either kind, and so may all that is computed from such tensors alone.
    """

    asked = False  # whether the factory that runs was called from Python, and so for a device

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch loads its compiler, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


@dataclass(frozen=True)
class _Traits:
    """What is known of an operation beforehand."""

    name: str
    is_view: bool  # returns what it was given in another shape, without touching the data
    changes: bool  # writes to one of its arguments
    takes_host_numbers: bool  # a number that lies in the memory of the host may meet a tensor of the GPU


@cache
def _traits(func: Any) -> _Traits:
    name, returns = func.name().removeprefix("aten::"), func._schema.returns
    aliases = [part.alias_info for part in returns]
    is_view = bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)
    takes = torch.Tag.pointwise in func.tags or func in _TAKE_HOST_NUMBERS or name.startswith("_foreach")
    return _Traits(name, is_view, func._schema.is_mutable, takes)


def dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run one operation where its tensors are, or refuse it."""
    tensors = [*_tensors(args), *_tensors(kwargs.values())]
    if not any(isinstance(tensor, PretendedTensor) for tensor in tensors):
        return _on_the_host(func, args, kwargs, tensors)
    if func in _COPIES:
        return _copied(args)
    traits = _traits(func)
    _check_devices(func, traits, args, tensors)
    _check_generator(func, kwargs)
    _count(func, traits, args, kwargs)
    _note_numerics(traits, tensors, args, kwargs)
    found = func(*_hosts(args), **{name: _host(value) for name, value in kwargs.items()})
    found = _on_the_gpu(found)
    return return_and_correct_aliasing(func, args, kwargs, found) if traits.is_view or traits.changes else found


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _host(value: Any) -> Any:
    if isinstance(value, PretendedTensor):
        return value.host
    return _hosts(value) if isinstance(value, (list, tuple)) else value


def _hosts(values: Sequence[Any]) -> list[Any]:
    return [_host(value) for value in values]


def _on_the_gpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value if isinstance(value, PretendedTensor) else PretendedTensor(value)
    return type(value)(map(_on_the_gpu, value)) if isinstance(value, (list, tuple)) else value


def _on_the_host(func: Any, args: Any, kwargs: dict[str, Any], tensors: list[Tensor]) -> Any:
    """Run an operation of ordinary tensors; mark what torch made of nothing, or of marked tensors."""
    found = func(*args, **kwargs)
    if not Dispatch.asked and all(_placeless(tensor) for tensor in tensors):
        for tensor in _tensors([found]):
            tensor._placeless = True
    return found


def _placeless(tensor: Tensor) -> bool:
    return getattr(tensor, "_placeless", False)


def _ordinary(tensor: Tensor) -> bool:
    return not isinstance(tensor, PretendedTensor) and not _placeless(tensor)


def _copied(args: Any) -> Any:
    """Copy between devices, which is always allowed, and costs a transfer."""
    target, source = (part if isinstance(part, (list, tuple)) else [part] for part in args[:2])
    for a, b in zip(target, source, strict=True):
        if isinstance(b, PretendedTensor) and not isinstance(a, PretendedTensor):
            note_synchronisation("copy_")
        elif _ordinary(b) and isinstance(a, PretendedTensor):
            note_upload("copy_")
        else:
            note_operation("copy_")
        (a.host if isinstance(a, PretendedTensor) else a).copy_(b.host if isinstance(b, PretendedTensor) else b)
    return args[0]


def _check_devices(func: Any, traits: _Traits, args: Any, tensors: list[Tensor]) -> None:
    """Refuse ordinary tensors, but for numbers where an operation takes them from the host, and indices."""
    strangers = [tensor for tensor in tensors if _ordinary(tensor)]
    if not strangers:
        return
    if func in _INDEXING and isinstance(args[0], PretendedTensor):
        values = [value for value in args[2:3] if isinstance(value, Tensor)]
        strangers = [value for value in values if _ordinary(value) and value.dim() > 0]
        for index in args[1]:
            if isinstance(index, Tensor) and _ordinary(index):
                note_upload("index")
    elif traits.takes_host_numbers:
        changed = args[0] if traits.changes and isinstance(args[0], Tensor) else None
        strangers = [tensor for tensor in strangers if tensor.dim() > 0 or tensor is changed]
    if strangers:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
            f" (in {func}, whose ordinary tensor has shape {list(strangers[0].shape)})"
        )


def _check_generator(func: Any, kwargs: dict[str, Any]) -> None:
    generator = kwargs.get("generator")
    if generator is not None and generator._cdata not in GPU_GENERATORS:
        raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' (in {func})")


def _count(func: Any, traits: _Traits, args: Any, kwargs: dict[str, Any]) -> None:
    """Note the operation, and the synchronisation that it brings along."""
    if func in _READ_BY_HOST:
        if func is not aten.repeat_interleave.Tensor or kwargs.get("output_size") is None:
            note_synchronisation(_READ_BY_HOST[func])
    elif func in _INDEXING and any(_is_mask(index) for index in args[1]):
        note_synchronisation("mask")
    if not traits.is_view and func not in _NO_KERNEL:
        note_operation(traits.name)


def _note_numerics(traits: _Traits, tensors: list[Tensor], args: Any, kwargs: dict[str, Any]) -> None:
    """Note products of fewer digits than float32 has, and sums whose order changes from run to run."""
    if traits.name in _CONVOLUTIONS or traits.name in _PRODUCTS:
        kind = torch.backends.cudnn if traits.name in _CONVOLUTIONS else torch.backends.cuda.matmul
        if tensors[0].dtype in _HALF or (tensors[0].dtype == torch.float32 and kind.allow_tf32):
            note_reduced(traits.name)
    accumulates = traits.name.startswith(("index_put", "_index_put")) and (kwargs.get("accumulate") or True in args[3:])
    if accumulates or (traits.name in _UNDETERMINED and tensors[0].is_floating_point() and _has_rivals(traits, args)):
        note_undetermined(traits.name)


def _has_rivals(traits: _Traits, args: Any) -> bool:
    """Tell whether several numbers are added to one place: in any other case their order does not matter."""
    if not traits.name.startswith(("index_add", "scatter_add")):
        return True
    places = _host(args[2]).sort(args[1] if traits.name.startswith("scatter") else 0).values
    return bool((places.diff(dim=args[1] if traits.name.startswith("scatter") else 0) == 0).any())


def _is_mask(index: Any) -> bool:
    return isinstance(index, PretendedTensor) and index.dtype in (torch.bool, torch.uint8)


def _of_tensors(_cls: Any, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
    return dispatch(func, args, kwargs or {})


# Set here, since what an operation does needs to know the class.
PretendedTensor.__torch_dispatch__ = classmethod(_of_tensors)
