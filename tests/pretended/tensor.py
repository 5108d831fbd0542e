"""A tensor that says it lies on ``cuda:0``, keeps its data in ordinary memory, and refuses what a GPU would refuse.

For the code of torch that is written in C++ the tensor is one of the CPU: no driver, stream or device guard is
needed, and every operation is decomposed as on a CPU, so that values agree bit for bit. What Python sees (``device``,
``to``, ``numpy``, the factories in ``factories.py``) is that of a GPU.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from tests.pretended.counts import note_operation, note_synchronisation, note_upload

__all__ = ["GPU", "GPU_GENERATORS", "Dispatch", "PretendedTensor", "download", "is_gpu", "upload"]

GPU = torch.device("cuda", 0)
GPU_GENERATORS: set[int] = set()  # by their address: C++ passes generators on without their class
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
_COPIES = (aten.copy_.default, aten._foreach_copy_.default)


def is_gpu(device: Any) -> bool:
    """Tell whether an argument names the pretended device."""
    return isinstance(device, (str, torch.device)) and torch.device(device).type == "cuda"


class PretendedTensor(Tensor):
    """A tensor of the pretended GPU around an ordinary one, ``host``."""

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor) -> "PretendedTensor":
        tensor = Tensor._make_wrapper_subclass(
            cls, host.shape, strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype
        )
        tensor.host = host
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})

    def __repr__(self, **_options: Any) -> str:
        return f"pretended({self.host!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        note_synchronisation("save")
        return self.host.detach().clone().__reduce_ex__(protocol)

    # ---- where it is ---------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return GPU

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def is_cpu(self) -> bool:
        return False

    def get_device(self) -> int:
        return 0

    @property
    def data(self) -> "PretendedTensor":
        return self.detach()

    @data.setter
    def data(self, other: Tensor) -> None:
        if not isinstance(other, PretendedTensor):
            raise RuntimeError("incompatible tensor type: data of cuda:0 was assigned a tensor of the cpu")
        Tensor.data.__set__(self, other)
        self.host = other.host

    # ---- what leaves it ------------------------------------------------------------------------------------

    def cpu(self, *_args: Any, **_kwargs: Any) -> Tensor:
        return download(self, "cpu")

    def tolist(self) -> Any:
        return download(self, "tolist").tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return download(self, "numpy").numpy(force=True)
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy()


class _Uploaded(torch.autograd.Function):
    """The copy to the device of a tensor that has a gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return PretendedTensor(tensor.detach().clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return download(gradient, "cpu")


class _Downloaded(torch.autograd.Function):
    """The copy to the host of a tensor that has a gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.host.detach().clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return upload(gradient, "to")


def upload(tensor: Tensor, name: str) -> Tensor:
    """Return a tensor's copy on the pretended GPU."""
    if isinstance(tensor, PretendedTensor):
        return tensor
    note_upload(name)
    if tensor.requires_grad and torch.is_grad_enabled():
        return _Uploaded.apply(tensor)
    return PretendedTensor(tensor.detach().clone())


def download(tensor: Tensor, name: str) -> Tensor:
    """Return a tensor's copy in ordinary memory, for which the host waits."""
    if not isinstance(tensor, PretendedTensor):
        return tensor
    note_synchronisation(name)
    if tensor.requires_grad and torch.is_grad_enabled():
        return _Downloaded.apply(tensor)
    return tensor.host.detach().clone()


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


def dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run one operation where its tensors are, or refuse it."""
    leaves, spec = tree_flatten((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if not any(isinstance(tensor, PretendedTensor) for tensor in tensors):
        return _on_the_host(func, args, kwargs, tensors)
    if func in _COPIES:
        return _copied(func, args, kwargs)
    _check_devices(func, args, kwargs, tensors)
    _check_generator(func, kwargs)
    _count(func, args, kwargs)
    host_args, host_kwargs = tree_unflatten(
        [leaf.host if isinstance(leaf, PretendedTensor) else leaf for leaf in leaves], spec
    )
    found = tree_map_only(Tensor, _on_the_gpu, func(*host_args, **host_kwargs))
    return return_and_correct_aliasing(func, args, kwargs, found)


def _on_the_gpu(tensor: Tensor) -> Tensor:
    return tensor if isinstance(tensor, PretendedTensor) else PretendedTensor(tensor)


def _on_the_host(func: Any, args: Any, kwargs: dict[str, Any], tensors: list[Tensor]) -> Any:
    """Run an operation of ordinary tensors; mark what torch made of nothing, or of marked tensors."""
    found = func(*args, **kwargs)
    if not Dispatch.asked and all(_placeless(tensor) for tensor in tensors):
        for tensor in tree_flatten(found)[0]:
            if isinstance(tensor, Tensor):
                tensor._placeless = True
    return found


def _placeless(tensor: Tensor) -> bool:
    return getattr(tensor, "_placeless", False)


def _ordinary(tensor: Tensor) -> bool:
    return not isinstance(tensor, PretendedTensor) and not _placeless(tensor)


def _copied(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
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


def _check_devices(func: Any, args: Any, kwargs: dict[str, Any], tensors: list[Tensor]) -> None:
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
    elif torch.Tag.pointwise in func.tags or func in _TAKE_HOST_NUMBERS or func.name().startswith("aten::_foreach"):
        changed = args[0] if func._schema.is_mutable and isinstance(args[0], Tensor) else None
        strangers = [tensor for tensor in strangers if tensor.dim() > 0 or tensor is changed]
    if strangers:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
            f" (in {func.name()}, whose ordinary tensor has shape {list(strangers[0].shape)})"
        )


def _check_generator(func: Any, kwargs: dict[str, Any]) -> None:
    generator = kwargs.get("generator")
    if generator is not None and generator._cdata not in GPU_GENERATORS:
        raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' (in {func.name()})")


def _count(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> None:
    """Note the operation, and the synchronisation that it brings along."""
    if func in _READ_BY_HOST:
        if func is not aten.repeat_interleave.Tensor or kwargs.get("output_size") is None:
            note_synchronisation(_READ_BY_HOST[func])
    elif func in _INDEXING and any(_is_mask(index) for index in args[1]):
        note_synchronisation("mask")
    if not _is_view(func):
        note_operation(func.name().removeprefix("aten::"))


def _is_mask(index: Any) -> bool:
    return isinstance(index, PretendedTensor) and index.dtype in (torch.bool, torch.uint8)


def _is_view(func: Any) -> bool:
    """Tell whether an operation returns what it was given in another shape, without touching the data."""
    returns = func._schema.returns
    named = bool(returns) and all(part.alias_info is not None and not part.alias_info.is_write for part in returns)
    return named or func in (aten._local_scalar_dense.default, aten._unsafe_view.default, aten.detach.default)
