"""Images to attack, from a data set or from a picture file, in the form that a network takes."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.limits import TEXT_BYTES
from measurebench.core.reading import read_text, reading
from measurebench.datasets import load_dataset
from measurebench.models import LoadedModel
from measurebench.models.inputs import refusal, usual_shape
from measurebench.reporting.figures.pictures import read_picture

__all__ = ["Subjects", "dataset_subjects", "picture_subjects", "read_class_names"]

_LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in grey, ITU-R BT.601, as in picture programs


@dataclass(frozen=True)
class Subjects:
    """Images to attack: float32 pixels [n, C, H, W] in [0, 1] and what is known of them.

    ``labels`` int64 [n] are None where the true classes are not known. ``indices`` name the images, and with them their
    random numbers. ``names`` are the names of the classes, as far as they are known.
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64] | None
    indices: tuple[int, ...]
    names: tuple[str, ...] = ()

    def name(self, label: int) -> str:
        """Return a class's name, or ``class 3`` where it has none."""
        return self.names[label] if label < len(self.names) else f"class {label}"

    def number(self, name: str) -> int:
        """Return the number of a class that is given by name or number.

        Raises BadInputError for a name that no class has, with near names.
        """
        if name in self.names:
            return self.names.index(name)
        if name.isascii() and name.isdigit():
            return int(name[:9])
        raise BadInputError("target", "a class by name or number", repr(name), near_names(name, self.names))


def dataset_subjects(
    loaded: LoadedModel,
    index: int = 0,
    count: int = 1,
    *,
    dataset: str | None = None,
    data_dir: str | Path | None = None,
    names: tuple[str, ...] = (),
    offline: bool = False,
) -> Subjects:
    """Return ``count`` test images of a data set (by default the model's own, or digits), from ``index`` on.

    Fewer are returned at the end of the data set. Raises BadInputError for an index beyond it, and for images that the
    network cannot take.
    """
    source = load_dataset(dataset or loaded.spec.dataset or "digits", data_dir, offline=offline)
    if index >= len(source.test):
        raise BadInputError("index", f"below {len(source.test)}, the number of test images", str(index))
    chosen = tuple(range(index, min(index + count, len(source.test))))
    labels = np.asarray(source.test.labels[list(chosen)], dtype=np.int64)
    subjects = Subjects(source.test.images[list(chosen)], labels, chosen, names or source.class_names)
    _check_shape(loaded, subjects, f"images of {source.name}", "")
    return subjects


def picture_subjects(
    loaded: LoadedModel, path: Path, *, size: int | None = None, names: tuple[str, ...] = ()
) -> Subjects:
    """Return a picture file as one image [1, C, H, W], its middle square scaled to ``size`` where that is given.

    It becomes grey for a network that takes one channel. Raises BadInputError for a file that is no picture, and for a
    size that the network cannot take.
    """
    subjects = Subjects(read_picture(path, size)[None], None, (0,), names)
    colours = subjects.images
    if refusal(loaded.network, colours.shape[1:]) and not refusal(loaded.network, (1, *colours.shape[2:])):
        grey = np.einsum("c,nchw->nhw", np.asarray(_LUMA, dtype=np.float32), colours)[:, None].clip(0, 1)
        return replace(subjects, images=grey)
    _check_shape(loaded, subjects, str(path), "choose its side with --size {side}")
    return subjects


def read_class_names(path: Path | None) -> tuple[str, ...]:
    """Return the lines of a file as names of classes; () without a file. Raises BadInputError where it is no text."""
    if path is None:
        return ()
    expected = "a text file in UTF-8 with one class name per line"
    with reading(path, expected):
        return tuple(line.strip() for line in read_text(path, TEXT_BYTES, expected).splitlines())


def _check_shape(loaded: LoadedModel, subjects: Subjects, subject: str, hint: str) -> None:
    """Refuse images that the network cannot take, naming both shapes."""
    shape = subjects.images.shape[1:]
    if not (reason := refusal(loaded.network, shape)):
        return
    if fitting := usual_shape(loaded):
        wanted, hint = f"images {list(fitting)}, as the network takes", hint.format(side=fitting[-1])
    else:
        wanted, hint = "images that the network takes", reason
    raise BadInputError(subject, wanted, str(list(shape)), hint)
