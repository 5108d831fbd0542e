"""The checks of data sets, architectures, objectives, attacks and statistics pass for ours and find what is broken."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.datasets import Dataset, ImageSplit, load_dataset
from measurebench.datasets import registry as datasets
from measurebench.models.architectures import Architecture
from measurebench.testing import (
    ContractError,
    check_architecture,
    check_attack,
    check_dataset,
    check_objective,
    check_statistic,
    statistics,
)
from measurebench.testing.statistics import STATISTIC_PROMISES, StatisticCase
from measurebench.training import objectives


def test_our_data_set_keeps_its_contract() -> None:
    check_dataset("digits")


def _split(digits: Dataset, **changes: Any) -> Dataset:
    return replace(digits, name="bad", train=replace(digits.train, **changes))


BAD_DATASETS: dict[str, tuple[Callable[[Dataset], Dataset], str, str]] = {
    "name": (lambda d: d, "named_as_asked", "its name is the one that it is asked for by: 'digits'"),
    "dtype": (
        lambda d: _split(d, images=d.train.images.astype(np.float64)),
        "images",
        r"images are float32 .* train: float64",
    ),
    "range": (lambda d: _split(d, images=d.train.images * 2), "images", r"train: \[0, 2\]"),
    "labels": (lambda d: _split(d, labels=d.train.labels + 1), "labels", "labels are int64 .* from 0 to 9"),
    "absent": (
        lambda d: _split(d, labels=np.minimum(d.train.labels, 8)),
        "labels",
        r"every class has a training image: none of \[9\]",
    ),
    "no array": (lambda d: _split(d, images=d.train.images.tolist()), "images", "train: list"),
    "empty": (lambda d: replace(d, test=_rows(d.test, np.arange(0))), "images", "every split has an image: test"),
    "shapes": (
        lambda d: _split(d, images=d.train.images[..., :7]),
        "images",
        "all images have one shape",
    ),
    "lengths": (
        lambda d: _split(d, labels=d.train.labels[:-1]),
        "labels",
        "each image has one label and one index: train",
    ),
    "classes": (lambda d: replace(d, name="bad", class_names=("0",) * 10), "labels", "classes have different names"),
    "indices": (lambda d: _split(d, indices=d.train.indices * 0), "indices", "indices are int64, each once: train"),
    "sorted": (
        lambda d: replace(d, train=_rows(d.train, np.argsort(d.train.labels, kind="stable"))),
        "balanced",
        r"every prefix of the training images is balanced .* the first 10 hold \[10, 0",
    ),
    "leak": (lambda d: replace(d, train=d.test), "apart", "test images are in no other split: 940 of 940"),
}


def _rows(split: ImageSplit, rows: np.ndarray[Any, Any]) -> ImageSplit:
    return ImageSplit(split.images[rows], split.labels[rows], split.indices[rows])


@pytest.fixture
def register_dataset(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Dataset]], None]:
    """Register a data set ``bad`` for one test."""
    known = datasets.all_datasets()

    def register(load: Callable[[], Dataset]) -> None:
        source = datasets.DatasetSource("bad", lambda *_, **__: load(), "A test.", "bad")
        monkeypatch.setitem(known._items, "bad", source)  # type: ignore[arg-type]

    return register


@pytest.mark.parametrize(("change", "promise", "message"), BAD_DATASETS.values(), ids=BAD_DATASETS)
def test_a_data_set_that_breaks_a_promise_is_found(
    register_dataset: Any, change: Callable[[Dataset], Dataset], promise: str, message: str
) -> None:
    register_dataset(lambda: change(load_dataset("digits")))
    with pytest.raises(ContractError, match=f"data set 'bad' breaks the promise that .*{message}"):
        check_dataset("bad", promises=[promise])


def test_a_data_set_in_another_order_each_time_is_found(register_dataset: Any) -> None:
    orders = iter((np.arange(500), np.arange(499, -1, -1)))
    digits = load_dataset("digits")
    register_dataset(lambda: replace(digits, name="bad", train=_rows(digits.train, next(orders))))
    with pytest.raises(ContractError, match="loading it twice gives the same images and order"):
        check_dataset("bad", promises=["reproducible"])


@pytest.mark.parametrize("name", ["digits-plain", "digits-resnet", "digits-preact", "cnn-mnist"])
def test_our_architectures_keep_their_contract(name: str) -> None:
    check_architecture(name)


def mlp(n_classes: int, in_channels: int, *, fixed: bool = False, softmax: bool = False) -> nn.Module:
    if fixed:
        torch.manual_seed(3)
    end = (nn.Softmax(1),) if softmax else ()
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, n_classes), *end)


class Hidden(nn.Module):
    """A network with random numbers that its state dict does not hold, and a weight that does nothing."""

    def __init__(self, n_classes: int, in_channels: int) -> None:
        super().__init__()
        self.linear, self.idle = nn.Linear(64 * in_channels, n_classes), nn.Linear(1, 1)
        self.shift = torch.rand(n_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1)) + self.shift
        return logits


@pytest.mark.parametrize(
    ("build", "promise", "message"),
    [
        (partial(mlp, softmax=True), "classifies", "expected logits, got probabilities"),
        (lambda in_channels, **_: mlp(10, in_channels), "classifies", "with n_classes=7 it maps .* 7 classes"),
        (partial(mlp, fixed=True), "seeded", "another seed of torch gives other weights"),
        (Hidden, "keeps_its_state", "its state dict holds all that decides on its output"),
        (Hidden, "trains", "none reaches idle.weight, idle.bias"),
        (lambda **_: "network", "seeded", "it builds a torch.nn.Module: str"),
    ],
)
def test_an_architecture_that_breaks_a_promise_is_found(build: Any, promise: str, message: str) -> None:
    with pytest.raises(ContractError, match=f"architecture 'bad' breaks the promise that .*{message}"):
        check_architecture(Architecture("bad", build, "a test", (1, 8, 8)), promises=[promise])


@pytest.mark.parametrize("name", objectives.DEFENSES)
def test_our_objectives_keep_their_contract(name: str) -> None:
    check_objective(name)


@dataclass(frozen=True)
class Sum(objectives.AT):
    def loss(self, network: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(network(adversarial), labels, reduction="sum")


@dataclass(frozen=True)
class PerExample(objectives.AT):
    def loss(self, network: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(network(adversarial), labels, reduction="none")


@dataclass(frozen=True)
class InPlace(objectives.AT):
    def loss(self, network: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
        images.mul_(0.5)
        return F.cross_entropy(network(adversarial), labels)


@dataclass(frozen=True)
class Undeclared(objectives.AT):
    adversarial: ClassVar[bool] = False


@dataclass(frozen=True)
class Vague(objectives.AT):
    adversarial: ClassVar[Any] = "sometimes"


@dataclass(frozen=True)
class WithoutGradient(objectives.AT):
    def loss(self, network: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            first = network(adversarial)
        last = list(network.children())[-1]
        return F.cross_entropy(first, labels) + 0 * sum(p.sum() for p in last.parameters())


@dataclass(frozen=True)
class Pretends(objectives.Standard):
    adversarial: ClassVar[bool] = True


@dataclass(frozen=True)
class MeanAttack(objectives.AT):
    def attack_loss(self, network: nn.Module, images: Tensor) -> Any:
        return F.cross_entropy


@dataclass(frozen=True)
class Unknown(objectives.AT):
    start: ClassVar[Any] = "somewhere"


@pytest.mark.parametrize(
    ("build", "promise", "message"),
    [
        (Sum, "loss_is_a_mean", "its loss is a mean over examples"),
        (PerExample, "loss_is_a_mean", "its loss is one finite number"),
        (InPlace, "loss_has_gradients", "images and labels are left as they were"),
        (Undeclared, "adversarial_as_declared", "with adversarial = False its loss ignores adversarial images"),
        (Vague, "says_what_it_is", "adversarial is True or False: 'sometimes'"),
        (WithoutGradient, "loss_has_gradients", "finite gradients at all weights: not at conv1"),
        (Pretends, "adversarial_as_declared", "with adversarial = True its loss depends on adversarial images"),
        (MeanAttack, "attack_loss_is_a_sum", "its attack loss is a sum over examples"),
        (Unknown, "says_what_it_is", "start is one of .*: 'somewhere'"),
    ],
)
def test_an_objective_that_breaks_a_promise_is_found(
    monkeypatch: pytest.MonkeyPatch, build: Any, promise: str, message: str
) -> None:
    monkeypatch.setitem(objectives.all_objectives()._items, "bad", objectives.Defense("bad", build))
    with pytest.raises(ContractError, match=f"objective 'bad' breaks the promise that .*{message}"):
        check_objective("bad", promises=[promise])


def one_step(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    points = images.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(points), labels, reduction="sum"), points)
    return (images + gradient.sign() / 16).clamp(0, 1)


def too_far(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return 1 - images


def single(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return images.float()


def not_finite(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return images / 0


def nothing(network: nn.Module, images: Tensor, labels: Tensor) -> Any:
    return None


def in_place(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return images.add_(0.01).clamp_(0, 1)


def training(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    network.train()
    return images


def of_its_own_generator(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return (images + 0.01 * torch.from_numpy(np.random.default_rng().random(images.shape))).clamp(0, 1)


def test_an_attack_that_keeps_all_promises_passes() -> None:
    check_attack(one_step)


@pytest.mark.parametrize(
    ("attack", "promise", "message"),
    [
        (too_far, "in_ball", r"lie in the Linf 1/16 ball and in \[0, 1\]: 12 of 12 adversarial images leave"),
        (single, "images_like_the_given", "torch.float32"),
        (not_finite, "images_like_the_given", "its images are finite"),
        (nothing, "images_like_the_given", "it returns images: NoneType"),
        (in_place, "as_found", "it wrote into them"),
        (training, "as_found", "it leaves the network as it found it: changed: its mode"),
        (of_its_own_generator, "reproducible", "the same seed gives the same images"),
    ],
)
def test_an_attack_that_breaks_a_promise_is_found(attack: Any, promise: str, message: str) -> None:
    with pytest.raises(ContractError, match=f"attack '{attack.__name__}' breaks the promise that .*{message}"):
        check_attack(attack, promises=[promise])


def test_our_statistic_keeps_its_contract() -> None:
    check_statistic("tau_b")


def test_a_statistic_without_rows_is_found() -> None:
    with pytest.raises(ContractError, match="every measure has a row: none for constant, follows, has_holes, opposes"):
        check_statistic("no_such_statistic", promises=["rows_for_every_measure"])


class Changed(StatisticCase):
    """A statistic whose rows are not what an analysis gives."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        super().__init__("bad", ("tau_b",))
        self.__dict__["answers"] = iter(rows)

    def rows(self, analysis: Any = None) -> pd.DataFrame:
        return pd.DataFrame({name: [value] for name, value in next(self.__dict__["answers"]).items()})


ROW = {"measure": "follows", "statistic": "tau_b", "estimate": 0.5, "ci_low": 0.1, "ci_high": 0.9, "p_value": 0.01}


@pytest.mark.parametrize(
    ("rows", "promise", "message"),
    [
        ([ROW | {"ci_low": 0.9, "ci_high": 0.1}] * 2, "intervals", "ci_low is at most ci_high: .*0.9, 0.1"),
        ([ROW | {"p_value": 1.5}] * 2, "intervals", r"p-values lie in \[0, 1\]: \[1.5\]"),
        ([ROW, ROW | {"estimate": 0.6}], "reproducible", "the same table and seed give the same rows"),
        ([ROW, ROW | {"estimate": 0.6}], "order_of_models", "its estimates do not depend on the order of models"),
    ],
)
def test_a_statistic_that_breaks_a_promise_is_found(
    monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], promise: str, message: str
) -> None:
    if promise in ("reproducible", "order_of_models"):  # their second analysis is not looked at here
        monkeypatch.setattr(statistics, "analyze", lambda *_, **__: None)
    with pytest.raises(ContractError, match=f"statistic 'bad' breaks the promise that .*{message}"):
        STATISTIC_PROMISES[promise](Changed(*rows))


def test_a_statistic_that_is_silent_about_a_missing_estimate_is_found() -> None:
    class Silent(StatisticCase):
        def rows(self, analysis: Any = None) -> pd.DataFrame:
            return super().rows(analysis).assign(estimate=np.nan)

    with pytest.raises(ContractError, match="a missing estimate has a reason: none for .*follows"):
        STATISTIC_PROMISES["rows_for_every_measure"](Silent("bad", ("tau_b",)))


class Declared:
    """An attack with a description, which declares more than it keeps."""

    info: ClassVar[Any] = SimpleNamespace(
        id="bad", title="Bad", source="a test", explanation="", in_ball=False, batch_independent=True
    )

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: Any) -> Any:
        return SimpleNamespace(adversarial=(images + 0.01 * images.mean()).clamp(0, 1))


@pytest.mark.parametrize(
    ("promise", "message"),
    [
        ("info", "its info is complete: explanation missing"),
        ("batch_independent", "does not depend on its batch, as it declares: pixels differ by up to"),
    ],
)
def test_an_attack_that_declares_what_it_does_not_keep_is_found(promise: str, message: str) -> None:
    with pytest.raises(ContractError, match=f"attack 'bad' breaks the promise that .*{message}"):
        check_attack(Declared(), promises=[promise])


def test_an_attack_that_declares_to_leave_the_ball_may_leave_it() -> None:
    check_attack(Declared(), promises=["in_ball"], radius="1/1000")
