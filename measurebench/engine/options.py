"""The options of a run, declared once for the command line, the TOML file of ``--config`` and ``measurebench.run``.

Importing this module needs neither torch nor numpy, so that ``measurebench run --help`` answers at once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from measurebench.attacks.references import split_references
from measurebench.core.config import DEFAULT_THREAT, PGD_STEPS, Precision, choose_threat
from measurebench.core.info import Split
from measurebench.core.option_fields import option, validate
from measurebench.core.option_kinds import (
    Kind,
    all_or_whole,
    auto_or_whole,
    file,
    flag,
    folder,
    names,
    one_of,
    paths,
    text,
    whole,
)
from measurebench.core.shards import parse_shard
from measurebench.core.specs import Normalization
from measurebench.core.threat import Norm, ThreatModel

__all__ = ["DEFAULT_THREAT", "RunOptions"]


def _norm(value: Any) -> str:
    return Norm.parse(value if isinstance(value, str) else repr(value)).value


def _radius(value: Any) -> str:
    """Return radii as text, each once and with commas between.

    They are checked against the widest bound: the norm is not known before the model is.
    """
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    found: dict[Any, str] = {}
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, str | int | float):
            raise TypeError(value)
        threat = ThreatModel.parse("L2", part.strip() if isinstance(part, str) else part)
        found.setdefault(threat.fraction, threat.text)
    if not found:
        raise ValueError(value)
    return ",".join(found.values())


def _shard(value: Any) -> str:
    parse_shard(value if isinstance(value, str) else repr(value))
    return str(value)


def _device(value: Any) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value):
        raise ValueError(value)
    return str(value)


def _tables(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, Mapping) or not all(isinstance(item, Mapping) for item in value.values()):
        raise TypeError(value)
    return {str(name): dict(item) for name, item in value.items()}


def _address(value: Any) -> str:
    if not isinstance(value, str) or value.startswith("ray://") or not (value == "auto" or value.count(":")):
        raise ValueError(value)
    return value


def _gpus(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1024:
        raise ValueError(value)
    if value > 1 and value != int(value):  # Ray shares out single GPUs, but no GPU and a half
        raise ValueError(value)
    return float(value)


def _float(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


_ADDRESS = Kind("auto, or HOST:PORT of a Ray cluster", _address, "auto|HOST:PORT")
_GPUS = Kind("a whole number, at least 1, or a fraction between 0 and 1", _gpus, "N", _float)
_NORM = Kind("Linf or L2", _norm, "Linf|L2")
_RADIUS = Kind('a number or a fraction such as "8/255"', _radius, "R,R")
_SHARD = Kind("I/N with 1 <= I <= N, such as 1/4", _shard, "I/N")
_DEVICE = Kind("auto, cpu, cuda or cuda:i", _device, "DEVICE")
_NORMALIZATION = Kind(
    "none, cifar10, imagenet, or { mean = [...], std = [...] }", lambda value: Normalization.parse(value), "NAME|TABLE"
)
_TABLES = Kind("a table of parameters for each measure, by its id", _tables)


@dataclass(frozen=True)
class RunOptions:
    """All options of ``measurebench run``; plain values, which travel to worker processes.

    Numbers of examples are upper limits. ``norm`` and ``radius`` go before the models' own. ``measure_settings`` maps
    ids of measures to values of their parameters. Raises BadInputError for a value that an option does not accept.

    >>> RunOptions("digits", attacks=["pgd"], norm="linf", radius=0.1).radius
    '0.1'
    """

    dataset: str = option(
        ...,
        text("the name of a data set: digits, cifar10, cifar100, arrays:FILE.npz or imagefolder:DIR", "NAME"),
        "Data set: digits, cifar10, cifar100, torchvision:CLASS, arrays:FILE.npz, imagefolder:DIR or csv:FILE.csv.",
    )
    data_dir: Path | None = option(
        None,
        folder(),
        "Folder that holds the data set in its original form.",
        note="download it once",
    )
    classes: int | None = option(
        None,
        whole(2),
        "Number of classes, where the labels of arrays:FILE.npz may lack the highest ones.",
        note="what the file states, else any number that its labels allow",
    )
    measures: str = option(
        "core", names("core, all, or ids of measures"), "What to measure: core, all, or ids with commas between."
    )
    attacks: str = option(
        "pgd,autoattack",
        names("pgd, autoattack, none or module:callable"),
        "Attacks: pgd, autoattack or module:callable, with commas between; or none.",
    )
    adversarial: tuple[Path, ...] | None = option(
        None,
        paths("files of adversarial images"),
        "Adversarial images to take in place of PGD's: .npz files, one for each model and split.",
        note="PGD's own",
    )
    save_adversarial: bool = option(False, flag(), "Keep the adversarial images of the attacks in the results folder.")
    norm: str | None = option(None, _NORM, "Norm of the perturbation: Linf or L2.", note="the model's own, else Linf")
    radius: str | None = option(
        None,
        _RADIUS,
        "Largest perturbation in pixel units, for images in [0, 1]; several are measured one after another.",
        note="the model's own, else 8/255",
    )
    train_examples: int = option(1000, all_or_whole(), "Training images to measure on, at most, or all.")
    test_examples: int = option(1000, all_or_whole(), "Test images to measure on, at most, or all.")
    examples_file: Path | None = option(
        None,
        file("a file of indices of images"),
        "Images to measure on, by their indices: one test image a line, or JSON with lists train and test.",
        note="the first ones",
    )
    autoattack_examples: int | None = option(
        None, all_or_whole(), "Test images for AutoAttack, at most.", note="all test images measured"
    )
    autoattack_train_examples: int = option(0, all_or_whole(0), "Training images for AutoAttack, at most.")
    split: Literal["train", "test", "both"] = option(
        "train", one_of("train", "test", "both"), "Images that measures other than accuracies read."
    )
    pgd_steps: int = option(PGD_STEPS, whole(1), "Steps of the PGD attack.")
    device: str = option("auto", _DEVICE, "auto (a GPU where there is one), cpu, cuda or cuda:i.")
    precision: Precision = option(
        "exact",
        one_of("exact", "fast"),
        "exact (float32 without TF32), or fast (attacks search in 16 bits on a GPU; verdicts and values stay exact).",
    )
    batch_size: int | Literal["auto"] = option(
        "auto", auto_or_whole(), "Images at a time; halved when the memory runs out."
    )
    workers: int | Literal["auto"] = option(
        "auto",
        auto_or_whole(),
        "Models side by side, each in its own process; auto means one per core, or one per GPU. More may share a GPU.",
    )
    executor: Literal["local", "ray"] = option(
        "local", one_of("local", "ray"), "Where to measure: local (this machine), or ray (a Ray cluster)."
    )
    address: str | None = option(
        None,
        _ADDRESS,
        "With --executor ray: the cluster to join, auto or HOST:PORT.",
        note="start Ray on this machine for the run",
    )
    gpus_per_worker: float = option(
        1.0, _GPUS, "With --executor ray: GPUs for each worker; 0.5 lets two workers share one."
    )
    seed: int = option(0, whole(), "Seed of all random numbers.")
    shard: str = option("1/1", _SHARD, "Take only the I-th of N parts of the models.")
    shared: bool = option(
        False, flag(), "Share the results folder with other runs of the same command, also on other machines."
    )
    tracker: Literal["none", "mlflow"] = option(
        "none", one_of("none", "mlflow"), "Experiment tracker that gets the values as well: none or mlflow."
    )
    architecture: str | None = option(
        None,
        text("a built-in name, module:callable or file.py:callable", "NAME"),
        "For a checkpoint without a manifest: built-in name, module:callable or file.py:callable.",
    )
    normalization: Normalization | None = option(
        None,
        _NORMALIZATION,
        "For a checkpoint without a manifest: none, cifar10, imagenet, or '{ mean = [...], std = [...] }'.",
    )
    weights: str | None = option(
        None,
        text("a key, or keys such as '[\"state_dict\", 0]'", "KEY"),
        "For a checkpoint without a manifest that holds several state dicts: the key of the one to load.",
    )
    measure_settings: Mapping[str, Mapping[str, Any]] = option(
        {}, _TABLES, "Parameters of measures, by id.", in_file="measure"
    )
    allow_pickle: bool = option(False, flag(), "Load checkpoints that may run code when opened. Only your own!")
    trust_code: bool = option(
        False, flag(), "Run code that a manifest or another data file names; the answer is kept for its folder."
    )
    offline: bool = option(False, flag(), "Download nothing.")
    retry_failed: bool = option(False, flag(), "Measure again what failed in an earlier run.")

    def __post_init__(self) -> None:
        validate(self)

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits on which measures other than accuracies are taken."""
        return ("train", "test") if self.split == "both" else (self.split,)

    @property
    def attack_list(self) -> tuple[str, ...]:
        """The attacks by reference, such as ``pgd`` or ``module:callable``; for ``none`` the empty tuple."""
        return split_references(self.attacks)

    def threat_of(self, threat: ThreatModel | None) -> ThreatModel:
        """Return the threat model for a model whose own is ``threat``: as asked for, else its own, else Linf 8/255.

        Of several radii it is the first.
        """
        return self.threats_of(threat)[0]

    def threats_of(self, threat: ThreatModel | None) -> tuple[ThreatModel, ...]:
        """Return the threat models for a model whose own is ``threat``, one for each radius that was asked for."""
        radii = self.radius.split(",") if self.radius else [None]
        return tuple(choose_threat(threat, self.norm, radius) for radius in radii)
