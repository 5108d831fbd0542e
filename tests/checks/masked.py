"""A linear classifier behind a staircase: its gradient is that of another direction, so PGD is misled."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from measurebench.checks.masking import robustness_lines
from measurebench.checks.results import CheckLine, Effort
from measurebench.core.threat import ThreatModel


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


def lines_for(masked: bool) -> list[CheckLine]:
    """What the attacks of ``check`` say of it: every image lies within the radius of the boundary."""
    generator = np.random.default_rng(0)
    labels = np.arange(16, dtype=np.int64) % 2
    images = np.full((16, 1, 8, 8), 0.5, np.float32) + generator.normal(0, 0.01, (16, 1, 8, 8)).astype(np.float32)
    images += np.where(labels == 1, 0.05, -0.05).astype(np.float32)[:, None, None, None]
    network: Any = Slope(masked).eval().requires_grad_(False)
    threat = ThreatModel.parse("Linf", "0.1")
    return robustness_lines(network, torch.from_numpy(images), torch.from_numpy(labels), threat, 4, Effort())
