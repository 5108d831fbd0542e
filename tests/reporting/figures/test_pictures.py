"""Pictures are read at their own depth."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from measurebench.core.errors import BadInputError
from measurebench.reporting.figures.pictures import read_picture

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("grey8.png", np.round(RAMP * 255).astype(np.uint8)),
        ("grey16.png", np.round(RAMP * 65535).astype(np.uint16)),
        ("grey16.tiff", np.round(RAMP * 65535).astype(np.uint16)),
        ("grey32.tiff", np.round(RAMP * 65535).astype(np.int32)),
        ("float.tiff", RAMP.astype(np.float32)),
    ],
)
@pytest.mark.parametrize("size", [None, 32])
def test_a_ramp_keeps_its_values_whatever_its_depth(
    name: str, pixels: np.ndarray, size: int | None, tmp_path: Path
) -> None:
    Image.fromarray(pixels).save(tmp_path / name)
    found = read_picture(tmp_path / name, size)
    assert found.shape == (3, size or 64, size or 64)
    assert found.dtype == np.float32
    assert abs(found.mean() - 0.5) < 0.003
    assert size is not None or np.abs(found - RAMP).max() < 0.003
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("worst", [-0.5, 1.5, float("nan")])
def test_floats_beyond_their_range_are_refused(worst: float, tmp_path: Path) -> None:
    Image.fromarray(np.where(RAMP < 0.5, worst, RAMP).astype(np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(BadInputError, match=r"floats in \[0, 1\], got values from"):
        read_picture(tmp_path / "float.tiff", None)
