"""Balls, the box and steepest steps: the geometry that all attacks share."""

from typing import Any

from torch import Tensor

from measurebench.core.threat import Norm

__all__ = ["distance", "per_example", "project", "steepest"]

# Keeps the division by a length defined at length zero, where the numerator is zero too.
_TINY = 1e-12


def per_example(values: float | Tensor, like: Tensor) -> Any:
    """Return numbers [n] in a shape [n, 1, ...] that broadcasts over images [n, ...], in their dtype.

    A plain number is returned as it is.
    """
    return values.to(like).reshape(-1, *[1] * (like.dim() - 1)) if isinstance(values, Tensor) else values


def distance(a: Tensor, b: Tensor, norm: Norm) -> Tensor:
    """Return the distance between images [n, ...], float64 [n], in pixel units.

    >>> import torch
    >>> distance(torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5), Norm.L2)
    tensor([1., 1.], dtype=torch.float64)
    """
    difference = (a.double() - b.double()).flatten(1)
    return difference.abs().amax(1) if norm is Norm.LINF else difference.norm(dim=1)


def project(images: Tensor, centres: Tensor, norm: Norm, radius: float | Tensor) -> Tensor:
    """Return images [n, ...] moved into the ball around each centre and into the box [0, 1].

    ``radius`` is one number or one per image, [n]. For Linf this is the nearest such point. For L2 the ball comes
    first and the box second, which stays inside both, since centres lie in the box.
    """
    difference = images - centres
    if norm is Norm.LINF:
        reach = per_example(radius, images)
        return (centres + difference.clamp(-reach, reach)).clamp(0, 1)
    length = difference.flatten(1).norm(dim=1)
    reach = radius.to(images) if isinstance(radius, Tensor) else radius
    shrink = (reach / length.clamp_min(_TINY)).clamp_max(1.0)
    moved: Tensor = (centres + difference * per_example(shrink, images)).clamp(0, 1)
    return moved


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Return the unit steps [n, ...] that climb a linear function with these gradients [n, ...] fastest.

    For Linf this is the sign, for L2 the direction. A zero gradient gives a zero step.
    """
    if norm is Norm.LINF:
        return gradient.sign()
    length = gradient.flatten(1).norm(dim=1).clamp_min(_TINY)
    step: Tensor = gradient / per_example(length, gradient)
    return step
