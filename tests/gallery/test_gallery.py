"""Attacked images as data, and what is written of them."""

import inspect
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import measurebench
from measurebench.attacks.geometry import distance
from measurebench.core.errors import BadInputError
from measurebench.core.option_fields import options_of
from measurebench.core.threat import Norm
from measurebench.engine.options import RunOptions
from measurebench.gallery import Subjects, attack_images, dataset_subjects, write_gallery, write_picture
from measurebench.gallery.attacked import AttackedImage, most_telling
from measurebench.gallery.subjects import picture_subjects, read_class_names
from measurebench.models import LoadedModel, load_model
from measurebench.reporting.figures.gallery import read_gallery

NAMES = ("ant", "bee", "cat", "dog", "emu")


@pytest.fixture(scope="module")
def loaded(manifest: Path) -> LoadedModel:
    return load_model(f"{manifest.parent}#net0")


@pytest.fixture(scope="module")
def subjects(loaded: LoadedModel, images_file: Path) -> Subjects:
    return dataset_subjects(loaded, 2, 3, dataset=f"arrays:{images_file}", names=NAMES)


def test_the_attack_stays_within_the_radius(loaded: LoadedModel) -> None:
    images = np.random.default_rng(0).random((3, 1, 8, 8)).astype(np.float32)
    for item in attack_images(loaded, Subjects(images, None, (0, 1, 2)), radius="1/8", steps=10):
        moved = distance(torch.from_numpy(item.adversarial[None]), torch.from_numpy(item.clean[None]), Norm.LINF)
        assert float(moved[0]) == pytest.approx(item.distance, abs=1e-6)
        assert 0 < item.distance <= 1 / 8 + 1e-6


def test_an_attacked_image_holds_what_the_network_says(loaded: LoadedModel, subjects: Subjects) -> None:
    attacked = attack_images(loaded, subjects, radius="1/4", steps=10)
    assert [item.index for item in attacked] == [2, 3, 4]
    assert [item.true for item in attacked] == ["cat", "dog", "emu"]
    for item in attacked:
        with torch.no_grad():
            chances = loaded.network(torch.from_numpy(np.stack([item.clean, item.adversarial]))).softmax(1)
        assert (NAMES[int(chances[0].argmax())], NAMES[int(chances[1].argmax())]) == (
            item.clean_label,
            item.adversarial_label,
        )
        assert float(chances[1].max()) == pytest.approx(item.adversarial_confidence, abs=1e-5)
        assert np.allclose((item.perturbation - 0.5) / item.factor, item.adversarial - item.clean, atol=1e-6)
        assert (item.threat_model, item.attack, item.target) == ("Linf 1/4", "PGD-10", "")


def test_a_target_by_name_or_number_is_the_same(loaded: LoadedModel, subjects: Subjects) -> None:
    by_name, by_number, by_text = (
        attack_images(loaded, subjects, target=target, steps=3) for target in ("bee", 1, "1")
    )
    for first, second, third in zip(by_name, by_number, by_text, strict=True):
        assert first.target == second.target == third.target == "bee"
        assert (first.adversarial == second.adversarial).all()
        assert (first.adversarial == third.adversarial).all()


def test_an_image_keeps_its_random_start_whatever_lies_beside_it(loaded: LoadedModel, subjects: Subjects) -> None:
    alone = Subjects(subjects.images[1:2], subjects.labels[1:2] if subjects.labels is not None else None, (3,), NAMES)
    both, one = attack_images(loaded, subjects, steps=3), attack_images(loaded, alone, steps=3)
    assert np.allclose(both[1].adversarial, one[0].adversarial, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "bea"}, "target: expected a class by name or number, got 'bea'; did you mean 'bee'"),
        ({"target": 5}, "target: expected a class below 5, got 5"),
        ({"target": -1}, "target: expected a class below 5, got -1"),
        ({"norm": "L2"}, "expected --radius beside L2"),
        ({"radius": 8}, "at most 1"),
    ],
)
def test_what_cannot_be_attacked_is_bad_input(
    loaded: LoadedModel, subjects: Subjects, options: dict, message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        attack_images(loaded, subjects, **options)


def image(before: str, after: str, target: str = "", index: int = 0) -> AttackedImage:
    pixels = np.full((1, 8, 8), 0.5, np.float32)
    facts = {"true": "", "clean_confidence": 0.9, "adversarial_confidence": 0.8, "distance": 0.1, "factor": 5.0}
    return AttackedImage(
        model_id="m",
        index=index,
        clean_label=before,
        adversarial_label=after,
        target=target,
        threat_model="Linf 1/8",
        attack="PGD-10",
        clean=pixels,
        perturbation=pixels,
        adversarial=pixels,
        **facts,
    )


def test_turned_means_another_class_and_the_target_s_where_there_is_one() -> None:
    assert image("ant", "bee").is_turned
    assert not image("ant", "ant").is_turned
    assert image("ant", "bee", "bee").is_turned
    assert not image("ant", "cat", "bee").is_turned
    assert not image("bee", "bee", "bee").is_turned


def test_turned_images_come_first_in_each_group() -> None:
    group = [image("ant", "ant", index=0), image("ant", "bee", index=1), image("ant", "cat", index=2)]
    assert [item.index for item in most_telling([group], 2)] == [1, 2]
    assert [item.index for item in most_telling([group, group[:1]], 3)] == [1, 2, 0, 0]


def test_the_gallery_is_what_the_page_reads(tmp_path: Path) -> None:
    attacked = [image("ant", "bee", index=4), image("ant", "cat", "dog", index=7)]
    assert measurebench.write_gallery(attacked, tmp_path / "gallery") == tmp_path / "gallery" / "gallery.json"
    items = read_gallery(tmp_path / "gallery")
    assert [(item.index, item.target, item.distance) for item in items] == [(4, "", 0.1), (7, "dog", 0.1)]
    assert all(item.clean.startswith("data:image/png") for item in items)
    assert len(json.loads((tmp_path / "gallery" / "gallery.json").read_text())) == 2


def test_a_picture_is_a_png_and_nothing_else(tmp_path: Path) -> None:
    assert write_picture(image("ant", "bee"), tmp_path / "new" / "x.PNG").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(BadInputError, match=r"expected a name that ends in \.png, got '\.jpg'"):
        write_picture(image("ant", "bee"), tmp_path / "x.jpg")
    assert not (tmp_path / "x.jpg").exists()


@pytest.mark.parametrize("write", [write_picture, lambda item, path: write_gallery([item], path)])
def test_a_place_that_cannot_be_written_to_is_named(write, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="expected a place that can be written to"):
        write(image("ant", "bee"), tmp_path / "file" / "x.png")


def test_grey_is_made_of_a_picture_with_the_usual_weights(loaded: LoadedModel, tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 1] = 255
    Image.fromarray(pixels).save(tmp_path / "green.png")
    subjects = picture_subjects(loaded, tmp_path / "green.png")
    assert subjects.images.shape == (1, 1, 8, 8)
    assert np.allclose(subjects.images, 0.587)


def test_names_of_classes_are_read_and_missing_ones_made(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ant\n bee \n", encoding="utf-8")
    names = read_class_names(tmp_path / "names.txt")
    assert names == ("ant", "bee")
    assert read_class_names(None) == ()
    few = Subjects(np.zeros((1, 1, 8, 8), np.float32), None, (0,), names)
    assert (few.name(1), few.name(2)) == ("bee", "class 2")
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInputError, match="bytes that are not text"):
        read_class_names(tmp_path / "names.txt")


def test_an_index_beyond_the_data_set_is_refused(loaded: LoadedModel, images_file: Path) -> None:
    assert dataset_subjects(loaded, 38, 9, dataset=f"arrays:{images_file}").indices == (38, 39)
    with pytest.raises(BadInputError, match="index: expected below 40, the number of test images, got 40"):
        dataset_subjects(loaded, 40, dataset=f"arrays:{images_file}")


def test_options_that_a_run_has_too_have_its_defaults() -> None:
    declared = options_of(RunOptions)
    for function in (attack_images, dataset_subjects):
        for item in inspect.signature(function).parameters.values():
            assert item.name not in declared or item.default in (declared[item.name].default, None)


def test_a_model_without_a_threat_model_is_attacked_at_the_default(loaded: LoadedModel, subjects: Subjects) -> None:
    nameless = replace(loaded, spec=replace(loaded.spec, threat_model=None))
    assert attack_images(nameless, subjects, steps=1)[0].threat_model == "Linf 8/255"


@pytest.mark.parametrize(("kind", "scale"), [("I;16", 65535), ("F", 1.0), ("L", 255)])
def test_a_grey_picture_keeps_its_depth(kind: str, scale: float, tmp_path: Path) -> None:
    # A ramp from black to white has the mean one half, whatever the depth.
    from PIL import Image

    from measurebench.reporting.figures.pictures import read_picture

    ramp = np.linspace(0, scale, 64).reshape(8, 8)
    types = {"I;16": np.uint16, "F": np.float32, "L": np.uint8}
    path = tmp_path / ("ramp.tiff" if kind == "F" else "ramp.png")
    Image.fromarray(np.round(ramp).astype(types[kind]) if kind != "F" else ramp.astype(np.float32)).save(path)
    pixels = read_picture(path, None)
    assert pixels.shape == (3, 8, 8)
    assert pixels[0].ravel() == pytest.approx(np.linspace(0, 1, 64), abs=0.6 / scale if kind != "F" else 1e-6)
    assert read_picture(path, 4).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("values", "words"), [((0.0, 9.0), "values from 0 to 9"), ((-1.0, 1.0), "values from -1 to 1")]
)
def test_a_picture_of_floats_outside_the_box_is_refused(
    values: tuple[float, float], words: str, tmp_path: Path
) -> None:
    from PIL import Image

    from measurebench.reporting.figures.pictures import read_picture

    Image.fromarray(np.linspace(*values, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "x.tiff")
    with pytest.raises(BadInputError, match=words):
        read_picture(tmp_path / "x.tiff", None)


@pytest.mark.parametrize("size", [-1, 0, 4097, 1_000_000])
def test_a_size_that_is_none_or_fills_the_memory_is_refused(size: int, tmp_path: Path) -> None:
    from measurebench.reporting.figures.pictures import read_picture

    with pytest.raises(
        BadInputError, match="--size: expected (at most 4,096 pixels of a side|a side of at least 1 pixel)"
    ):
        read_picture(tmp_path / "x.png", size)
