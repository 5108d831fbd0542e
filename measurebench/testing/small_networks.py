"""Small networks for 1x8x8 images and random images for them, on which measures and attacks are checked.

Unlike the shipped networks they have strides: strided convolutions and strided 1x1 shortcuts are what norms, spectra
and path norms most easily get wrong.
"""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "KINDS",
    "Breaking",
    "Scaled",
    "Shifted",
    "fixed_examples",
    "initial_of",
    "lively",
    "network",
    "rescaled_network",
    "small_examples",
    "strided",
    "with_statistics",
]

KINDS = ("convolutional", "residual", "preactivation", "wide")


def _conv3x3(n_in: int, n_out: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, kernel_size=3, stride=stride, padding=1, bias=bias)


class _PlainNet(nn.Module):
    """Three convolutions with biases (8x8, then twice 4x4) and a linear layer; no normalisation."""

    def __init__(self, width: int, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, width, bias=True)
        self.conv2 = _conv3x3(width, 2 * width, stride=2, bias=True)
        self.conv3 = _conv3x3(2 * width, 2 * width, bias=True)
        self.linear = nn.Linear(2 * width * 16, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 8, 8] to logits [n, K]."""
        features = F.relu(self.conv1(images))
        features = F.relu(self.conv2(features))
        features = F.relu(self.conv3(features))
        logits: Tensor = self.linear(torch.flatten(features, 1))
        return logits


class _ResidualBlock(nn.Module):
    """Convolution, batch norm, ReLU, convolution, batch norm, plus the shortcut, then ReLU."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv3x3(n_in, n_out, stride), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = _conv3x3(n_out, n_out), nn.BatchNorm2d(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            projection = nn.Conv2d(n_in, n_out, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(n_out))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, n_out, H/stride, W/stride]."""
        features = F.relu(self.bn1(self.conv1(inputs)))
        return F.relu(self.bn2(self.conv2(features)) + self.shortcut(inputs))


class _ResidualNet(nn.Module):
    """A stem (8x8) and one residual block to 4x4, each convolution followed by its own batch norm."""

    def __init__(self, width: int, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv3x3(in_channels, width), nn.BatchNorm2d(width)
        self.block1 = _ResidualBlock(width, 2 * width, stride=2)
        self.linear = nn.Linear(2 * width * 4, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 8, 8] to logits [n, K]."""
        features = self.block1(F.relu(self.bn1(self.conv1(images))))
        logits: Tensor = self.linear(torch.flatten(F.avg_pool2d(features, 2), 1))
        return logits


class _PreActivationBlock(nn.Module):
    """Batch norm, ReLU, convolution, twice; the shortcut leaves after the first ReLU when the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(n_in), _conv3x3(n_in, n_out, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(n_out), _conv3x3(n_out, n_out)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Conv2d(n_in, n_out, kernel_size=1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, n_out, H/stride, W/stride]."""
        activated = F.relu(self.bn1(inputs))
        features: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return features + (inputs if self.shortcut is None else self.shortcut(activated))


class _PreActivationNet(nn.Module):
    """A wide stem (8x8), one pre-activation block to 4x4 and a last batch norm before pooling."""

    def __init__(self, width: int, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, width)
        self.block1 = _PreActivationBlock(width, 2 * width, stride=2)
        self.bn = nn.BatchNorm2d(2 * width)
        self.linear = nn.Linear(2 * width * 4, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 8, 8] to logits [n, K]."""
        features = F.relu(self.bn(self.block1(self.conv1(images))))
        logits: Tensor = self.linear(torch.flatten(F.avg_pool2d(features, 2), 1))
        return logits


def strided(kind: str, width: int) -> nn.Module:
    """Return the network of a kind (convolutional, residual or preactivation) for 10 classes."""
    built: nn.Module = {"convolutional": _PlainNet, "residual": _ResidualNet, "preactivation": _PreActivationNet}[kind](
        width, 1, 10
    )
    return built


def with_statistics(net: nn.Module) -> nn.Module:
    """Give every batch norm weights and statistics that are not the initial ones, drawn from torch's generator."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean = torch.randn(module.num_features) * 0.2
            module.running_var = torch.rand(module.num_features) + 0.5
    return net


def _wide(_: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))


_BUILDERS: Mapping[str, Callable[[int], nn.Module]] = {
    "convolutional": lambda width: strided("convolutional", width),
    "residual": lambda width: strided("residual", width),
    "preactivation": lambda width: strided("preactivation", width),
    "wide": _wide,
}


def network(kind: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    """Return a network of 10 classes for images [n, 1, 8, 8], frozen and in evaluation mode.

    ``kind`` is one of KINDS. Its batch norm statistics are not the initial ones.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return with_statistics(_BUILDERS[kind](3)).to(dtype).eval().requires_grad_(False)


def small_examples(net: nn.Module, n: int = 24, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return random images [n, 1, 8, 8] in [0, 1] and labels [n]: the network's own but for every fourth image."""
    dtype = next(net.parameters()).dtype
    images = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).to(dtype)
    labels = net(images).argmax(1)
    labels[::4] = (labels[::4] + 1) % 10
    return images, labels


def initial_of(net: nn.Module) -> nn.Module:
    """Return the network with other weights, to stand for those at initialisation."""
    initial = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(7)
    for parameter in initial.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator).to(parameter)
    return initial


def lively(kind: str) -> nn.Module:
    """Return the network with few inactive units: where a gradient is exactly zero, rounding decides on its sign."""
    net = network(kind)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            parameter.data += 0.3
    return net


def rescaled_network(factor: float) -> nn.Module:
    """Return a ReLU network whose first layer is multiplied, and whose second is divided, by a factor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        first, second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2)
        net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(36, 10)).double()
    first.weight.data *= factor
    first.bias.data *= factor  # type: ignore[union-attr]
    second.weight.data /= factor
    return net.eval().requires_grad_(False)


def fixed_examples(images: Tensor) -> Tensor:
    """Return stand-ins for adversarial examples of images [n, ...], the same whatever the network."""
    return (images + 0.05 * torch.sin(37 * images)).clamp(0, 1)


class Scaled(nn.Module):
    """The network with its logits multiplied by a number."""

    def __init__(self, inner: nn.Module, factor: float = 3.0) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, ...] to logits [n, K]."""
        logits: Tensor = self.inner(images)
        return logits * self.factor


class Shifted(nn.Module):
    """The network with a function of the image added to all of its logits."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, ...] to logits [n, K]."""
        logits: Tensor = self.inner(images)
        return logits + images.square().flatten(1).sum(1, keepdim=True)


class Breaking(nn.Module):
    """The network, which raises ArithmeticError after a number of passes."""

    def __init__(self, inner: nn.Module, passes: int) -> None:
        super().__init__()
        self.inner, self.left = inner, passes

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, ...] to logits [n, K]. Raises ArithmeticError when no pass is left."""
        self.left -= 1
        if self.left < 0:
            raise ArithmeticError("out of order")
        logits: Tensor = self.inner(images)
        return logits
