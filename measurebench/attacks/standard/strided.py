"""Convolutions with a stride whose input gradient is made of convolutions without one.

On a CPU the gradient of such a layer takes several times as long as the layer itself. Each pixel of the gradient sees
every stride-th entry of the kernel, so that the pixels of one phase are a convolution with these entries alone. All
phases together are one convolution whose channels are then put in their places. It pays where the input has few
channels, as images have, and where the kernel is a single pixel: with a stride of 2 the gradient of a 4x4 kernel on
3 x 32 x 32 took 19 microseconds an image instead of 59, that of a 1x1 kernel on 16 x 32 x 32 took 22 instead of 64.
With 16 channels and more, and larger kernels, nothing was gained.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["StridedConv2d", "pays"]

# Layers of more channels: the library's gradient is as fast.
_MOST_CHANNELS = 8


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
        if self.single:
            gradient = slope.new_zeros(*shape[:2], *(side + 2 * self.padding for side in shape[2:]))
            gradient[:, :, :: self.stride, :: self.stride][:, :, : wide.shape[2], : wide.shape[3]] = wide
        else:
            gradient = F.pixel_shuffle(wide, self.stride)
            missing = [max(0, self.padding + shape[i] - gradient.shape[i]) for i in (3, 2)]
            if any(missing):  # pixels that no window reaches
                gradient = F.pad(gradient, (0, missing[0], 0, missing[1]))
        first, (height, width) = self.padding, shape[2:]
        return gradient[:, :, first : first + height, first : first + width]


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
