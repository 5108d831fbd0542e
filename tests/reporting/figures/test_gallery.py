import json
from pathlib import Path

import numpy as np
import pytest

from measurebench.core.errors import BadInputError
from measurebench.reporting.figures.gallery import read_gallery, write_gallery
from measurebench.reporting.figures.pictures import amplified, png_bytes, read_picture, strip

ENTRY = {
    "model_id": "m",
    "index": 3,
    "true": "cat",
    "clean_label": "cat",
    "clean_confidence": 0.9,
    "adversarial_label": "dog",
    "adversarial_confidence": 0.8,
    "target": "",
    "factor": 16.0,
    "distance": 0.03,
    "threat_model": "Linf 8/255",
    "attack": "PGD-40",
}


def image(value: float) -> np.ndarray:
    return np.full((1, 8, 8), value, dtype=np.float32)


def test_a_perturbation_is_amplified_by_a_whole_factor_that_fits() -> None:
    shown, factor = amplified(image(0.5), image(0.53))
    assert factor == 16.0
    assert shown.max() == pytest.approx(0.5 + 16 * 0.03, abs=1e-5)
    assert shown.max() <= 1


def test_no_perturbation_is_grey() -> None:
    shown, factor = amplified(image(0.2), image(0.2))
    assert (factor, shown.min(), shown.max()) == (1.0, 0.5, 0.5)


def test_a_gallery_is_read_as_it_was_written(tmp_path: Path) -> None:
    files = (png_bytes(image(0.1)), png_bytes(image(0.5)), png_bytes(image(0.9)))
    write_gallery(tmp_path, [ENTRY], [files])
    (item,) = read_gallery(tmp_path)
    assert (item.model_id, item.adversarial_label, item.factor, item.fooled) == ("m", "dog", 16.0, True)
    assert item.clean.startswith("data:image/png;base64,")


def test_a_missing_target_counts_as_held(tmp_path: Path) -> None:
    files = (png_bytes(image(0.1)), png_bytes(image(0.5)), png_bytes(image(0.9)))
    write_gallery(tmp_path, [ENTRY | {"target": "ship"}], [files])
    assert not read_gallery(tmp_path)[0].fooled


def test_a_gallery_that_names_a_file_outside_reads_only_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png_bytes(image(0.1)))
    folder = tmp_path / "gallery"
    folder.mkdir()
    entry = ENTRY | dict.fromkeys(("clean", "perturbation", "adversarial"), "../secret.png")
    (folder / "gallery.json").write_text(json.dumps([entry]))
    with pytest.raises(BadInputError, match="no such file"):
        read_gallery(folder)


def test_a_field_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "gallery.json").write_text(json.dumps([{"model_id": "m"}]))
    with pytest.raises(BadInputError, match="entry 1"):
        read_gallery(tmp_path)


def test_no_gallery_is_no_error(tmp_path: Path) -> None:
    assert read_gallery(tmp_path) == ()


def test_a_picture_file_is_read_as_its_middle_square(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(strip([image(0.5)], [("a", "b")]))
    assert read_picture(path, 32).shape == (3, 32, 32)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_text("<html>")
    with pytest.raises(BadInputError, match=r"picture\.png"):
        read_picture(path, None)
