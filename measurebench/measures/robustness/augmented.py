"""Accuracy on shifted images and on mixtures of images of one class."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from measurebench.attacks import noise
from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["AugmentedAccuracy", "MixupAccuracy", "partners", "shifted_images"]


def _shares(context: MeasureContext, images: Callable[[slice, int], Tensor], n_draws: int) -> Tensor:
    """Return the share of draws whose image of an example is classified as its label, float64 [n]."""

    def run(rows: slice) -> Tensor:
        labels = context.labels[rows]
        hits = torch.zeros(len(labels), dtype=torch.float64, device=labels.device)
        for draw in range(n_draws):
            hits += context.network(images(rows, draw)).argmax(1) == labels
        return hits / n_draws

    with torch.no_grad():
        return context.batches.cat(run, context.n)


def shifted_images(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Return images [n, C, H, W] moved by ``down`` and ``right`` pixels, int64 [n] each; zeros come in at the edges."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) - down[:, None]
    columns = torch.arange(width, device=images.device) - right[:, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    flat = (rows.clamp(0, height - 1) * width)[:, :, None] + columns.clamp(0, width - 1)[:, None, :]
    index = flat.flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).reshape(images.shape) * inside[:, None]


@register()
@dataclass(frozen=True)
class AugmentedAccuracy:
    """Accuracy on images shifted at random by up to an eighth of their size."""

    n_draws: int = 10
    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="augmented_accuracy",
        title="Accuracy on shifted images",
        family="robustness",
        unit="share",
        formula="mean_x P(f(shift(x)) = y), shifts uniform up to an eighth of the size along both axes",
        latex=r"\frac{1}{n} \sum_x \mathbb{P}\bigl(\hat{y}(T x) = y\bigr),"
        r"\quad T\ \text{a random shift by at most an eighth of the size}",
        source="Aithal et al. 2021, robustness to augmentations as a generalization metric",
        hypothesis="-",
        inputs=("clean",),
        cost="10F",
        explanation="How often the network keeps the label of an image that is moved a little.",
        properties=("logit_scale_invariant", "logit_shift_invariant"),
        departures="Shifts alone, which keep the meaning of every data set; the source also flips, crops and recolours"
        " images, and penalises each in a score. Zeros come in at the edges.",
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean share of 10 shifts per image.

        Raises UndefinedMeasureError for examples that are not images [n, C, H, W].
        """
        if context.images.dim() != 4:
            raise UndefinedMeasureError("shifts need images with a height and a width")
        reach = [max(1, size // 8) for size in context.images.shape[2:]]

        def moved(rows: slice, draw: int) -> Tensor:
            keys, stream = context.keys[rows], (context.settings.seed, "shift", draw)
            down, right = (
                noise.integers(keys, 2 * most + 1, *stream, axis) - most for axis, most in zip("yx", reach, strict=True)
            )
            return shifted_images(context.images[rows], down, right)

        return MeasureValue.mean(_shares(context, moved, self.n_draws))


def partners(labels: Tensor, keys: Tensor, drawn: Tensor) -> Tensor:
    """Return another example of the same class for each, int64 [n]; itself where it is the only one of its class.

    ``labels``, ``keys`` and the random whole numbers ``drawn`` are int64 [n]. The members of a class are counted in
    the order of their keys, so that the order of the examples does not matter.
    """
    by_key = keys.argsort(stable=True)
    order = by_key[labels[by_key].argsort(stable=True)]
    sizes = F.one_hot(labels).sum(0)
    first = (sizes.cumsum(0) - sizes)[labels]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    others = sizes[labels] - 1
    step = torch.where(others > 0, drawn % others.clamp_min(1) + 1, 0)
    return order[first + (place - first + step) % sizes[labels]]


@register()
@dataclass(frozen=True)
class MixupAccuracy:
    """Accuracy on the mean of two images of one class."""

    n_draws: int = 10
    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="mixup_accuracy",
        title="Accuracy on mixtures within a class",
        family="robustness",
        unit="share",
        formula="mean_x P(f((x + x') / 2) = y), x' another image of class y",
        latex=r"\frac{1}{n} \sum_x \mathbb{P}\bigl(\hat{y}(\tfrac{x + x'}{2}) = y\bigr),"
        r"\quad x'\ \text{another image with label}\ y",
        source="Natekar and Sharma 2020, label-wise mixup performance",
        hypothesis="-",
        inputs=("clean",),
        cost="10F",
        explanation="How often the network gives the mean of two images of a class to that class.",
        properties=("logit_scale_invariant", "logit_shift_invariant"),
        departures="Ten partners are drawn for each image, among the images measured. An image without another one of"
        " its class is left out.",
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean share of mixtures with the right label.

        Raises UndefinedMeasureError if no class has two images.
        """
        labels, keys, images, seed = context.labels, context.keys, context.images, context.settings.seed
        kept = F.one_hot(labels).sum(0)[labels] > 1
        if not bool(kept.any()):
            raise UndefinedMeasureError("a mixture needs two images of one class")
        drawn = [noise.integers(keys, 1 << 40, seed, "mixup partner", draw) for draw in range(self.n_draws)]
        others = [partners(labels, keys, numbers) for numbers in drawn]
        shares = _shares(context, lambda rows, draw: (images[rows] + images[others[draw][rows]]) / 2, self.n_draws)
        return MeasureValue.mean(shares[kept], n_alone=int((~kept).sum()))
