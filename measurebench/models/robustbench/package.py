"""Imports the robustbench package, which needs two modules that it does not depend on, and builds its networks."""

import contextlib
import importlib
import importlib.util
import io
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from measurebench.core.errors import ModelError

__all__ = ["construct", "model_entries", "preparation", "timm_address", "timm_name"]

# XCiT's: the short side scaled to 224 / 0.875 = 256 pixels, bicubic, and the middle 224 pixels.
_TIMM_PREPARATION = "BicubicRes256Crop224"
_THREATS = {"Linf": "Linf", "L2": "L2", "corruptions": "corruptions"}
_DATASETS = {"cifar10": "cifar_10", "cifar100": "cifar_100", "imagenet": "imagenet"}
_N_CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}


def model_entries(dataset: str, threat: str) -> Mapping[str, Mapping[str, Any]]:
    """Return robustbench's own table of one dataset and threat model: id to builder and file ids.

    The first call imports robustbench, which takes about 15 seconds.
    """
    with _quiet(), _importable():
        dictionaries = importlib.import_module("robustbench.model_zoo").model_dicts
        enums = importlib.import_module("robustbench.model_zoo.enums")
    table = dictionaries[getattr(enums.BenchmarkDataset, _DATASETS[dataset])]
    found: Mapping[str, Mapping[str, Any]] = table[getattr(enums.ThreatModel, _THREATS[threat])]
    return found


def construct(dataset: str, threat: str, name: str) -> nn.Module:
    """Return the network of an entry with fresh weights, built by robustbench's own code on the CPU.

    Raises ModelError with the reason where its code fails on this machine.
    """
    entries = model_entries(dataset, threat)
    if name not in entries:
        reason = f"the installed robustbench has no code for this model{_overwritten()}"
        raise ModelError(f"robustbench:{threat}/{name}: {reason}")
    try:
        with _quiet(), _untrained():
            network = _timm_network(dataset, threat, name) or entries[name]["model"]()
    except Exception as error:
        raise ModelError(f"robustbench:{threat}/{name}: {_reason(error)}") from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"robustbench:{threat}/{name}: expected a network, got {type(network).__name__}")
    return network


@contextlib.contextmanager
def _untrained() -> Iterator[None]:
    """Let code that asks torchvision for a trained ResNet-50 get a fresh one: weights come from our own download."""
    models = importlib.import_module("torchvision.models")
    original = models.resnet50
    vars(models)["resnet50"] = lambda *_, pretrained=False, **kwargs: original(**kwargs)  # noqa: ARG005
    try:
        yield
    finally:
        vars(models)["resnet50"] = original


def preparation(dataset: str, threat: str, name: str) -> str:
    """Return how RobustBench prepares ImageNet's pictures for an entry, such as ``Res256Crop224``; "" for CIFAR.

    The entries that robustbench keeps in timm's registry state scale and interpolation there; all have the default.
    """
    if dataset != "imagenet":
        return ""
    stated = model_entries(dataset, threat)[name].get("preprocessing")
    return str(stated) if stated else _TIMM_PREPARATION


def _overwritten() -> str:
    """Say where the package's files may be of another one: the wheel of torchattacks holds an old robustbench."""
    if importlib.util.find_spec("torchattacks") is None:
        return ""
    mend = "pip install --no-deps --force-reinstall robustbench==1.1.1"
    return f"; torchattacks may have overwritten it with an old copy ({mend})"


def _timm_network(dataset: str, threat: str, name: str) -> nn.Module | None:
    """Build an entry that robustbench keeps in timm's registry (the XCiT models), without timm's download."""
    timm = importlib.import_module("timm")
    registered = timm_name(dataset, threat, name)
    if not timm.is_model(registered):
        return None
    network: nn.Module = timm.create_model(registered, num_classes=_N_CLASSES[dataset])
    return network


def timm_name(dataset: str, threat: str, name: str) -> str:
    """Return the name under which robustbench registers a model with timm."""
    return f"{name.lower().replace('-', '_')}_{dataset}_{threat.lower()}"


def timm_address(dataset: str, threat: str, name: str) -> str | None:
    """Return the address of a timm entry's weights, as its registration states it."""
    model_entries(dataset, threat)
    registered = importlib.import_module("robustbench.model_zoo.architectures.xcit").default_cfgs
    config = registered.get(timm_name(dataset, threat, name))
    return str(config["url"]) if config else None


def _reason(error: Exception) -> str:
    """Say why a network could not be built, and whether CUDA is what it wants."""
    text = str(error).strip().splitlines()
    first = f"{type(error).__name__}: {text[0] if text else ''}"
    if "cuda" in str(error).lower() or "nvidia" in str(error).lower():
        return f"its code needs a CUDA device when it is constructed ({first})"
    return f"robustbench's code for it fails ({first})"


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """Let robustbench find ``autoattack`` and ``pkg_resources``, both of which it imports and neither of which it
    depends on.

    ``pkg_resources`` was part of setuptools until version 81. Where it is missing, a stand-in takes its place for as
    long as robustbench is imported and is removed afterwards, so that no other package mistakes it for the real one.
    """
    _register_autoattack()
    try:
        importlib.import_module("pkg_resources")
    except ImportError:
        sys.modules["pkg_resources"] = _pkg_resources()
        try:
            yield
        finally:
            del sys.modules["pkg_resources"]
    else:
        yield


def _register_autoattack() -> None:
    """Let robustbench find AutoAttack: it imports ``autoattack`` but depends on ``pyautoattack``."""
    for ours, theirs in (("pyautoattack", "autoattack"), ("pyautoattack.state", "autoattack.state")):
        if theirs not in sys.modules:
            sys.modules[theirs] = importlib.import_module(ours)


def _pkg_resources() -> types.ModuleType:
    """Return a module with the one function of ``pkg_resources`` that robustbench uses (in its loader of ImageNet)."""
    module = types.ModuleType("pkg_resources")
    vars(module)["resource_filename"] = _resource_filename
    return module


def _resource_filename(module: str, resource: str) -> str:
    """Return the path of a file that lies beside an imported module."""
    place = sys.modules[module].__file__
    if place is None:
        raise ModelError(f"{module}: expected a module that lies in a file, got none for {resource!r}")
    return str(Path(place).parent / resource)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what third-party code prints and warns of out of the user's terminal."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
