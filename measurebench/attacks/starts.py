"""Where an ascent begins: at the image, at Gaussian noise around it, or at a uniform point of the ball."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from measurebench.attacks import noise
from measurebench.attacks.geometry import per_example, project, steepest
from measurebench.core.threat import Norm

__all__ = ["GAUSSIAN_SIGMA", "Drawn", "Keyed", "Randomness", "Start", "keyed_start", "start_offset"]

Start = Literal["uniform", "gaussian", "none"]
# The deviation of the start in the published code of TRADES (Zhang et al. 2019) and MART (Wang et al. 2020).
GAUSSIAN_SIGMA = 0.001


class Randomness(Protocol):
    """A source of random numbers for n examples."""

    def uniform(self, shape: Sequence[int], like: Tensor, purpose: str) -> Tensor:
        """Return uniform numbers in [0, 1), [n, *shape], with the dtype and device of ``like``."""
        ...

    def normal(self, shape: Sequence[int], like: Tensor, purpose: str) -> Tensor:
        """Return standard normal numbers [n, *shape], with the dtype and device of ``like``."""
        ...


@dataclass(frozen=True)
class Keyed:
    """Numbers that depend on each example's key and the stream's name alone, in whatever batch it is."""

    keys: Tensor
    stream: tuple[object, ...]

    def uniform(self, shape: Sequence[int], like: Tensor, purpose: str) -> Tensor:
        """Return uniform numbers in [0, 1), [n, *shape]."""
        return noise.uniform(self.keys, shape, *self._named(purpose), dtype=like.dtype)

    def normal(self, shape: Sequence[int], like: Tensor, purpose: str) -> Tensor:
        """Return standard normal numbers [n, *shape]."""
        return noise.normal(self.keys, shape, *self._named(purpose), dtype=like.dtype)

    def _named(self, purpose: str) -> tuple[object, ...]:
        return (*self.stream, purpose) if purpose else self.stream


@dataclass(frozen=True)
class Drawn:
    """Numbers drawn one after another from a generator on the CPU, so that every device gets the same ones.

    They depend on the batch, which training allows and measuring does not.
    """

    generator: torch.Generator

    def uniform(self, shape: Sequence[int], like: Tensor, purpose: str) -> Tensor:  # noqa: ARG002 - Randomness names it
        """Return uniform numbers in [0, 1), [n, *shape]."""
        return torch.rand((len(like), *shape), generator=self.generator).to(like)

    def normal(self, shape: Sequence[int], like: Tensor, purpose: str) -> Tensor:  # noqa: ARG002 - Randomness names it
        """Return standard normal numbers [n, *shape]."""
        return torch.randn((len(like), *shape), generator=self.generator).to(like)


def start_offset(start: Start, images: Tensor, norm: Norm, radius: float, random: Randomness) -> Tensor:
    """Return what to add to images [n, ...] for this start, in their shape, not yet clipped to the box.

    In L2 a uniform point of the ball has a uniform direction and a length of radius * u^(1/d), u uniform in [0, 1).
    """
    shape = images.shape[1:]
    if start == "none":
        return torch.zeros_like(images)
    if start == "gaussian":
        return GAUSSIAN_SIGMA * random.normal(shape, images, "")
    if norm is Norm.LINF:
        return (2 * random.uniform(shape, images, "box") - 1) * radius
    direction = steepest(random.normal(shape, images, "direction"), Norm.L2)
    share = random.uniform((1,), images, "length")[:, 0]
    offset: Tensor = direction * per_example(radius * share ** (1.0 / images[0].numel()), images)
    return offset


def keyed_start(start: Start, images: Tensor, keys: Tensor, norm: Norm, radius: float, *stream: object) -> Tensor:
    """Return where ascents of images [n, ...] begin, inside ball and box, by each example's key [n] and the stream."""
    if start == "none":
        return images
    points = images + start_offset(start, images, norm, radius, Keyed(keys, stream))
    # A uniform offset lies inside the ball already; only the box can cut it.
    return points.clamp(0, 1) if start == "uniform" else project(points, images, norm, radius)
