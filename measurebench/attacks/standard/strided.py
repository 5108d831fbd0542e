"""Convolutions with a stride whose input gradient is made of convolutions without one.

On a CPU the gradient of such a layer takes several times as long as the layer itself. Each pixel of the gradient sees
every stride-th entry of the kernel, so that the pixels of one phase are a convolution with these entries alone. All
phases together are one convolution whose channels are then put in their places. It pays where the input has few
channels and where the kernel is a single pixel: with a stride of 2 the gradient of a 4x4 kernel took 15 microseconds an
image instead of 44 on 3 x 32 x 32 and 22 instead of 36 on 16 x 16 x 16, that of a 1x1 kernel on 16 x 32 x 32 took 22
instead of 64. With 32 channels and larger kernels nothing was gained.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["StridedConv2d", "pays"]

# Layers of more channels: the library's gradient is as fast.
_MOST_CHANNELS = 16


def pays(layer: nn.Conv2d) -> bool:
    """Tell whether the gradient of a layer is faster phase by phase."""
    squared = all(len({*sides}) == 1 for sides in (layer.stride, layer.kernel_size, layer.padding))
    plain = layer.padding_mode == "zeros" and layer.groups == 1 and {*layer.dilation} == {1}
    few = layer.in_channels <= _MOST_CHANNELS or layer.kernel_size == (1, 1)
    return squared and plain and few and layer.stride[0] > 1 and not isinstance(layer.padding, str)


class StridedConv2d(nn.Module):
    """A frozen copy of a square convolution: the same outputs, with an input gradient by phases."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.stride, self.padding = layer.stride[0], int(layer.padding[0])
        self.single = layer.kernel_size == (1, 1)
        self.register_buffer("phases", _by_phase(layer.weight.detach(), 1 if self.single else self.stride))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the layer's outputs [n, O, H', W'] for inputs [n, C, H, W]."""
        outputs: Tensor = _Gradient.apply(inputs, self) if inputs.requires_grad else self.layer(inputs)
        return outputs

    def input_gradient(self, slope: Tensor, shape: torch.Size) -> Tensor:
        """Return the gradient at the inputs of ``shape`` [n, C, H, W] for the outputs' gradient [n, O, H', W']."""
        phases = self.get_buffer("phases")
        wide = F.conv2d(slope, phases, padding=phases.shape[-1] - 1)
        gradient = slope.new_zeros(shape)  # pixels that no window reaches stay 0
        n_phases = 1 if self.single else self.stride
        by_phase = wide.view(*shape[:2], n_phases, n_phases, *wide.shape[2:])
        for row in range(by_phase.shape[2]):
            down, place_down = self._lined_up(row, wide.shape[2], shape[2])
            for column in range(by_phase.shape[3]):
                right, place_right = self._lined_up(column, wide.shape[3], shape[3])
                gradient[:, :, place_down, place_right] = by_phase[:, :, row, column, down, right]
        return gradient

    def _lined_up(self, phase: int, n: int, side: int) -> tuple[slice, slice]:
        """Return which of a phase's n entries along a side are pixels of the image, and where on that side they lie."""
        first = max(0, -(-(self.padding - phase) // self.stride))
        place = first * self.stride + phase - self.padding
        stop = min(n, first + max(0, -(-(side - place) // self.stride)))
        return slice(first, stop), slice(place, place + (stop - first) * self.stride, self.stride)


def _by_phase(weight: Tensor, stride: int) -> Tensor:
    """Return the kernels of all phases: from weights [O, C, k, k] to [C * stride^2, O, m, m], m = k / stride up."""
    n_out, n_in, side, _ = weight.shape
    m = -(-side // stride)
    whole = F.pad(weight, (0, m * stride - side, 0, m * stride - side))
    apart = whole.reshape(n_out, n_in, m, stride, m, stride).permute(1, 3, 5, 0, 2, 4)
    return apart.reshape(n_in * stride**2, n_out, m, m).flip(2, 3).contiguous()


class _Gradient(torch.autograd.Function):
    """The layer forward; its input gradient by phases."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, module: StridedConv2d) -> Tensor:
        ctx.module, ctx.shape = module, inputs.shape
        outputs: Tensor = module.layer(inputs)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return ctx.module.input_gradient(slope, ctx.shape), None
