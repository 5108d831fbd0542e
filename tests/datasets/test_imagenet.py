"""ImageNet in a folder: prepared pixel by pixel as torchvision does, in RobustBench's order and ImageNet's numbers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from measurebench.core.errors import BadInputError
from measurebench.datasets import load_dataset
from measurebench.datasets.imagenet import PREPARATIONS, load_imagenet, prepared

BICUBIC = transforms.InterpolationMode.BICUBIC
THEIRS = {
    "Res256Crop224": [transforms.Resize(256), transforms.CenterCrop(224)],
    "BicubicRes256Crop224": [transforms.Resize(256, interpolation=BICUBIC), transforms.CenterCrop(224)],
    "Res224": [transforms.Resize([224, 224])],
    "Crop288": [transforms.CenterCrop(288)],
}
# In RobustBench's order: the first, the second and the fourth of its 5,000.
LISTED = (
    "n09468604/ILSVRC2012_val_00015253.JPEG",
    "n02823750/ILSVRC2012_val_00020685.JPEG",
    "n03983396/ILSVRC2012_val_00004059.JPEG",
)


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size)


@pytest.mark.parametrize("name", PREPARATIONS)
@pytest.mark.parametrize("size", [(500, 375), (333, 500), (401, 401), (257, 300)])
def test_pixels_are_those_of_torchvision(name: str, size: tuple[int, int]) -> None:
    made = prepared(picture(size), name)
    theirs = transforms.Compose([*THEIRS[name], transforms.ToTensor()])(picture(size)).numpy()
    assert made.shape == theirs.shape
    np.testing.assert_array_equal(made, theirs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(LISTED):
        for place in (tmp_path / "val" / name, tmp_path / "train" / name.replace("val", "train")):
            place.parent.mkdir(parents=True)
            picture((260, 300), seed).save(place)
    (tmp_path / "val" / LISTED[0]).with_name("other.JPEG").write_bytes((tmp_path / "val" / LISTED[0]).read_bytes())
    return tmp_path


def test_the_pictures_of_robustbench_come_in_its_order_with_imagenets_numbers(folder: Path) -> None:
    found = load_dataset("imagenet:Res224", data_dir=folder)
    assert (found.name, found.n_classes) == ("imagenet:Res224", 1000)
    assert found.test.labels.tolist() == [found.class_names.index(name.partition("/")[0]) for name in LISTED]
    assert found.test.images.shape == (3, 3, 224, 224)  # a picture that RobustBench does not evaluate on is none
    for row, name in enumerate(LISTED):
        np.testing.assert_array_equal(found.test.images[row], prepared(Image.open(folder / "val" / name), "Res224"))
    assert len(found.train) == 3


def test_folders_of_other_names_are_numbered_in_their_order(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("cat", "bat"):
            (tmp_path / split / name).mkdir(parents=True)
            picture((300, 300)).save(tmp_path / split / name / "1.png")
    found = load_imagenet(tmp_path, "Crop288")
    assert found.class_names == ("bat", "cat")
    assert sorted(found.test.labels.tolist()) == [0, 1]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="--data-dir DIR"):
        load_dataset("imagenet")
    with pytest.raises(BadInputError, match="no folder train"):
        load_imagenet(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(BadInputError, match="no folder val"):
        load_imagenet(tmp_path)
    (tmp_path / "val").mkdir()
    with pytest.raises(BadInputError, match="pictures in train and val"):
        load_imagenet(tmp_path)
    with pytest.raises(BadInputError, match="Res256Crop224"):
        load_imagenet(tmp_path, "Res256Crop225")
    with pytest.raises(BadInputError, match="Crop288"):
        prepared(picture((300, 300)), "Crop299")
