"""Turns images into pictures: arrays to PNG, and strips of clean image, perturbation and adversarial image."""

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from measurebench.core.errors import BadInputError
from measurebench.core.limits import PICTURE_PIXELS, PICTURE_SIDE
from measurebench.core.reading import check_file, reading
from measurebench.core.unit_range import is_unit_range

__all__ = ["GREY", "SIDE", "Image", "amplified", "png_bytes", "read_picture", "strip"]

Image = npt.NDArray[np.float32]
SIDE = 224  # pixels; smaller images are enlarged by a whole factor up to this
GREY = 0.5
_DEEPEST = 65535  # the largest value of a 16-bit pixel


def amplified(clean: Image, adversarial: Image) -> tuple[Image, float]:
    """Return the perturbation [C, H, W] around grey, amplified as far as it can be shown, and the factor.

    The factor is the largest whole number for which no pixel leaves [0, 1]; perturbations above 1/4 get a fraction
    below 2, and no perturbation gives 1.

    >>> clean = np.full((1, 2, 2), 0.5, dtype=np.float32)
    >>> shown, factor = amplified(clean, clean + np.float32(0.125))
    >>> factor, float(shown.max())
    (4.0, 1.0)
    """
    change = adversarial - clean
    largest = float(np.abs(change).max())
    factor = GREY / largest if largest > 0 else 1.0
    # A round factor is easier to think of; it must not push any pixel over the edge.
    factor = float(np.floor(factor)) if factor >= 2 else factor
    return (GREY + factor * change).astype(np.float32), factor


def png_bytes(image: Image) -> bytes:
    """Return an image [C, H, W] in [0, 1], with one channel (grey) or three (colour), as the bytes of a PNG file."""
    buffer = io.BytesIO()
    _pillow(image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def read_picture(path: Path, size: int | None, crop: int | None = None) -> Image:
    """Return a picture file as colours [3, H, W] in [0, 1], its middle square scaled to ``size`` where given.

    With ``crop`` the middle of that many pixels is cut out afterwards. Grey pictures of 16 bits keep their depth, and
    pictures of floats must lie in [0, 1]. Raises BadInputError where there is no such file, where it is not a picture,
    and for a size below 1; LimitError for more pixels or a longer side than is allowed.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    expected = "a picture (PNG, JPEG, ...)"
    if size is not None:
        _check_size(size)
    with reading(path, expected), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about sizes that are refused here and odd metadata
        check_file(path, None, expected)
        try:
            with Pillow.open(path) as opened:
                PICTURE_PIXELS.check(opened.width * opened.height, str(path))
                ImageOps.exif_transpose(opened, in_place=True)
                picture = _unit_grey(opened, path)
        except Pillow.DecompressionBombError as error:  # Pillow's own limit is seven times as high, and comes first
            PICTURE_PIXELS.check(int("".join(re.findall(r"\((\d+) pixels\)", str(error))) or 0), str(path))
            raise
        if size is not None:
            picture = ImageOps.fit(picture, (size, size), Pillow.Resampling.BICUBIC)
        if size is not None and crop is not None:
            edge = (size - crop) // 2
            picture = picture.crop((edge, edge, edge + crop, edge + crop))
    if picture.mode == "F":
        return np.repeat(np.asarray(picture, dtype=np.float32).clip(0, 1)[None], 3, axis=0)
    pixels = np.asarray(picture, dtype=np.float32) / np.float32(255)
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0), dtype=np.float32)


def _check_size(size: int) -> None:
    if size < 1:
        raise BadInputError("--size", "a side of at least 1 pixel", str(size))
    PICTURE_SIDE.check(size, "--size")


def _unit_grey(picture: Any, path: Path) -> Any:
    """Return a deep grey picture as floats in [0, 1], any other in 8-bit colours: Pillow would clip the former."""
    from PIL import Image as Pillow

    if picture.mode != "F" and not picture.mode.startswith("I"):
        return picture.convert("RGB")
    pixels = np.asarray(picture, dtype=np.float32) / np.float32(1.0 if picture.mode == "F" else _DEEPEST)
    low, high = float(pixels.min()), float(pixels.max())
    if not is_unit_range(low, high):
        scale = 1.0 if picture.mode == "F" else _DEEPEST
        got = f"values from {low * scale:.6g} to {high * scale:.6g}"
        raise BadInputError(str(path), "8 or 16 bits a pixel, or floats in [0, 1]", got)
    return Pillow.fromarray(pixels.clip(0, 1, out=pixels))


def strip(images: Sequence[Image], captions: Sequence[tuple[str, str]]) -> bytes:
    """Return images [C, H, W] side by side as the bytes of a PNG file, each with two lines of caption.

    Small images are enlarged by a whole factor, so that their pixels stay sharp.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(size=14)
    tiles = [_enlarged(_pillow(image)) for image in images]
    width, height, gap = max(SIDE, tiles[0].width), tiles[0].height, 16
    canvas = Pillow.new("RGB", (len(tiles) * width + (len(tiles) + 1) * gap, height + 64), "white")
    draw = ImageDraw.Draw(canvas)
    for i, (tile, (first, second)) in enumerate(zip(tiles, captions, strict=True)):
        left = gap + i * (width + gap)
        canvas.paste(tile, (left, gap))
        draw.text((left, height + gap + 6), first, fill="#1c2127", font=font)
        draw.text((left, height + gap + 24), second, fill="#56616c", font=font)
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _pillow(image: Image) -> Any:
    from PIL import Image as Pillow

    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise BadInputError("image", "one or three channels, [C, H, W]", f"shape {tuple(image.shape)}")
    return Pillow.fromarray(pixels[0]) if image.shape[0] == 1 else Pillow.fromarray(np.moveaxis(pixels, 0, -1))


def _enlarged(tile: Any) -> Any:
    from PIL import Image as Pillow

    times = max(1, SIDE // max(tile.size))
    return tile.convert("RGB").resize((tile.width * times, tile.height * times), Pillow.Resampling.NEAREST)
