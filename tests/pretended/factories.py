"""The functions of torch that make or move tensors, so that ``cuda`` means the pretended GPU."""

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map_only

from tests.pretended.counts import note_operation, note_synchronisation, silent
from tests.pretended.dispatch import Dispatch
from tests.pretended.tensor import GPU, GPU_GENERATORS, PretendedTensor, download, is_gpu, upload

__all__ = ["PretendedGenerator", "patch_factories"]

_FACTORIES = (
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_strided",
    "eye",
    "full",
    "linspace",
    "logspace",
    "normal",
    "ones",
    "rand",
    "randint",
    "randn",
    "randperm",
    "scalar_tensor",
    "tensor",
    "tril_indices",
    "triu_indices",
    "zeros",
)
_LIKE = ("empty_like", "full_like", "ones_like", "rand_like", "randint_like", "randn_like", "zeros_like")
_NEW = ("new_empty", "new_full", "new_ones", "new_tensor", "new_zeros")
_TAKE_DATA = ("as_tensor", "asarray", "tensor")


class _AnyGenerator(type(torch.Generator)):
    """Lets every generator of torch be an instance of what stands in for its class."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.__base__)


class PretendedGenerator(torch.Generator, metaclass=_AnyGenerator):
    """A generator of the CPU that says it belongs to the device it was made for."""

    def __new__(cls, device: Any = "cpu") -> "PretendedGenerator":
        generator = super().__new__(cls)
        if is_gpu(device):
            GPU_GENERATORS.add(generator._cdata)
            weakref.finalize(generator, GPU_GENERATORS.discard, generator._cdata)
        return generator

    @property
    def device(self) -> torch.device:
        return GPU if self._cdata in GPU_GENERATORS else torch.device("cpu")


def _check_generator(device: Any, generator: torch.Generator | None) -> None:
    """Refuse numbers that another device's generator would draw, in the words of torch."""
    wanted = "cuda" if is_gpu(device) else torch.device("cpu" if device is None else device).type
    if generator is not None and generator.device.type != wanted:
        raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{generator.device.type}'")


@contextmanager
def _asked() -> Iterator[None]:
    before, Dispatch.asked = Dispatch.asked, True
    try:
        yield
    finally:
        Dispatch.asked = before


def _factory(original: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """Return the factory, which makes tensors on the device that it is asked for."""

    @functools.wraps(original)
    def make(*args: Any, **kwargs: Any) -> Tensor:
        device = kwargs.get("device")
        _check_generator(device, kwargs.get("generator"))
        given = args[0] if args and name in _TAKE_DATA else None
        if isinstance(given, (list, tuple)):
            args = (tree_map_only(PretendedTensor, lambda number: number.item(), given), *args[1:])
        if not is_gpu(device):
            if isinstance(given, PretendedTensor):
                return _of_tensor(given, name, **kwargs)
            with _asked():
                return original(*args, **kwargs)
        if isinstance(given, PretendedTensor):
            return _of_tensor(given, name, **{**kwargs, "device": None})
        kwargs["device"] = None
        grad = kwargs.pop("requires_grad", False)
        with _asked():
            made = original(*args, **kwargs)
        if name in _TAKE_DATA:
            return upload(made, name).requires_grad_(grad)
        note_operation(name)
        return PretendedTensor(made).requires_grad_(grad)

    return make


def _of_tensor(
    given: PretendedTensor, name: str, *, device: Any = None, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor made of one of the GPU: there, unless another device is asked for."""
    moved = given if device is None else download(given, name)
    moved = moved if dtype is None else moved.to(dtype)
    return moved.detach().clone().requires_grad_(requires_grad) if name == "tensor" else moved


def _like(original: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """Return a factory whose first argument says the device, unless ``device`` does."""

    @functools.wraps(original)
    def make(like: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        device = kwargs.pop("device", None)
        if device is None or is_gpu(device) == isinstance(like, PretendedTensor):
            return original(like, *args, **kwargs)
        return _moved(original(like, *args, **kwargs), device, name)

    return make


def _moved(tensor: Tensor, device: Any, name: str) -> Tensor:
    if device is None or torch.device(device).type == "meta":
        return tensor if device is None else _TENSOR_TO(tensor, device)
    return upload(tensor, name) if is_gpu(device) else download(tensor, name)


_TENSOR_TO = Tensor.to


def _to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``Tensor.to`` in its three forms: a device (and type), a type, another tensor."""
    device = kwargs.pop("device", None)
    dtype = kwargs.pop("dtype", None)
    if (other := kwargs.pop("other", None)) is not None:
        device, dtype = other.device, other.dtype
    rest = list(args)
    if rest and isinstance(rest[0], Tensor):
        like = rest.pop(0)
        device, dtype = like.device, like.dtype
    elif rest and (rest[0] is None or isinstance(rest[0], (str, int, torch.device))):
        first = rest.pop(0)
        device = torch.device("cuda", first) if isinstance(first, int) else first
    if rest and (rest[0] is None or isinstance(rest[0], torch.dtype)):
        dtype = rest.pop(0)
    for option, value in zip(("non_blocking", "copy"), rest, strict=False):
        kwargs[option] = value
    moved = _moved(tensor, device, "to")
    if dtype is None and not kwargs.get("copy") and kwargs.get("memory_format") is None:
        return moved
    kwargs.pop("non_blocking", None)
    if moved is not tensor:
        kwargs.pop("copy", None)
    return _TENSOR_TO(moved, dtype or moved.dtype, **kwargs)


def _cuda(tensor: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
    return upload(tensor, "cuda")


def _type_as(tensor: Tensor, other: Tensor) -> Tensor:
    return _to(tensor, other)


_SPECTRA = ("eigvalsh", "svdvals")


def _spectrum(original: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """Return the function as a CPU computes it: for tensors of another class torch also asks for the vectors."""

    @functools.wraps(original)
    def compute(matrix: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if matrix.requires_grad:
            return original(matrix, *args, **kwargs)
        inside = isinstance(matrix, PretendedTensor)
        with _disable_current_modes():
            found = original(matrix.host if inside else matrix, *args, **kwargs)
        if not inside:
            return found
        note_operation(name)
        note_synchronisation("linalg")
        return PretendedTensor(found)

    return compute


_APPLY = nn.Module._apply


def _apply(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Convert a module's parameters; those that change the device are exchanged whole, and so keep their identity.

    C++ takes both kinds of tensors for the CPU's and would exchange nothing but their data.
    """
    first = next(module.parameters(), None)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch, silent():
        if first is not None and isinstance(function(first[:0]), PretendedTensor) != isinstance(first, PretendedTensor):
            patch.setattr(torch.__future__, "_swap_module_params_on_conversion", True)
        return _APPLY(module, function, recurse)


def patch_factories(patch: pytest.MonkeyPatch) -> None:
    """Put the pretended GPU behind the name ``cuda`` wherever tensors are made or moved."""
    for name in _FACTORIES:
        patch.setattr(torch, name, _factory(getattr(torch, name), name))
    for name in ("fftfreq", "rfftfreq"):
        patch.setattr(torch.fft, name, _factory(getattr(torch.fft, name), name))
    for name in _LIKE:
        patch.setattr(torch, name, _like(getattr(torch, name), name))
    for name in _NEW:
        patch.setattr(Tensor, name, _like(getattr(Tensor, name), name), raising=False)
    patch.setattr(Tensor, "to", _to, raising=False)
    patch.setattr(Tensor, "cuda", _cuda, raising=False)
    patch.setattr(Tensor, "type_as", _type_as, raising=False)
    for name in _SPECTRA:
        patch.setattr(torch.linalg, name, _spectrum(getattr(torch.linalg, name), name))
    patch.setattr(torch, "Generator", PretendedGenerator)
    patch.setattr(nn.Module, "_apply", _apply)
