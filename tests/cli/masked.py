"""A linear classifier behind a staircase: its gradient is that of another direction, so PGD is misled."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from measurebench.cli.check import Effort, Line
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import ThreatModel
from measurebench.datasets import Dataset, ImageSplit


class Slope(nn.Module):
    """Two classes told apart by the mean; ``masked`` turns the gradient round without changing the values."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64) / 64)
        self.masked = masked

    def forward(self, images: Tensor) -> Tensor:
        mean = images.flatten(1) @ self.weight
        if self.masked:
            mean = 2 * mean.detach() - mean
        z = 40 * (mean - 0.5)
        return torch.stack([-z, z, -20 - z, -20 + z], dim=1)


def lines_for(masked: bool) -> list[Line]:
    """What the attacks of ``check`` say of it: every image lies within the radius of the boundary."""
    from measurebench.cli.masking import attack_lines

    generator = np.random.default_rng(0)
    labels = np.arange(16, dtype=np.int64) % 2
    images = np.full((16, 1, 8, 8), 0.5, np.float32) + generator.normal(0, 0.01, (16, 1, 8, 8)).astype(np.float32)
    images += np.where(labels == 1, 0.05, -0.05).astype(np.float32)[:, None, None, None]
    split = ImageSplit(images, labels, np.arange(16))
    data = Dataset("slopes", ("dark", "bright", "never", "neither"), split, split)
    spec = ModelSpec("m", "memory", "m", threat_model=ThreatModel.parse("Linf", "0.1"))
    network: Any = Slope(masked).eval().requires_grad_(False)
    effort = Effort(16, 16, False, "cpu")
    return attack_lines(network, spec, torch.from_numpy(images), torch.from_numpy(labels), data, effort)
