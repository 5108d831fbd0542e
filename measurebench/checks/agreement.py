"""Compares the verdicts of AutoAttack with those of pyautoattack on a user's own model, example by example."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binomtest

from measurebench.attacks.autoattack import AutoAttack
from measurebench.attacks.perform import perform
from measurebench.attacks.protocol import Attack, AttackContext
from measurebench.attacks.stock import AutoAttackStock
from measurebench.checks.classification import n_outputs
from measurebench.compute.devices import choose_device
from measurebench.compute.numerics import full_precision
from measurebench.core.config import choose_threat
from measurebench.core.errors import BadInputError
from measurebench.datasets import load_dataset
from measurebench.models import load_model, resolve
from measurebench.store.tables import FORMATS, write_table

__all__ = ["Agreement", "ImageVerdicts", "check_name", "compare_with_stock", "mcnemar", "write_images"]


@dataclass(frozen=True)
class ImageVerdicts:
    """The verdicts on the image with this ``index`` in the data set: without an attack, and under either of the two."""

    index: int
    label: int
    correct: bool
    robust_autoattack: bool
    robust_pyautoattack: bool


@dataclass(frozen=True)
class Agreement:
    """How the verdicts of AutoAttack (ours) and pyautoattack (stock) on the same ``n`` images go together.

    ``correct`` images are classified correctly without an attack. Of these, ``both`` withstand both, ``only_ours``
    only ours, ``only_stock`` only stock, ``neither`` neither. ``p`` is McNemar's exact two-sided p-value. The seconds
    are those of each attack. ``images`` are the verdicts one by one. ``between_seeds`` says for each further seed of
    stock how many of its verdicts differ from those of its first one.
    """

    model: str
    threat: str
    n: int
    correct: int
    both: int
    only_ours: int
    only_stock: int
    neither: int
    p: float
    seconds_ours: float
    seconds_stock: float
    images: tuple[ImageVerdicts, ...] = ()
    between_seeds: tuple[int, ...] = ()
    seed: int = 0

    @property
    def differing(self) -> list[int]:
        """The indices of the images whose verdicts differ."""
        return [image.index for image in self.images if image.robust_autoattack != image.robust_pyautoattack]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def mcnemar(first: int, second: int) -> float:
    """Return McNemar's exact two-sided p-value for discordant pairs of either kind; 1 where there are none.

    >>> mcnemar(0, 0), mcnemar(5, 0)
    (1.0, 0.0625)
    """
    return float(binomtest(first, first + second, 0.5).pvalue) if first + second else 1.0


def compare_with_stock(
    model: str,
    dataset: str | None = None,
    *,
    examples: int = 64,
    data_dir: str | Path | None = None,
    architecture: str | None = None,
    normalization: str | None = None,
    norm: str | None = None,
    radius: str | float | None = None,
    seed: int = 0,
    device: str = "auto",
    allow_pickle: bool = False,
    trust_code: bool = False,
    offline: bool = False,
    stock_seeds: int = 1,
) -> Agreement:
    """Attack the first test images of a model with AutoAttack and with pyautoattack, and count their verdicts.

    With ``stock_seeds`` above 1 pyautoattack attacks them with the following seeds too. Other options as those of
    ``check_model``. Raises BadInputError for a reference that does not name one model, and where
    no data set is known.
    """
    chosen = dataset if model.startswith("robustbench:") else None
    named: dict[str, Any] = {"architecture": architecture, "normalization": normalization, "dataset": chosen}
    specs = resolve([model], **named, allow_pickle=allow_pickle, trust_code=trust_code)
    if len(specs) != 1:
        raise BadInputError(model, "a reference to one model", f"{len(specs)}")
    if (name := dataset or specs[0].dataset) is None:
        raise BadInputError("--dataset", "a data set, since the model names none", "none")
    data, place = load_dataset(name, data_dir, offline=offline), choose_device(device)
    test = data.test.first(min(examples, len(data.test)))
    network = load_model(specs[0], allow_pickle=allow_pickle, offline=offline).network.to(place)
    images, labels = torch.from_numpy(test.images).to(place), torch.from_numpy(test.labels).to(place)
    threat = choose_threat(specs[0].threat_model, norm, radius)
    keys = torch.from_numpy(test.indices).to(place)
    n_classes = n_outputs(network, images)

    def timed(attack: Attack, seed: int) -> tuple[torch.Tensor, torch.Tensor, float]:
        start = time.perf_counter()
        outcome = perform(attack, network, images, labels, AttackContext(threat, keys, seed, n_classes=n_classes))
        return outcome.correct, outcome.robust, time.perf_counter() - start

    with full_precision():
        correct, ours, seconds = timed(AutoAttack(), seed)
        _, stock, seconds_stock = timed(AutoAttackStock(), seed)
        others = [timed(AutoAttackStock(), seed + i)[1] for i in range(1, stock_seeds)]
    told = torch.stack([keys, labels, correct, ours, stock], 1).tolist()
    only_ours, only_stock = int((ours & ~stock).sum()), int((stock & ~ours).sum())
    return Agreement(
        specs[0].id,
        str(threat),
        len(labels),
        int(correct.sum()),
        int((ours & stock).sum()),
        only_ours,
        only_stock,
        int((correct & ~ours & ~stock).sum()),
        mcnemar(only_ours, only_stock),
        seconds,
        seconds_stock,
        tuple(ImageVerdicts(index, label, *map(bool, verdicts)) for index, label, *verdicts in told),
        tuple(int((stock != other).sum()) for other in others),
        seed,
    )


def check_name(out: Path) -> None:
    """Raise BadInputError for a file's name that no table of verdicts can have."""
    if out.suffix not in FORMATS:
        raise BadInputError("--out", f"a name that ends in {', '.join(FORMATS)}", str(out))


def write_images(found: Agreement, out: Path) -> None:
    """Write the verdicts image by image as .csv, .parquet or .json, by the name's ending."""
    import pandas as pd

    write_table(pd.DataFrame([asdict(image) for image in found.images]), out)
