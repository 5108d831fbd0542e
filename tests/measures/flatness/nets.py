"""Small networks of four kinds, with images that they classify well enough for accuracy to fall."""

import torch
from torch import Tensor, nn

from measurebench.testing.small_networks import strided, with_statistics

KINDS = ("convolutional", "residual", "preactivation", "wide")


def network(kind: str, width: int = 3, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a network of 10 classes on 1x8x8 images, with batch norm statistics that are not the initial ones."""
    torch.manual_seed(0)
    builders = {
        "convolutional": lambda: strided("convolutional", width),
        "residual": lambda: strided("residual", width),
        "preactivation": lambda: strided("preactivation", width),
        "wide": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 32 * width), nn.ReLU(), nn.Linear(32 * width, 10)),
    }
    return with_statistics(builders[kind]()).to(dtype).eval().requires_grad_(False)


def examples(net: nn.Module, n: int = 20, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return random images [n, 1, 8, 8] labelled by the network itself, but for every tenth."""
    generator = torch.Generator().manual_seed(seed)
    dtype = next(net.parameters()).dtype
    images = torch.rand(n, 1, 8, 8, generator=generator).to(dtype)
    labels = net(images).argmax(1)
    labels[::10] = (labels[::10] + 1) % 10
    return images, labels


def linear_fixture() -> tuple[nn.Module, Tensor, Tensor]:
    """Return the linear softmax network, images [5, 4] and labels whose measures are known to twelve digits."""
    i, j, k = (torch.arange(m, dtype=torch.float64) for m in (5, 4, 3))
    net = nn.Linear(4, 3).double()
    net.weight.data = 2 * torch.cos(0.9 * k[:, None] + 1.1 * j)
    net.bias.data = torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64)
    images = 0.5 + 0.5 * torch.sin(1.3 * i[:, None] + 0.7 * j)
    return net.eval().requires_grad_(False), images, torch.tensor([0, 1, 2, 0, 1])


def relu_pair(scale: float = 1.0) -> nn.Module:
    """Return a bias-free ReLU network whose first layer is multiplied and second divided by ``scale``."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 4, bias=False)).double()
    net[0].weight.data *= scale
    net[2].weight.data /= scale
    return net.eval().requires_grad_(False)
