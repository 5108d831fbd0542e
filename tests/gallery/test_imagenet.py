"""A photograph and a network for ImageNet, with random weights: names, crop, several pictures, numbers beside them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.gallery import Subjects
from measurebench.gallery.imagenet import imagenet_names
from measurebench.gallery.subjects import read_class_names
from measurebench.reporting.figures.gallery import read_gallery
from measurebench.reporting.figures.pictures import read_picture

torchvision = pytest.importorskip("torchvision")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("imagenet") / "mobile.pt"
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), path)
    return path


def photograph(folder: Path, name: str, width: int = 320, height: int = 240, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height)).save(folder / name)
    return folder / name


def attack(checkpoint: Path, *arguments: str | Path) -> int:
    options = ["--architecture", "torchvision.models:mobilenet_v3_small", "--normalization", "imagenet"]
    options += ["--radius", "2/255", "--preprocessing", "imagenet"]
    return run_command_line(["attack", str(checkpoint), *options, *map(str, arguments)])


def test_names_are_those_of_torchvision_in_the_order_of_the_labels() -> None:
    names = imagenet_names()
    assert (len(names), names[0], names[285], names[404]) == (1000, "tench", "Egyptian cat", "airliner")
    assert read_class_names(Path("imagenet")) == names


def test_a_photograph_gets_names_top_five_and_numbers_beside_the_picture(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, out = photograph(tmp_path, "cat.png"), tmp_path / "attack.png"
    target = ("--target", "airliner", "--steps", "2")
    assert attack(checkpoint, "--image", picture, "--out", out, "--tensors", *target) == 0
    first, before, after = capsys.readouterr().out.splitlines()
    assert first.startswith("cat.png: ")
    assert first.endswith("distance 2/255")
    assert all(line.count("%") == 5 for line in (before, after))
    assert sum(name in before for name in imagenet_names()) >= 5
    with np.load(tmp_path / "attack.npz") as arrays:
        assert arrays["clean"].shape == arrays["adversarial"].shape == (1, 3, 224, 224)
        distance = np.abs(arrays["adversarial"] - arrays["clean"]).max()
    assert distance == pytest.approx(2 / 255, abs=1e-6)


def test_several_pictures_share_a_gallery_and_a_second_call_adds_to_it(checkpoint: Path, tmp_path: Path) -> None:
    for name, seed in (("cat.png", 0), ("dog.png", 1), ("emu.png", 2)):
        photograph(tmp_path, name, seed=seed)
    gallery = tmp_path / "gallery"
    both = ("--image", tmp_path / "cat.png", "--image", tmp_path / "dog.png")
    assert attack(checkpoint, *both, "--gallery", gallery, "--steps", "1") == 0
    assert {item.source for item in read_gallery(gallery)} == {"cat.png", "dog.png"}
    assert attack(checkpoint, "--image", tmp_path / "emu.png", "--gallery", gallery, "--steps", "1") == 0
    assert attack(checkpoint, "--image", tmp_path / "cat.png", "--gallery", gallery, "--steps", "1") == 0
    assert sorted(item.source for item in read_gallery(gallery)) == ["cat.png", "dog.png", "emu.png"]
    assert len(list(gallery.glob("*.png"))) == 9


def test_several_pictures_do_not_fit_one_file(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = photograph(tmp_path, "cat.png")
    assert attack(checkpoint, "--image", picture, "--image", picture, "--out", tmp_path / "x.png") == 2
    assert "one picture file, or --gallery DIR for several, got 2 of them" in capsys.readouterr().err


def test_the_crop_is_that_of_torchvision(tmp_path: Path) -> None:
    """The middle 224 of 256, whatever the shape; scaling differs by the filter alone, so a smooth picture agrees."""
    ramp = np.linspace(0, 255, 400)[None, :, None] * np.ones((300, 1, 3))
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "ramp.png")
    ours = read_picture(tmp_path / "ramp.png", 256, crop=224)
    preset = torchvision.transforms.Compose(
        [torchvision.transforms.Resize(256), torchvision.transforms.CenterCrop(224), torchvision.transforms.ToTensor()]
    )
    theirs = preset(Image.open(tmp_path / "ramp.png")).numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 0.02


def test_a_name_that_two_classes_have_is_refused_with_their_numbers() -> None:
    subjects = Subjects(np.zeros((1, 3, 8, 8), dtype=np.float32), None, (0,), ("crane", "jay", "crane"))
    with pytest.raises(BadInputError, match=r"one class called 'crane', got 2; give its number: 0 and 2"):
        subjects.number("crane")


def test_pictures_of_different_sizes_are_told(checkpoint: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    a, b = photograph(tmp_path, "a.png", 64, 64), photograph(tmp_path, "b.png", 96, 96)
    arguments = ("--image", a, "--image", b, "--gallery", tmp_path / "g", "--preprocessing", "square")
    assert attack(checkpoint, *arguments) == 2
    assert "pictures of one size" in capsys.readouterr().err


@pytest.mark.parametrize(("target", "expected"), [(None, "PGD-40"), ("airliner", "PGD-200")])
def test_a_target_gets_more_steps_by_default(target: str | None, expected: str) -> None:
    from measurebench.gallery import attack_images
    from measurebench.models import LoadedModel, load_model

    loaded: LoadedModel = load_model("digits:plain-standard-b64-s0-last")
    pixels = np.full((1, 1, 8, 8), 0.5, dtype=np.float32)
    names = ("airliner", *map(str, range(1, 10)))
    (item,) = attack_images(loaded, Subjects(pixels, None, (0,), names), target=target)
    assert item.attack == expected
    assert [chance for _, chance in item.clean_top] == sorted((c for _, c in item.clean_top), reverse=True)
    assert item.clean_top[0] == (item.clean_label, pytest.approx(item.clean_confidence))
