"""Writes attacked images: one as a strip of three pictures, or several as a gallery for the page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from measurebench.core.errors import BadInputError
from measurebench.core.files import write_atomically
from measurebench.reporting.figures import gallery as page_gallery
from measurebench.reporting.figures.pictures import png_bytes, strip

if TYPE_CHECKING:
    from measurebench.gallery.attacked import AttackedImage

__all__ = ["check_picture_name", "length_text", "write_gallery", "write_picture", "write_tensors"]


def check_picture_name(path: str | Path) -> None:
    """Return nothing for a name of a PNG file; raises BadInputError for any other."""
    if Path(path).suffix.lower() != ".png":
        raise BadInputError(str(path), "a name that ends in .png", repr(Path(path).suffix or Path(path).name))


def write_picture(attacked: AttackedImage, path: str | Path) -> Path:
    """Write clean image, perturbation and adversarial image side by side as PNG, with captions; return the path.

    Raises BadInputError for a name that does not end in .png and a place that cannot be written to.
    """
    check_picture_name(path)
    captions = [
        (attacked.clean_label, f"{attacked.clean_confidence:.0%} confident"),
        (f"perturbation x {attacked.factor:g}", f"{attacked.threat_model}, size {length_text(attacked.distance)}"),
        (attacked.adversarial_label, f"{attacked.adversarial_confidence:.0%} confident"),
    ]
    content = strip([attacked.clean, attacked.perturbation, attacked.adversarial], captions)
    try:
        write_atomically(Path(path), content)
    except OSError as error:
        raise _unwritable(path, error) from error
    return Path(path)


def length_text(length: float) -> str:
    """Return a length in pixel units over 255 where it is a half of it, which 8-bit pictures have; else as a decimal.

    >>> length_text(2 / 255 + 1e-8), length_text(0.15)
    ('2/255', '0.1500')
    """
    halves = round(2 * length * 255)
    # Images are float32 near 1, so that differences of them are exact to about 1e-7.
    return f"{halves / 2:g}/255" if halves and abs(halves / 510 - length) < 5e-7 else f"{length:.4f}"


def write_tensors(attacked: Sequence[AttackedImage], path: str | Path) -> Path:
    """Write the images as numbers: an .npz file with ``clean`` and ``adversarial``, float32 [n, C, H, W] in [0, 1].

    A PNG rounds pixels to 8 bits, which can undo an attack; this file keeps them as the network saw them. ``labels``
    are the names of the classes that the network predicts for the adversarial images. Raises BadInputError for a place
    that cannot be written to.
    """
    clean, adversarial = (np.stack([getattr(item, name) for item in attacked]) for name in ("clean", "adversarial"))
    labels = np.array([item.adversarial_label for item in attacked])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, clean=clean, adversarial=adversarial, labels=labels)
    try:
        write_atomically(Path(path), buffer.getvalue())
    except OSError as error:
        raise _unwritable(path, error) from error
    return Path(path)


def write_gallery(attacked: Sequence[AttackedImage], folder: str | Path) -> Path:
    """Write ``folder/gallery.json`` and three PNG files for each image, and return the path of the former.

    The page of a results folder shows the gallery that lies in its folder ``gallery``. Images of other models and other
    picture files stay in it; those of the same model and file are replaced. Raises BadInputError for a
    folder that cannot be written to.
    """
    pixels = ("clean", "perturbation", "adversarial")
    entries = [{name: value for name, value in asdict(item).items() if name not in pixels} for item in attacked]
    pictures = [(png_bytes(item.clean), png_bytes(item.perturbation), png_bytes(item.adversarial)) for item in attacked]
    try:
        return page_gallery.write_gallery(Path(folder), entries, pictures)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(path: str | Path, error: OSError) -> BadInputError:
    return BadInputError(str(path), "a place that can be written to", error.strerror or str(error))
