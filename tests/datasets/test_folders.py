"""Data sets of picture files: folders of classes, and lists in CSV files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from measurebench import load_dataset
from measurebench.core.errors import BadInputError


def picture(file: Path, level: int, side: int = 4, mode: str = "RGB") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (side, side), level if mode == "L" else (level, 0, 255)).save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, n in (("train", 3), ("test", 2)):
        for place, name in enumerate(("cat", "dog")):
            for i in range(n):
                picture(tmp_path / split / name / f"{i}.png", 100 * place + 10 * i)
    (tmp_path / "train" / "notes.txt").write_text("no class")
    (tmp_path / "train" / "cat" / "Thumbs.db").write_text("no picture")
    return tmp_path


def test_folders_are_classes_in_the_order_of_their_names_and_pixels_are_over_255(folder: Path) -> None:
    data = load_dataset(f"imagefolder:{folder}")
    assert data.class_names == ("cat", "dog")
    assert data.train.images.shape == (6, 3, 4, 4)
    assert data.test.images.shape == (4, 3, 4, 4)
    levels = sorted((int(label), float(image[0, 0, 0])) for image, label in zip(*_pair(data.train), strict=True))
    assert levels == [(c, pytest.approx((100 * c + 10 * i) / 255)) for c in (0, 1) for i in range(3)]
    assert (data.train.images[:, 2] == 1).all()
    assert sorted(data.train.labels[:2]) == [0, 1]


def _pair(split) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    return split.images, split.labels


def test_the_folder_may_call_its_test_images_val(folder: Path) -> None:
    before = load_dataset(f"imagefolder:{folder}").test.digest()
    (folder / "test").rename(folder / "val")
    assert load_dataset(f"imagefolder:{folder}").test.digest() == before


def test_grey_pictures_stay_grey_only_where_all_are(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("0", "1"):
            picture(tmp_path / split / name / "a.png", 51, mode="L")
    data = load_dataset(f"imagefolder:{tmp_path}")
    assert data.train.images.shape == (2, 1, 4, 4)
    assert float(data.train.images.max()) == pytest.approx(0.2)
    picture(tmp_path / "test" / "1" / "b.png", 51)
    assert load_dataset(f"imagefolder:{tmp_path}").train.images.shape == (2, 3, 4, 4)


def test_a_list_names_pictures_labels_and_splits(folder: Path) -> None:
    lines = ["label,path,split,note"]
    lines += [f"{name},{split}/{name}/0.png,{split}," for split in ("train", "test") for name in ("dog", "cat")]
    (folder / "list.csv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    data = load_dataset(f"csv:{folder / 'list.csv'}")
    assert (data.class_names, len(data.train), len(data.test)) == (("cat", "dog"), 2, 2)


def test_numbers_as_labels_are_the_numbers(folder: Path) -> None:
    rows = "train/cat/0.png,10,train\ntrain/dog/0.png,2,train\ntest/cat/0.png,2,test\n"
    (folder / "list.csv").write_text("path,label,split\n" + rows)
    data = load_dataset(f"csv:{folder / 'list.csv'}")
    assert data.n_classes == 11
    assert sorted(data.train.labels) == [2, 10]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\na.png,1\n", "columns path, label, split, got the columns path, label"),
        ("", "got the columns none"),
        ("path,label,split\na.png,1,other\n", "line 2: expected a path, a label, and train or test"),
        ("path,label,split\na.png,1\n", "line 2: expected a path, a label, and train or test"),
        ("path,label,split\nnone.png,1,train\nnone.png,1,test\n", r"none.png: expected a picture .*no such file"),
        ("path,label,split\nlist.csv,1,train\nlist.csv,1,test\n", r"list.csv: expected a picture"),
        ("path,label,split\ntrain/cat/0.png,1,train\n", "pictures to test on, got none"),
    ],
)
def test_a_list_that_cannot_be_used_is_told_in_words(content: str, message: str, folder: Path) -> None:
    (folder / "list.csv").write_text(content)
    with pytest.raises(BadInputError, match=message):
        load_dataset(f"csv:{folder / 'list.csv'}")


def test_folders_that_cannot_be_used_are_told_in_words(folder: Path) -> None:
    with pytest.raises(BadInputError, match="a folder with train and test .* got no folder train"):
        load_dataset(f"imagefolder:{folder / 'train'}")
    with pytest.raises(BadInputError, match="got no such file"):
        load_dataset(f"csv:{folder / 'none.csv'}")
    picture(folder / "test" / "cat" / "9.png", 0, side=5)
    with pytest.raises(BadInputError, match=r"9.png: expected pictures of one size, got \[3, 4, 4\] and \[3, 5, 5\]"):
        load_dataset(f"imagefolder:{folder}")


def test_a_picture_that_is_cut_short_is_named(folder: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "big.png")
    content = (folder / "big.png").read_bytes()
    (folder / "train" / "cat" / "0.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInputError, match=r"0.png: expected a"):
        load_dataset(f"imagefolder:{folder}")
