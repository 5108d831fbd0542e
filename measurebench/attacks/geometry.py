"""Balls, boxes and steepest steps: the geometry that attacks share."""

from torch import Tensor

from measurebench.attacks import noise
from measurebench.core.threat import Norm

__all__ = ["distance", "project", "random_start", "steepest"]

_TINY = 1e-12


def _per_example(values: Tensor, like: Tensor) -> Tensor:
    """Reshape [n] so that it broadcasts over images [n, ...]."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def distance(a: Tensor, b: Tensor, norm: Norm) -> Tensor:
    """Return the distance between images, float64 [n], in pixel units."""
    difference = (a.double() - b.double()).flatten(1)
    return difference.abs().amax(1) if norm is Norm.LINF else difference.norm(dim=1)


def project(images: Tensor, centres: Tensor, norm: Norm, radius: float) -> Tensor:
    """Return the points of ball and box [0, 1] for these images (for L2: ball first, then the box)."""
    difference = images - centres
    if norm is Norm.LINF:
        return (centres + difference.clamp(-radius, radius)).clamp(0, 1)
    length = difference.flatten(1).norm(dim=1)
    shrink = (radius / length.clamp_min(_TINY)).clamp_max(1.0)
    return (centres + difference * _per_example(shrink, images)).clamp(0, 1)


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Return the unit step that increases a linear function fastest: the sign (Linf) or the direction (L2)."""
    if norm is Norm.LINF:
        return gradient.sign()
    length = gradient.flatten(1).norm(dim=1).clamp_min(_TINY)
    return gradient / _per_example(length, gradient)


def random_start(images: Tensor, keys: Tensor, norm: Norm, radius: float, *stream: object) -> Tensor:
    """Return points drawn uniformly from the ball around each image, clipped to the box, per example key."""
    shape = images.shape[1:]
    if norm is Norm.LINF:
        offset = (2 * noise.uniform(keys, shape, *stream, "box", dtype=images.dtype) - 1) * radius
        return (images + offset).clamp(0, 1)
    direction = noise.normal(keys, shape, *stream, "direction", dtype=images.dtype)
    direction = steepest(direction, Norm.L2)
    share = noise.uniform(keys, (1,), *stream, "length", dtype=images.dtype)[:, 0]
    length = radius * share ** (1.0 / images[0].numel())
    return (images + direction * _per_example(length, images)).clamp(0, 1)
