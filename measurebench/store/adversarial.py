"""Files of adversarial images: written by a run, and read by a later run that takes them in place of PGD's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from measurebench.core.digests import digest_array, digest_json
from measurebench.core.errors import BadInputError
from measurebench.core.files import file_name
from measurebench.core.threat import ThreatModel
from measurebench.store.examples import Arrays, read_arrays, write_arrays

__all__ = [
    "AdversarialImages",
    "adversarial_path",
    "image_digests",
    "read_adversarial",
    "saved_indices",
    "write_adversarial",
]

_REQUIRED = ("adversarial", "index", "split", "norm", "radius")
_SPLITS = ("train", "test")
# Rows of two files may stand in one file only where all of these agree.
_IDENTITY = ("attack", "attack_version", "split", "norm", "radius", "model_digest")


@dataclass(frozen=True)
class AdversarialImages:
    """The content of a file: ``images`` float32 [n, ...] for the examples ``indices`` int64 [n] of a split.

    ``labels`` int64 [n] and ``digests`` of the clean images, text [n], are None where the file does not have them;
    ``attack`` and ``model_digest`` are empty then.
    """

    path: Path
    images: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int64]
    split: str
    threat: ThreatModel
    labels: npt.NDArray[np.int64] | None = None
    digests: npt.NDArray[np.str_] | None = None
    attack: str = ""
    model_digest: str = ""

    def digest(self) -> str:
        """Return a digest of images and indices, in their order."""
        return digest_json([digest_array(self.images), digest_array(self.indices)])


def adversarial_path(folder: Path, model_id: str, config_digest: str, split: str, attack: str) -> Path:
    """Return the file of a results folder with the adversarial images of an attack."""
    return folder / "adversarial" / file_name(model_id) / config_digest / f"{split}-{file_name(attack)}.npz"


def image_digests(images: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    """Return a digest of each image [n, ...], text [n]."""
    return np.array([digest_array(image) for image in images], dtype="<U16")


def write_adversarial(path: Path, arrays: Arrays) -> None:
    """Write adversarial images and what belongs to them, whole or not at all.

    ``arrays`` holds ``adversarial`` [n, ...] and ``index`` [n], more arrays [n], and texts that say whose the images
    are. Examples that the file has already and ``arrays`` has not are kept, as long as those texts agree.
    """
    earlier = read_arrays(path) if path.is_file() else None
    write_arrays(path, _merged(earlier, arrays) if earlier and _alike(earlier, arrays) else arrays)


def _alike(a: Arrays, b: Arrays) -> bool:
    return set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in _IDENTITY if name in b)


def _merged(earlier: Arrays, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Return the new rows, followed by the earlier rows of other examples; texts as in ``arrays``."""
    kept = ~np.isin(earlier["index"], arrays["index"])
    return {
        name: np.concatenate([values, earlier[name][kept]]) if values.ndim else values
        for name, values in arrays.items()
    }


def saved_indices(path: Path, identity: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """Return the examples int64 [n] of a file whose texts agree with ``identity``; none where it is damaged or absent.

    The whole file is read, so that a damaged one is made again.
    """
    found = (read_arrays(path) if path.is_file() else None) or {}
    fits = {"adversarial", "index"} <= set(found) and all(
        name in found and np.array_equal(found[name], np.array(value)) for name, value in identity.items()
    )
    indices: npt.NDArray[np.int64] = found["index"] if fits else np.zeros(0, dtype=np.int64)
    return indices


def read_adversarial(path: str | Path) -> AdversarialImages:
    """Return the adversarial images of an .npz file.

    It has the arrays ``adversarial`` float [n, ...] and ``index`` int [n], and the texts ``split``, ``norm`` and
    ``radius``. The arrays ``label`` and ``image_digest`` [n], and the texts ``model_digest`` and ``attack`` are
    optional. Raises BadInputError for a file that is missing or damaged, or that lacks one of the former.
    """
    source = Path(path)
    if not source.is_file():
        raise BadInputError(str(source), "an .npz file of adversarial images", "no such file")
    found = read_arrays(source)
    if found is None:
        raise BadInputError(str(source), "an .npz file of adversarial images", "another or a damaged file")
    for name in _REQUIRED:
        if name not in found:
            raise BadInputError(str(source), f"the array {name!r}", f"only {', '.join(sorted(found)) or 'none'}")
    split = str(found["split"])
    if split not in _SPLITS:
        raise BadInputError(f"{source}: split", "train or test", repr(split))
    images, indices = _images(found, source)
    labels, digests = found.get("label"), found.get("image_digest")
    return AdversarialImages(
        source,
        images,
        indices,
        split,
        ThreatModel.parse(str(found["norm"]), str(found["radius"]), f"{source}: radius"),
        None if labels is None else _column(labels, len(indices), f"{source}: label").astype(np.int64),
        None if digests is None else _column(digests, len(indices), f"{source}: image_digest").astype(str),
        str(found.get("attack", "")),
        str(found.get("model_digest", "")),
    )


def _images(found: Arrays, source: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return images and indices; raises BadInputError where they cannot be such."""
    images, indices = found["adversarial"], found["index"]
    if not np.issubdtype(images.dtype, np.floating) or images.ndim < 2:
        raise BadInputError(f"{source}: adversarial", "floats [n, ...]", f"{images.dtype} {list(images.shape)}")
    if not np.issubdtype(indices.dtype, np.integer):
        raise BadInputError(f"{source}: index", "whole numbers", str(indices.dtype))
    indices = _column(indices, len(images), f"{source}: index").astype(np.int64)
    if len(np.unique(indices)) < len(indices):
        raise BadInputError(f"{source}: index", "each example once", f"{_repeated(indices)} twice")
    return images.astype(np.float32), indices


def _column(values: npt.NDArray[Any], n: int, subject: str) -> npt.NDArray[Any]:
    if values.shape != (n,):
        raise BadInputError(subject, f"one value for each of {n} images", f"shape {list(values.shape)}")
    return values


def _repeated(indices: Sequence[int] | npt.NDArray[np.int64]) -> int:
    values, counts = np.unique(indices, return_counts=True)
    return int(values[counts > 1][0])
