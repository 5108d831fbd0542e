"""Data sets of items (image, label), of torchvision, and with test images alone."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from measurebench.core.errors import BadInputError
from measurebench.datasets import from_items, load_dataset

GENERATOR = torch.Generator().manual_seed(0)
IMAGES, LABELS = torch.rand(12, 1, 4, 4, generator=GENERATOR), torch.arange(12) % 3
PAIRS = TensorDataset(IMAGES, LABELS)


def test_items_become_a_split_whose_indices_are_their_places() -> None:
    data = from_items({"train": PAIRS, "test": PAIRS}, name="mine")
    assert (data.name, data.n_classes, data.classes_known) == ("items:mine", 3, False)
    assert np.array_equal(data.train.images, IMAGES.numpy()[data.train.indices])
    assert np.array_equal(data.test.labels, LABELS.numpy()[data.test.indices])
    assert np.bincount(data.test.labels[:6]).tolist() == [2, 2, 2]


def test_items_alone_are_test_images() -> None:
    data = from_items(PAIRS)
    assert (data.name, len(data.train), len(data.test)) == ("items:TensorDataset", 0, 12)
    assert data.train.images.shape == (0, 1, 4, 4)
    assert from_items(PAIRS, n_classes=5).n_classes == 5


def test_pictures_bytes_and_arrays_give_the_same_pixels() -> None:
    pixels = (IMAGES[:, 0] * 255).to(torch.uint8).numpy()
    forms = {
        "pictures": [(Image.fromarray(one), 1) for one in pixels],
        "bytes": [(one, np.int32(1)) for one in pixels],
        "tensors": [(torch.from_numpy(one)[None], torch.tensor(1)) for one in pixels],
        "floats": [(torch.from_numpy(one)[None] / 255, torch.tensor([1])) for one in pixels],
    }
    found = {name: from_items(items).test.images for name, items in forms.items()}
    assert all(images.shape == (12, 1, 4, 4) for images in found.values())
    assert all(np.allclose(images, found["bytes"], atol=1e-7) for images in found.values())
    colour = from_items([(Image.new("RGBA", (4, 6), (255, 0, 51, 255)), 0)]).test.images
    assert colour.shape == (1, 3, 6, 4)
    assert np.allclose(colour[0, :, 0, 0], [1, 0, 0.2])


def test_classes_that_items_name_are_the_classes() -> None:
    class Named(list):  # type: ignore[type-arg]
        classes = ("cat", "dog", "fox", "owl")

    data = from_items(Named((image, int(label)) for image, label in zip(IMAGES, LABELS, strict=True)))
    assert data.class_names == ("cat", "dog", "fox", "owl")
    assert data.classes_known


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (iter([]), "dataset, test: expected items .* with a length, such as a torch Dataset, got list_iterator"),
        ([], r"expected items \(image, label\), at least one, got none"),
        ([IMAGES[0]], r"dataset, test, item 0: expected \(image, label\), got Tensor"),
        ([(IMAGES[0], 0.5)], "item 0: expected a label that is a whole number, got 0.5"),
        ([(IMAGES[0], 0), (IMAGES[0, :, :2], 0)], "item 1: expected images of one type and size, got .*with a transf"),
        ([(IMAGES[0] * 3, 0)], r"dataset, test: expected float32 in \[0, 1\], got"),
        ([("cat.png", 0)], "item 0: expected a picture, or an array or tensor .*, got str"),
        ([(torch.rand(8, 8, 3), 0)], "expected channels before height and width"),
        ({"train": PAIRS}, r"expected test images, or a mapping with train and test, got the keys \['train'\]"),
        ({"train": PAIRS, "test": TensorDataset(IMAGES[..., :2], LABELS)}, "expected images of one shape"),
    ],
)
def test_what_is_no_item_is_an_error_that_names_it(items: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        from_items(items)


def idx(array: Any) -> bytes:
    """Return the bytes of a file as MNIST is published: a magic number, the lengths, the values."""
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    """A folder as torchvision leaves it, with few images."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for split, n in (("train", 20), ("t10k", 10)):
        images = generator.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(idx(np.arange(n, dtype=np.uint8) % 10))
        (raw / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"not read"))
    return tmp_path


def test_a_data_set_of_torchvision_is_read_from_its_folder(fashion: Path) -> None:
    data = load_dataset("torchvision:FashionMNIST", fashion, offline=True)
    assert (data.name, len(data.train), len(data.test), data.n_classes) == ("items:FashionMNIST", 20, 10, 10)
    assert data.train.images.shape == (20, 1, 28, 28)
    assert data.class_names[0] == "T-shirt/top"
    raw = (fashion / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()[16:]
    first = np.frombuffer(raw, np.uint8).reshape(10, 28, 28)[data.test.indices[0]] / 255
    assert np.allclose(data.test.images[0, 0], first, atol=1e-7)


def test_settings_of_a_data_set_of_torchvision_follow_a_colon() -> None:
    data = load_dataset("torchvision:FakeData:size=8,num_classes=3")
    assert (len(data.train), data.test.images.shape) == (0, (8, 3, 224, 224))  # it is not split


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "torchvision:FashionMNST",
            "expected a data set of torchvision, got 'FashionMNST'; did you mean 'FashionMNIST'",
        ),
        ("torchvision:", "expected a data set of torchvision, got ''; such as torchvision:FashionMNIST"),
        ("torchvision:CIFAR10", "use cifar10, which reads it"),
        ("torchvision:MNIST", "dataset torchvision:MNIST: expected its files in .*, got Dataset not found"),
        ("torchvision:FakeData:sizes=8", "expected settings among .*size.*, got 'sizes'; did you mean 'size'"),
        ("torchvision:MNIST:train=1", "expected no settings, got 'train'"),
    ],
)
def test_what_torchvision_does_not_have_is_an_error(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message):
        load_dataset(name, tmp_path, offline=True)


def test_a_file_with_test_images_alone_has_no_training_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", x_test=IMAGES.numpy(), y_test=LABELS.numpy())
    data = load_dataset(f"arrays:{tmp_path / 'test.npz'}")
    assert (len(data.train), len(data.test), data.n_classes) == (0, 12, 3)
    with pytest.raises(BadInputError, match="expected training images to train on, got test images alone"):
        data.needs_training_images("to train on")


def test_a_path_without_its_word_is_answered_with_the_whole_name(tmp_path: Path) -> None:
    for name, hint in {
        "d.npz": "did you mean arrays:d.npz?",
        "list.csv": "did you mean csv:list.csv?",
        "x.npy": "numpy.savez",
        str(tmp_path): f"did you mean imagefolder:{tmp_path}, a folder with train and test",
        "fashionmnist": "did you mean torchvision:FashionMNIST?",
    }.items():
        with pytest.raises(BadInputError) as caught:
            load_dataset(name)
        assert hint in str(caught.value)
