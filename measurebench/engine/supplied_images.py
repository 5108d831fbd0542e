"""Adversarial images that the user supplies in files: which belong to a model, and whether they fit a run."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from measurebench.attacks.audit import TOLERANCE
from measurebench.attacks.geometry import distance
from measurebench.attacks.supplied import Supplied
from measurebench.core.errors import BadInputError
from measurebench.core.info import Split
from measurebench.core.threat import ThreatModel
from measurebench.datasets import ImageSplit
from measurebench.measures.registry import Measure
from measurebench.store.adversarial import AdversarialImages, image_digests, read_adversarial

__all__ = ["aligned", "check_splits", "supplied_attack", "supplied_to"]


def supplied_attack(paths: Sequence[Path] | None) -> Supplied | None:
    """Return the attack that stands in for PGD where files of adversarial images are given; else None."""
    if not paths:
        return None
    found = {_read(path).split for path in paths}
    splits: tuple[Split, ...] = ("train", "test")
    return Supplied(tuple(split for split in splits if split in found))


def check_splits(attack: Supplied, pairs: Iterable[tuple[Measure, Split]]) -> None:
    """Raise BadInputError where a measure reads adversarial images of a split that no file holds."""
    for item, split in pairs:
        if "pgd" in item.info.inputs and split not in attack.splits:
            raise BadInputError(
                "--adversarial",
                f"adversarial images of the {split} split, which {item.info.id} reads",
                f"those of the {' and '.join(attack.splits)} split",
                f"add such a file, or use --split {attack.splits[0]}",
            )


def supplied_to(paths: Sequence[Path] | None, model_id: str, model_digest: str) -> dict[Split, AdversarialImages]:
    """Return the adversarial images for a model by split; an empty ``model_digest`` fits every file.

    A file without the digest of a model is for any. Raises BadInputError where a split's files are all of other
    models, or several are of this one.
    """
    found: dict[Split, AdversarialImages] = {}
    files = [_read(path) for path in paths or ()]
    for split in dict.fromkeys(file.split for file in files):
        of_split = [file for file in files if file.split == split]
        fitting = [file for file in of_split if not file.model_digest or model_digest in ("", file.model_digest)]
        if not fitting:
            raise BadInputError(
                str(of_split[0].path),
                f"adversarial images of {model_id} (weights {model_digest})",
                f"those of weights {of_split[0].model_digest}",
                "leave out its model_digest to try one model's images on another",
            )
        if len(fitting) > 1:
            names = " and ".join(str(file.path) for file in fitting)
            raise BadInputError("--adversarial", f"one file for the {split} split of {model_id}", names)
        found[split] = fitting[0]  # type: ignore[index]
    return found


def aligned(file: AdversarialImages, data: ImageSplit, threat: ThreatModel) -> npt.NDArray[np.float32]:
    """Return the adversarial images [n, ...] of these examples, in their order.

    Raises BadInputError where one is missing, was made from another image or label, or lies outside the ball or the
    box, and where the file is of another threat model.
    """
    if (file.threat.norm, file.threat.fraction) != (threat.norm, threat.fraction):
        hint = f"use --norm {file.threat.norm.value} --radius {file.threat.text}"
        raise BadInputError(str(file.path), f"adversarial images within {threat}", f"{file.threat}", hint)
    rows = _rows(file, data)
    images = file.images[rows]
    if images.shape != data.images.shape:
        expected, got = (list(array.shape[1:]) for array in (data.images, images))
        raise BadInputError(str(file.path), f"images of shape {expected}", f"shape {got}")
    _check_origin(file, rows, data)
    _check_ball(file, images, data, threat)
    return images


def _rows(file: AdversarialImages, data: ImageSplit) -> npt.NDArray[np.int64]:
    """Return where the file holds each of these examples."""
    place = {index: row for row, index in enumerate(file.indices.tolist())}
    missing = [index for index in data.indices.tolist() if index not in place]
    if missing:
        n = len(data)
        first = next((k for k, index in enumerate(data.indices.tolist()) if index not in place), n)
        hint = f"use --{file.split}-examples {first}" if first else "was it made from another data set?"
        raise BadInputError(
            str(file.path),
            f"the {n} {file.split} images of this run",
            f"a file without {len(missing)} of them (first missing index: {missing[0]})",
            hint,
        )
    return np.array([place[index] for index in data.indices.tolist()], dtype=np.int64)


def _check_origin(file: AdversarialImages, rows: npt.NDArray[np.int64], data: ImageSplit) -> None:
    """Check that the clean images and the labels are those that the adversarial images were made from."""
    pairs: list[tuple[str, npt.NDArray[Any] | None, npt.NDArray[Any]]] = [
        ("label", file.labels, data.labels),
        ("image_digest", file.digests, image_digests(data.images) if file.digests is not None else data.labels),
    ]
    for name, theirs, ours in pairs:
        if theirs is not None and (wrong := np.flatnonzero(theirs[rows] != ours)).size:
            k = int(wrong[0])
            subject = f"{file.path}: {name} of image {int(data.indices[k])}"
            raise BadInputError(subject, str(ours[k]), str(theirs[rows][k]), "was it made from another data set?")


def _check_ball(
    file: AdversarialImages, images: npt.NDArray[np.float32], data: ImageSplit, threat: ThreatModel
) -> None:
    """Check that every image is finite and lies in the ball and the box."""
    for k in np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(1))[:1]:
        raise BadInputError(f"{file.path}: image {int(data.indices[k])}", "finite pixels", "NaN or infinity")
    flat = images.reshape(len(images), -1)
    outside = (flat.min(1) < -TOLERANCE) | (flat.max(1) > 1 + TOLERANCE)
    for k in np.flatnonzero(outside)[:1]:
        got = f"[{flat[k].min():.4g}, {flat[k].max():.4g}]"
        raise BadInputError(f"{file.path}: image {int(data.indices[k])}", "pixels in [0, 1]", got)
    lengths = distance(torch.from_numpy(images), torch.from_numpy(data.images), threat.norm).numpy()
    for k in np.flatnonzero(lengths > threat.radius + TOLERANCE)[:1]:
        subject = f"{file.path}: image {int(data.indices[k])}"
        raise BadInputError(subject, f"an image within {threat} of the clean one", f"distance {lengths[k]:.6g}")


@lru_cache(maxsize=4)  # one run asks several times for the same files, which may be large
def _read_version(path: Path, _changed: int, _size: int) -> AdversarialImages:
    return read_adversarial(path)


def _read(path: Path) -> AdversarialImages:
    stamp = path.stat() if path.is_file() else None
    return _read_version(path, stamp.st_mtime_ns, stamp.st_size) if stamp else read_adversarial(path)
