"""Images to attack, from a data set or from a picture file, in the form that a network takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.limits import TEXT_BYTES
from measurebench.core.reading import read_text, reading
from measurebench.datasets import load_dataset
from measurebench.gallery.imagenet import CROP_SHARE, N_CLASSES, SIDE, imagenet_names
from measurebench.models import LoadedModel
from measurebench.models.inputs import refusal, usual_shape
from measurebench.reporting.figures.pictures import read_picture

__all__ = ["Subjects", "dataset_subjects", "picture_subjects", "read_class_names", "with_imagenet_names"]

_LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in grey, ITU-R BT.601, as in picture programs


@dataclass(frozen=True)
class Subjects:
    """Images to attack: float32 pixels [n, C, H, W] in [0, 1] and what is known of them.

    ``labels`` int64 [n] are None where the true classes are not known. ``indices`` name the images, and with them their
    random numbers. ``names`` are the names of the classes, as far as they are known; ``sources`` those of the picture
    files, none for images of a data set.
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64] | None
    indices: tuple[int, ...]
    names: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def name(self, label: int) -> str:
        """Return a class's name, or ``class 3`` where it has none."""
        return self.names[label] if label < len(self.names) else f"class {label}"

    def number(self, name: str) -> int:
        """Return the number of a class that is given by name or number.

        Raises BadInputError for a name that no class has, with near names, and for one that several have.
        """
        if (times := self.names.count(name)) > 1:
            places = " and ".join(str(place) for place, other in enumerate(self.names) if other == name)
            raise BadInputError("target", f"one class called {name!r}", f"{times}", f"give its number: {places}")
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
    loaded: LoadedModel,
    path: Path | Sequence[Path],
    *,
    size: int | None = None,
    names: tuple[str, ...] = (),
    preprocessing: str = "square",
) -> Subjects:
    """Return picture files as images [n, C, H, W], the middle square of each scaled to ``size`` where that is given.

    With ``preprocessing`` "imagenet" the short side is scaled to 8/7 of ``size`` (224 unless given), and the middle
    square of that size is cut out, as networks for ImageNet are evaluated. Pictures become grey for a network that
    takes one channel. Raises BadInputError for a file that is no picture, and for pictures of different sizes or of a
    size that the network cannot take.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    images = [_picture(each, size, preprocessing) for each in paths]
    for each, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            shapes = f"{list(images[0].shape)} and {list(image.shape)}"
            raise BadInputError(str(each), "pictures of one size", shapes, "scale them with --size N")
    sources = tuple(each.name for each in paths)
    subjects = Subjects(np.stack(images), None, tuple(range(len(images))), names, sources)
    colours = subjects.images
    if refusal(loaded.network, colours.shape[1:]) and not refusal(loaded.network, (1, *colours.shape[2:])):
        grey = np.einsum("c,nchw->nhw", np.asarray(_LUMA, dtype=np.float32), colours)[:, None].clip(0, 1)
        return replace(subjects, images=grey)
    _check_shape(loaded, subjects, str(paths[0]), "choose its side with --size {side}")
    return subjects


def _picture(path: Path, size: int | None, preprocessing: str) -> npt.NDArray[np.float32]:
    """Return a picture file as pixels [3, H, W]."""
    if preprocessing not in ("square", "imagenet"):
        raise BadInputError("preprocessing", "square or imagenet", repr(preprocessing))
    if preprocessing == "square":
        return read_picture(path, size)
    side = size or SIDE
    return read_picture(path, round(side / CROP_SHARE), crop=side)


def read_class_names(path: Path | None) -> tuple[str, ...]:
    """Return the lines of a file as names of classes; () without a file, and for ``imagenet`` the built-in ones.

    Raises BadInputError where the file is no text.
    """
    if path is None:
        return ()
    if str(path) == "imagenet" and not path.exists():
        return imagenet_names()
    expected = "a text file in UTF-8 with one class name per line"
    with reading(path, expected):
        return tuple(line.strip() for line in read_text(path, TEXT_BYTES, expected).splitlines())


def with_imagenet_names(loaded: LoadedModel, subjects: Subjects) -> Subjects:
    """Return subjects with the names of ImageNet's classes where the network tells 1,000 classes apart.

    Without torchvision, which holds the names, the classes keep their numbers.
    """
    with torch.no_grad():
        n_classes = loaded.network(torch.from_numpy(subjects.images[:1])).shape[1]
    if n_classes != N_CLASSES or find_spec("torchvision") is None:
        return subjects
    return replace(subjects, names=imagenet_names())


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
