"""Labelled images in a fixed order: the first n images of a split hold the classes evenly, for every n."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from measurebench.core.digests import digest_array, digest_json
from measurebench.core.errors import BadInputError
from measurebench.core.unit_range import is_unit_range

__all__ = ["Dataset", "ImageSplit", "balanced_order", "clamped", "no_images"]


@dataclass(frozen=True)
class ImageSplit:
    """``images`` float32 [n, C, H, W] in [0, 1], ``labels`` int64 [n], ``indices`` int64 [n] in the source."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, n: int) -> "ImageSplit":
        """Return the first n examples, or all of them if there are fewer."""
        return ImageSplit(self.images[:n], self.labels[:n], self.indices[:n])

    def copied(self) -> "ImageSplit":
        """Return a copy of the examples, so that the memory of a larger split can be freed."""
        return ImageSplit(self.images.copy(), self.labels.copy(), self.indices.copy())

    def digest(self) -> str:
        """Return a digest of pixels, labels and indices, in their order."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return digest_json([digest_array(a) for a in (self.images, self.labels, self.indices)])


@dataclass(frozen=True)
class Dataset:
    """A classification data set; no image is in two of its splits, and ``extra`` and ``validation`` may be absent.

    ``train`` has no images where only test images are known; ``needs_training_images`` says so to what reads them.
    ``classes_known`` is False where the number of classes was only read off the labels: there may be more.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSplit
    test: ImageSplit
    extra: ImageSplit | None = None
    validation: ImageSplit | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    classes_known: bool = True

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def needs_training_images(self, purpose: str, hint: str = "") -> None:
        """Raise BadInputError where there are no training images; ``purpose`` says what they are for."""
        if not len(self.train):
            raise BadInputError(f"dataset {self.name}", f"training images {purpose}", "test images alone", hint)

    def reduced(self, n_train: int, n_test: int) -> "Dataset":
        """Return a data set of the first training and test images, copied, without the other splits."""
        return Dataset(
            self.name,
            self.class_names,
            self.train.first(n_train).copied(),
            self.test.first(n_test).copied(),
            notes=self.notes,
            classes_known=self.classes_known,
        )

    def with_classes(self, n_classes: int) -> "Dataset":
        """Return the data set with a stated number of classes; those without a name are called by their number.

        Raises BadInputError if its labels, or the names of its classes, need another number.
        """
        present = (self.train, self.test, self.extra, self.validation)
        needed = max(int(split.labels.max(initial=-1)) for split in present if split is not None) + 1
        known = f"{self.n_classes}, as it has" if self.classes_known else f"at least {needed}, which its labels need"
        if n_classes < needed or (self.classes_known and n_classes != self.n_classes):
            raise BadInputError(f"classes of {self.name}", known, str(n_classes))
        if self.classes_known:
            return self
        return replace(self, class_names=tuple(str(i) for i in range(n_classes)), classes_known=True)

    def split(self, name: str) -> ImageSplit:
        """Return the split train, test, extra or validation. Raises BadInputError for another or an absent one."""
        value = getattr(self, name, None) if name in ("train", "test", "extra", "validation") else None
        if value is None:
            raise BadInputError(
                f"split of {self.name}", "train, test, extra or validation, where it exists", repr(name)
            )
        return value  # type: ignore[no-any-return]


def no_images(like: ImageSplit) -> ImageSplit:
    """Return a split without images, for images of the shape of another split."""
    return like.first(0).copied()


def clamped(dataset: Dataset) -> Dataset:
    """Return the data set with pixels in [0, 1] where rounding left some just outside; itself elsewhere."""
    changed = {}
    for name in ("train", "test", "extra", "validation"):
        split = getattr(dataset, name)
        if split is None or not isinstance(split.images, np.ndarray) or not split.images.size:
            continue  # what is no array breaks a promise that ``check_dataset`` names
        low, high = float(split.images.min()), float(split.images.max())
        if is_unit_range(low, high) and not 0 <= low <= high <= 1:
            changed[name] = replace(split, images=split.images.clip(0, 1))
    return replace(dataset, **changed) if changed else dataset


def balanced_order(labels: npt.NDArray[np.int64], seed: int = 0) -> npt.NDArray[np.int64]:
    """Return an order of labels [n], as positions [n], of which every prefix holds the classes evenly.

    Each class is shuffled by ``seed``; then the classes take turns. Their counts differ by at most one until the
    smallest class is used up.

    >>> import numpy as np
    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> labels[balanced_order(labels)]
    array([0, 1, 0, 1, 0, 1])
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        positions = order[labels[order] == label]
        rank[positions] = np.arange(len(positions))
    return np.lexsort((labels, rank))
