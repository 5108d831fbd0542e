"""CIFAR in its original form: whole, in part, damaged, hostile."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.datasets import cifar, load_dataset

SHARED = Path(__file__).parents[2].parent / "shared" / "cifar10"


def batch(labels: np.ndarray, first: int = 0) -> bytes:
    """A file of the original form whose images tell their number in their first two pixels."""
    pixels = np.zeros((len(labels), 3072), np.uint8)
    numbers = np.arange(first, first + len(labels))
    pixels[:, 0], pixels[:, 1] = numbers // 256, numbers % 256
    return pickle.dumps({b"data": pixels, b"labels": labels.tolist(), b"batch_label": b"x"}, protocol=2)


def write(folder: Path, n_train: int = 40, n_test: int = 30, n_batches: int = 2) -> Path:
    home = folder / "cifar-10-batches-py"
    home.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for i in range(n_batches):
        labels = generator.permutation(np.arange(n_train) % 10)
        (home / f"data_batch_{i + 1}").write_bytes(batch(labels, first=i * n_train))
    (home / "test_batch").write_bytes(batch(generator.permutation(np.arange(n_test) % 10)))
    names = [f"class {i}".encode() for i in range(10)]
    (home / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}))
    return folder


def numbers(split: object) -> list[int]:
    pixels = np.rint(split.images[:, 0, 0, :2] * 255).astype(int)  # type: ignore[attr-defined]
    return [int(256 * high + low) for high, low in pixels]


def test_a_part_of_the_files_with_any_number_of_rows_is_read(tmp_path: Path) -> None:
    data = load_dataset("cifar10", write(tmp_path))
    assert (len(data.train), len(data.test), data.validation) == (80, 30, None)
    assert data.train.images.dtype == np.float32
    assert data.train.images.shape == (80, 3, 32, 32)
    assert data.class_names[3] == "class 3"


def test_folder_itself_may_be_named(tmp_path: Path) -> None:
    write(tmp_path)
    assert len(load_dataset("cifar10", tmp_path / "cifar-10-batches-py").test) == 30


def test_indices_name_the_rows_of_the_files(tmp_path: Path) -> None:
    data = load_dataset("cifar10", write(tmp_path))
    assert numbers(data.train) == data.train.indices.tolist()
    assert sorted(data.train.indices.tolist()) == list(range(80))
    assert data.train.indices.tolist() != list(range(80))


def test_every_prefix_is_class_balanced(tmp_path: Path) -> None:
    data = load_dataset("cifar10", write(tmp_path))
    for n in (10, 20, 25, 60):
        counts = np.bincount(data.train.labels[:n], minlength=10)
        assert counts.max() - counts.min() <= 1


def test_robustbench_protocol_keeps_the_order_of_test_images(tmp_path: Path) -> None:
    folder = write(tmp_path)
    data = load_dataset("cifar10:robustbench", folder)
    assert data.test.indices.tolist() == list(range(30))
    assert data.test.digest() != load_dataset("cifar10", folder).test.digest()
    assert data.train.digest() == load_dataset("cifar10", folder).train.digest()


def test_whole_training_set_keeps_a_thousand_images_for_checkpoint_selection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar, "N_TRAIN", 80)
    monkeypatch.setattr(cifar, "N_VALIDATION", 20)
    data = load_dataset("cifar10", write(tmp_path))
    assert data.validation is not None
    assert np.bincount(data.validation.labels).tolist() == [2] * 10
    assert set(data.validation.indices) & set(data.train.indices) == set()
    assert len(data.train) == 60


def test_committed_order_is_the_one_that_was_published() -> None:
    # Digest of the order of 50,000 labels 0, 1, ..., 9, 0, 1, ...: a change of the rule would change every subset.
    order = cifar.balanced_order(np.arange(50_000) % 10, cifar.SEED)
    assert hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:16] == ORDER


ORDER = "13ce1105cdd70a9b"


def test_hundred_classes_alike(tmp_path: Path) -> None:
    home = tmp_path / "cifar-100-python"
    home.mkdir()
    for name in ("train", "test"):
        content = {b"data": np.zeros((200, 3072), np.uint8), b"fine_labels": list(range(100)) * 2}
        (home / name).write_bytes(pickle.dumps(content))
    data = load_dataset("cifar100", tmp_path)
    assert (data.n_classes, len(data.train)) == (100, 200)


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (str(self.path),)


def test_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    folder = write(tmp_path)
    canary = tmp_path / "canary"
    (folder / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps({b"data": Canary(canary)}))
    with pytest.raises(BadInputError, match="would run posix.mkdir"):
        load_dataset("cifar10", folder)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "fetch it again"),
        (batch(np.arange(20) % 10)[:900], "fetch it again"),
        (pickle.dumps([1]), "a dictionary"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8)}), "the key 'labels'"),
        (pickle.dumps({b"data": np.zeros((2, 100), np.uint8), b"labels": [0, 1]}), "rows of 3,072 pixels"),
        (pickle.dumps({b"data": np.zeros((2, 3072)), b"labels": [0, 1]}), "uint8"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}), "1 labels"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}), "labels from 0 to 9"),
    ],
)
def test_damaged_file_is_named(content: bytes, word: str, tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    with pytest.raises(BadInputError, match=word) as caught:
        load_dataset("cifar10", folder)
    assert "test_batch" in str(caught.value)


def test_folder_without_the_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such folder"):
        load_dataset("cifar10", tmp_path / "none")
    with pytest.raises(BadInputError, match="an empty folder"):
        load_dataset("cifar10", tmp_path)
    folder = write(tmp_path, n_batches=0)
    with pytest.raises(BadInputError, match="at least one of data_batch_1"):
        load_dataset("cifar10", folder)


def archive(folder: Path, name: str = "cifar-10-batches-py") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder / "cifar-10-batches-py", arcname=name)
    return buffer.getvalue()


def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> Path:
    cache = tmp_path / "cache"
    (cache / "datasets").mkdir(parents=True)
    (cache / "datasets" / "cifar-10-python.tar.gz").write_bytes(content)
    monkeypatch.setenv("MEASUREBENCH_CACHE", str(cache))
    monkeypatch.setenv("MEASUREBENCH_OFFLINE", "1")
    return cache


def test_archive_in_the_cache_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "made", n_batches=5)
    cache = cached(tmp_path, monkeypatch, archive(folder))
    assert len(load_dataset("cifar10").train) == 200
    (cache / "datasets" / "cifar-10-python.tar.gz").unlink()
    assert len(load_dataset("cifar10").train) == 200


def test_archive_of_something_else_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "made")
    cached(tmp_path, monkeypatch, archive(folder, "other"))
    with pytest.raises(BadInputError, match="the original archive"):
        load_dataset("cifar10")


def test_download_offline_says_where_to_put_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEASUREBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("MEASUREBENCH_OFFLINE", "1")
    with pytest.raises(MeasurebenchError, match=r"save the file as .*cifar-10-python\.tar\.gz"):
        load_dataset("cifar10")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="real CIFAR-10 images are not here")
def test_real_images_are_read_as_they_are() -> None:
    data = load_dataset("cifar10", SHARED)
    assert (len(data.train), len(data.test)) == (1000, 300)
    assert data.class_names[:2] == ("airplane", "automobile")
    assert 0.4 < float(data.train.images.mean()) < 0.55
