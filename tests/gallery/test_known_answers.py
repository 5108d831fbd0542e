"""Pictures of attacks on a linear network, of which the strongest attack is known."""

import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from measurebench.core.errors import BadInputError
from measurebench.gallery import Subjects, attack_images, dataset_subjects, write_gallery, write_picture
from measurebench.gallery.attacked import most_telling
from measurebench.models import load_model
from tests.checks import quadrants

NAMES = ("north-west", "north-east", "south-west", "south-east")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model(quadrants.write_model(tmp_path_factory.mktemp("quadrants")))


@pytest.fixture(scope="module")
def subjects():
    pixels, labels = quadrants.images()
    return Subjects(pixels, labels, tuple(range(100, 116)), NAMES)


@pytest.fixture(scope="module")
def attacked(loaded, subjects):
    return attack_images(loaded, subjects, steps=20)


def test_the_images_turned_are_those_whose_margin_is_below_twice_the_radius(attacked) -> None:
    assert [item.is_turned for item in attacked] == [True] * 8 + [False] * 8
    assert [item.index for item in most_telling([attacked[6:]], 4)] == [106, 107, 108, 109]
    assert [item.index for item in most_telling([attacked[8:] + attacked[:8]], 2)] == [100, 101]


def test_the_attack_darkens_the_class_and_brightens_the_runner_up_by_the_radius(attacked) -> None:
    masks = quadrants.places()
    for item, label in zip(attacked, quadrants.images()[1], strict=True):
        change = (item.adversarial - item.clean)[0]
        assert np.allclose(change[masks[label] == 1], -1 / 16, atol=1e-6)
        assert np.allclose(change[masks[(label + 1) % 4] == 1], 1 / 16, atol=1e-6)
        assert item.distance == pytest.approx(1 / 16, abs=1e-6)
        assert np.allclose(item.perturbation - 0.5, item.factor * (item.adversarial - item.clean), atol=1e-6)


def test_labels_and_confidences_are_the_softmax_of_the_known_logits(attacked) -> None:
    for i, (item, label) in enumerate(zip(attacked, quadrants.images()[1], strict=True)):
        lead, scale = quadrants.LEADS[i // 4], quadrants.SCALE
        others = 1 + math.exp(-scale * lead) + 2 * math.exp(-scale * (0.25 + lead))
        assert (item.true, item.clean_label) == (NAMES[label], NAMES[label])
        assert item.clean_confidence == pytest.approx(1 / others, abs=1e-5)
        assert item.adversarial_label == NAMES[(label + 1) % 4 if i < 8 else label]
        assert (item.threat_model, item.attack, item.model_id) == ("Linf 1/16", "PGD-20", "quadrants")


def test_a_target_is_reached_only_where_the_radius_reaches_it(loaded, subjects) -> None:
    first = Subjects(subjects.images[:1], subjects.labels[:1], (0,), NAMES)  # 0.297 away from south-west
    for target in ("south-west", 2, "2"):
        (near,) = attack_images(loaded, first, target=target, radius="1/8")
        (far,) = attack_images(loaded, first, target=target, radius="1/4")
        assert (near.target, near.is_turned) == ("south-west", False)
        assert (far.target, far.adversarial_label, far.is_turned) == ("south-west", "south-west", True)


def test_without_labels_the_truth_is_empty_and_classes_have_numbers(loaded, subjects) -> None:
    (item,) = attack_images(loaded, Subjects(subjects.images[1:2], None, (7,)), steps=20)
    assert (item.true, item.clean_label, item.adversarial_label) == ("", "class 1", "class 2")


def test_a_target_that_no_class_has_names_expected_and_got(loaded, subjects) -> None:
    with pytest.raises(BadInputError) as caught:
        attack_images(loaded, subjects, target="north-wets")
    assert (caught.value.expected, caught.value.got) == ("a class by name or number", "'north-wets'")
    assert "north-west" in caught.value.hint
    with pytest.raises(BadInputError) as caught:
        attack_images(loaded, subjects, target="4")
    assert (caught.value.expected, caught.value.got) == ("a class below 4", "4")


def test_test_images_are_taken_from_the_index_to_the_end(loaded, tmp_path) -> None:
    data = quadrants.write_images(tmp_path, wrong=0)  # in turns of the classes
    found = dataset_subjects(loaded, 14, 5, dataset=data)
    assert found.indices == (14, 15)
    assert found.labels.tolist() == [2, 3]
    with pytest.raises(BadInputError, match="index: expected below 16, the number of test images, got 16"):
        dataset_subjects(loaded, 16, dataset=data)


def test_a_gallery_has_every_picture_whole_and_facts_without_pixels(attacked, tmp_path) -> None:
    entries = json.loads(write_gallery(attacked[:2], tmp_path / "gallery").read_text())
    assert len(entries) == 2
    pictures = sorted((tmp_path / "gallery").glob("*.png"))
    assert len(pictures) == 6
    shown = [np.asarray(Image.open(io.BytesIO(path.read_bytes()))) for path in pictures]
    assert {picture.shape for picture in shown} == {(8, 8)}
    for item in attacked[:2]:
        for pixels in (item.clean, item.perturbation, item.adversarial):
            wanted = np.round(pixels[0] * 255).astype(np.uint8)
            assert any((picture == wanted).all() for picture in shown)


def test_a_strip_holds_three_enlarged_pictures_side_by_side(attacked, tmp_path) -> None:
    item = attacked[0]
    path = write_picture(item, tmp_path / "strip.png")
    shown = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
    assert shown.shape == (224 + 64, 3 * 224 + 4 * 16, 3)
    for i, pixels in enumerate((item.clean, item.perturbation, item.adversarial)):
        tile = shown[16 : 16 + 224, 16 + 240 * i : 240 + 240 * i, 0]
        assert (tile[14::28, 14::28] == np.round(pixels[0] * 255).astype(np.uint8)).all()
    assert [child.name for child in tmp_path.iterdir()] == ["strip.png"]
