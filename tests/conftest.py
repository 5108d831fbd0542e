"""Small models, images and folders that tests make themselves."""

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests neither read nor change the settings of whoever runs them.
_CONFIG = Path(tempfile.mkdtemp(prefix="measurebench-tests-"))
atexit.register(shutil.rmtree, _CONFIG, ignore_errors=True)
os.environ["MEASUREBENCH_CONFIG"] = str(_CONFIG)

NETS = """
from torch import nn

def small(width=6):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * width, 5),
    )

def probabilities():
    return nn.Sequential(*small(), nn.Softmax(1))

class _Restless(nn.Sequential):
    def eval(self):
        return self

    def train(self, mode=True):
        return super().train(True)

def training_mode():
    return _Restless(*small(), nn.Dropout(0.5))
"""


def trust(*folders: Path) -> None:
    """Give the word for the code that manifests in these folders name, in the settings of the tests alone."""
    trusted = {f"{folder.resolve()}/**": "the tests" for folder in folders}
    (_CONFIG / "trusted-folders.json").write_text(json.dumps(trusted))


@pytest.fixture(scope="session", autouse=True)
def trusted_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give the word for the code that manifests of the tests name; tests/test_trust.py takes it back."""
    trust(tmp_path_factory.getbasetemp(), Path(__file__).parents[2] / "shared")


@pytest.fixture(scope="session")
def images_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 40 training and 40 test images, 1x8x8, five classes told apart by where they are bright."""
    generator = np.random.default_rng(0)

    def part(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(n) % 5
        images = generator.random((n, 1, 8, 8)) * 0.5
        for image, label in zip(images, labels, strict=True):
            image[0, label : label + 3] += 0.4
        return images.clip(0, 1).astype(np.float32), labels.astype(np.int64)

    path = tmp_path_factory.mktemp("images") / "images.npz"
    (x_train, y_train), (x_test, y_test) = part(40), part(40)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory, images_file: Path) -> Path:
    """Write three small networks, trained for a moment, with their manifest and architecture file."""
    import torch

    folder = tmp_path_factory.mktemp("models")
    (folder / "nets.py").write_text(NETS)
    namespace: dict = {}
    exec(NETS, namespace)
    data = np.load(images_file)
    x, y = torch.from_numpy(data["x_train"]), torch.from_numpy(data["y_train"])
    entries = []
    for number in range(3):
        torch.manual_seed(number)
        network = namespace["small"](width=4 + number)
        optimizer = torch.optim.Adam(network.parameters(), 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
        torch.save({"state_dict": network.state_dict()}, folder / f"net{number}.pt")
        entries.append(
            f'[[model]]\nid = "net{number}"\nfile = "net{number}.pt"\narchitecture = "nets.py:small"\n'
            f'architecture_kwargs = {{ width = {4 + number} }}\nnormalization = "none"\nweights = "state_dict"\n'
            f'defense = "Standard"\nnorm = "Linf"\nradius = "1/20"\n[model.settings]\nsteps = {number}\n'
        )
    (folder / "models.toml").write_text("\n".join(entries))
    return folder / "models.toml"
