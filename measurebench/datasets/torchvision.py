"""Data sets of torchvision by their class: ``torchvision:FashionMNIST``, ``torchvision:EMNIST:split=letters``."""

import importlib
import inspect
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.paths import cache_folder
from measurebench.datasets.base import Dataset
from measurebench.datasets.items import from_items
from measurebench.datasets.registry import register_dataset

__all__ = ["load"]

_OURS = {"CIFAR10": "cifar10", "CIFAR100": "cifar100", "ImageFolder": "imagefolder:DIR"}
# Names of the splits of torchvision's data sets, the usual one first.
_SPLITS = {"train": ("train", "trainval", "train-standard"), "test": ("test", "val", "valid")}
_GIVEN = ("root", "train", "download", "transform", "target_transform", "transforms", "loader")


def load(name: str, settings: Mapping[str, Any], data_dir: Path | None, *, offline: bool = False) -> Dataset:
    """Return the training and test images of a data set of torchvision, whose images must have one size.

    ``data_dir`` is torchvision's ``root`` and is only read. Without it the files are downloaded once, unless
    ``offline``. A data set that is not split has test images alone. ``settings`` are other arguments of the class.
    Raises BadInputError for a class or an argument that there is not, and for files that are not there.
    """
    subject = f"dataset torchvision:{name}"
    made = _class(name)
    arguments = _arguments(made)
    free = sorted(arguments - {*_GIVEN, *(() if "train" in arguments else ("split",))})
    for setting in settings:
        if setting not in free:
            expected = f"settings among {', '.join(free)}" if free else "no settings"
            raise BadInputError(subject, expected, repr(setting), near_names(setting, free))
    given = dict(settings)
    if "root" in arguments:
        given["root"] = str(data_dir or cache_folder() / "datasets" / "torchvision")
        if data_dir is None and not offline and "download" in arguments:
            given["download"] = True
    splits = _SPLITS if {"train", "split"} & arguments else ("test",)
    parts = {split: _made(made, _ways(split, arguments), given, subject) for split in splits}
    return from_items(parts, name)


@register_dataset(
    "torchvision",
    summary="A data set of torchvision by its class, such as torchvision:FashionMNIST.",
    form="torchvision:CLASS",
)
def _named(argument: str, *, data_dir: Path | None, offline: bool) -> Dataset:
    name, _, text = argument.partition(":")
    settings: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, _, value = (piece.strip() for piece in part.partition("="))
        settings[key] = int(value) if value.isdigit() else value
    return load(name, settings, data_dir, offline=offline)


def _class(name: str) -> Any:
    """Return the class of a name."""
    module = importlib.import_module("torchvision.datasets")
    base = module.VisionDataset
    known = [key for key in module.__all__ if inspect.isclass(item := getattr(module, key)) and issubclass(item, base)]
    if name in _OURS:
        raise BadInputError("dataset", "a data set of torchvision", repr(name), f"use {_OURS[name]}, which reads it")
    if name not in known:
        hint = near_names(name, known) or "such as torchvision:FashionMNIST"
        raise BadInputError("dataset", "a data set of torchvision", repr(name), hint)
    return getattr(module, name)


def _arguments(made: Any) -> set[str]:
    """Return the names of arguments of a class, and of the class above it where it passes others on."""
    names: set[str] = set()
    for base in made.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            names |= {item.name for item in parameters if item.kind is not item.VAR_KEYWORD}
            if all(item.kind is not item.VAR_KEYWORD for item in parameters):
                break
    return names - {"self"}


def _ways(split: str, arguments: set[str]) -> list[dict[str, Any]]:
    """Return the arguments by which a split may be asked for, the usual ones first."""
    if "train" in arguments:
        return [{"train": split == "train"}]
    return [{"split": word} for word in _SPLITS[split]] if "split" in arguments else [{}]


def _made(made: Any, ways: Iterable[Mapping[str, Any]], given: Mapping[str, Any], subject: str) -> Any:
    """Return the items of a split, asked for in the first way that the class knows."""
    last: Exception | None = None
    for way in ways:
        try:
            with redirect_stdout(StringIO()):
                return made(**given, **way)
        except ValueError as error:  # a name of a split that this data set does not have
            last = error
        except (RuntimeError, TypeError, OSError, ImportError) as error:
            place = f" in {given['root']}" if "root" in given else ""
            hint = "" if "download" in given else "without --data-dir and --offline it is downloaded"
            raise BadInputError(subject, f"its files{place}", str(error), hint) from error
    raise BadInputError(subject, "splits for training and testing", str(last)) from last
