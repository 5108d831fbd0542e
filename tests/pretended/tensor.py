"""A tensor that says it lies on ``cuda:0``, keeps its data in ordinary memory, and refuses what a GPU would refuse.

For the code of torch that is written in C++ the tensor is one of the CPU: no driver, stream or device guard is
needed, and every operation is decomposed as on a CPU, so that values agree bit for bit. What Python sees (``device``,
``to``, ``numpy``, the factories in ``factories.py``) is that of a GPU. ``dispatch.py`` says what its operations do.
"""

from typing import Any

import torch
from torch import Tensor

from tests.pretended.counts import note_synchronisation, note_upload
from tests.pretended.memory import Hold

__all__ = ["GPU", "GPU_GENERATORS", "PretendedTensor", "download", "is_gpu", "upload"]

GPU = torch.device("cuda", 0)
GPU_GENERATORS: set[int] = set()  # by their address: C++ passes generators on without their class


def is_gpu(device: Any) -> bool:
    """Tell whether an argument names the pretended device."""
    return isinstance(device, (str, torch.device)) and torch.device(device).type == "cuda"


class PretendedTensor(Tensor):
    """A tensor of the pretended GPU around an ordinary one, ``host``."""

    host: Tensor
    hold: Hold
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor) -> "PretendedTensor":
        tensor = Tensor._make_wrapper_subclass(
            cls, host.shape, strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype
        )
        tensor.host = host
        tensor.hold = Hold(host)
        return tensor

    def __repr__(self, **_options: Any) -> str:
        return f"pretended({self.host!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "PretendedTensor":
        if id(self) not in memo:
            copied = PretendedTensor(self.host.detach().clone()).requires_grad_(self.requires_grad)
            if getattr(self, "_is_param", False):
                copied._is_param = True
            memo[id(self)] = copied
        return memo[id(self)]

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
            raise TypeError("incompatible tensor type: data of cuda:0 was assigned a tensor of the cpu")
        Tensor.data.__set__(self, other)
        self.host, self.hold = other.host, other.hold

    def new_tensor(self, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=device or GPU, requires_grad=requires_grad)

    # ---- what leaves it ------------------------------------------------------------------------------------

    def cpu(self, *_args: Any, **_kwargs: Any) -> Tensor:
        return download(self, "cpu")

    def tolist(self) -> Any:
        return download(self, "tolist").tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return download(self, "numpy").numpy(force=True)
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor first.")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy()


class _Uploaded(torch.autograd.Function):
    """The copy to the device of a tensor that has a gradient."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        return PretendedTensor(tensor.detach().clone())

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return download(gradient, "cpu")


class _Downloaded(torch.autograd.Function):
    """The copy to the host of a tensor that has a gradient."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        return tensor.host.detach().clone()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
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
