"""One training run: from initial weights to its last and its best checkpoint, resumed after any kill."""

import io
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from measurebench.compute.graphs import Replayed
from measurebench.compute.numerics import numerics
from measurebench.core.digests import digest_json, seed_from
from measurebench.core.errors import BadInputError, ModelError
from measurebench.core.files import write_atomically
from measurebench.core.specs import ModelSpec, Normalization
from measurebench.datasets.base import Dataset, ImageSplit, balanced_order
from measurebench.models.architectures import build
from measurebench.models.identity import code_sha256
from measurebench.models.normalized import normalized, unnormalized
from measurebench.training.augmentation import augmentation_for
from measurebench.training.awp import kept_buffers, perturbed
from measurebench.training.batches import Batches, LabelledImages
from measurebench.training.objectives import all_objectives
from measurebench.training.scores import Score, score
from measurebench.training.sgd import SGD
from measurebench.training.training_config import TrainingConfig

__all__ = [
    "SAVE_EVERY_SECONDS",
    "Progress",
    "State",
    "Trained",
    "TrainingRun",
    "check_precision",
    "check_state",
    "checkpoint_of",
    "extra_split",
    "fitting_and_validation",
    "initial_network",
    "saved_identity",
    "train",
    "training_identity",
]

State = dict[str, Tensor]
SAVE_EVERY_SECONDS = 20.0
# Of the training images, where a dataset has no validation images of its own: the larger share of small datasets.
_HELD_OUT_SHARE, _SMALL_SHARE, _SMALL = 0.02, 0.1, 1000


@dataclass
class Progress:
    """What changes during training besides network and optimizer: enough to resume after a kill."""

    epoch: int = 0
    best: State = field(default_factory=dict)
    best_epoch: int = -1
    best_score: Score | None = None
    curves: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Trained:
    """The three checkpoints of a run (state dicts on the CPU), its curves, and how long it computed."""

    initial: State
    last: State
    best: State
    best_epoch: int
    curves: list[dict[str, float]]
    seconds: float


def initial_network(config: TrainingConfig, dataset: Dataset) -> nn.Module:
    """Return the network at epoch 0: the same for every run of this architecture and seed."""
    spec = _spec(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_from("initial weights", config.seed))
        network = build(spec, n_classes=dataset.n_classes, in_channels=dataset.train.images.shape[1])
    return normalized(network, Normalization.named(config.normalization))


def _spec(config: TrainingConfig) -> ModelSpec:
    """Return the network's specification for the loaders; a user's file is found from the working folder."""
    return ModelSpec(
        id=config.architecture,
        source="training",
        locator="",
        architecture=config.architecture,
        architecture_kwargs=config.architecture_kwargs,
        architecture_folder=str(Path.cwd()),
    )


def checkpoint_of(network: nn.Module) -> State:
    """Return a copy of the weights on the CPU, without the normalisation in front of them."""
    return {name: tensor.detach().cpu().clone() for name, tensor in unnormalized(network).state_dict().items()}


def fitting_and_validation(dataset: Dataset, config: TrainingConfig) -> tuple[ImageSplit, ImageSplit]:
    """Return the images to train on and those that choose the best checkpoint; test images are neither.

    Without validation images of its own, a dataset gives up training images: the last of each class, a fiftieth of
    it, or a tenth where that is at most a thousand images in all. ``run`` still counts them as training images. Raises
    BadInputError where nothing would be left to train on.
    """
    train, validation = dataset.train, dataset.validation
    if validation is None:
        share = _HELD_OUT_SHARE if _SMALL_SHARE * len(train) > _SMALL else _SMALL_SHARE
        held_out = _last_of_each_class(train, share)
        if len(held_out) == len(train):
            raise BadInputError("training images", f"more than one of each class ({len(held_out)})", str(len(train)))
        validation = _taken(train, held_out)
        train = _taken(train, np.setdiff1d(np.arange(len(train)), held_out))
    return train, validation.first(config.evaluation_examples)


def _last_of_each_class(split: ImageSplit, share: float) -> npt.NDArray[np.int64]:
    """Return the places of the last ``share`` of each class, one at least, in an order of balanced prefixes."""
    places = []
    for label in np.unique(split.labels):
        of_class = np.flatnonzero(split.labels == label)
        places.append(of_class[-max(1, round(share * len(of_class))) :])
    held_out = np.concatenate(places)
    return held_out[balanced_order(split.labels[held_out])]


def _taken(split: ImageSplit, places: npt.NDArray[np.int64]) -> ImageSplit:
    return ImageSplit(split.images[places], split.labels[places], split.indices[places])


class TrainingRun:
    """A training run in progress."""

    def __init__(self, config: TrainingConfig, dataset: Dataset, device: str) -> None:
        self.config, self.device = config, device
        self.network = initial_network(config, dataset).to(device).train()
        self.initial = checkpoint_of(self.network)
        self.optimizer = SGD(self.network.parameters(), config.learning_rate, config.momentum, config.weight_decay)
        self.train, self.validation = fitting_and_validation(dataset, config)
        extra = extra_split(config, dataset)
        self.batches = Batches(
            LabelledImages.of(self.train, device),
            config.batch_size,
            None if extra is None else LabelledImages.of(extra, device),
            config.extra_fraction,
        )
        self.augment = augmentation_for(dataset.name, self.train.images.shape[2]) if config.augmentation else None
        self.objective, self.attack, self.rule = config.objective, config.attack, config.weight_perturbation
        # Autocast keeps copies of the weights, which a replay would not make anew.
        self.replayed = Replayed(self.network, graphs=config.precision == "exact")
        self.progress = Progress()

    def epoch(self) -> None:
        """Train one epoch; its random numbers depend on the seed and its number alone.

        Raises ModelError where the loss or the weights are no longer finite.
        """
        started, config, number = time.perf_counter(), self.config, self.progress.epoch
        generator = torch.Generator().manual_seed(seed_from("epoch", config.seed, number))
        total, count = 0.0, 0
        with self._seeded(seed_from("network", config.seed, number)):
            for place, (images, labels) in enumerate(self.batches.epoch(generator)):
                self.optimizer.rate = config.rate(number + place / len(self.batches))
                loss = self.update(images, labels, generator)
                total, count = total + loss * len(labels), count + len(labels)
        if not math.isfinite(total) or not _finite(self.network):
            raise ModelError(
                f"training diverged in epoch {number + 1} of {config.epochs}: the loss or a weight is not finite; "
                "set clip_norm (--clip-norm 1) or a smaller learning rate"
            )
        self.progress.epoch += 1
        if self.progress.epoch % config.evaluate_every == 0 or self.progress.epoch == config.epochs:
            self._evaluate(total / count)
        self.progress.seconds += time.perf_counter() - started

    def update(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> float:
        """Attack one batch of images [b, C, H, W] and labels [b], take one step of the optimizer, return the loss."""
        if self.augment is not None:
            images = self.augment(images, generator)
        adversarial = images
        if self.objective.adversarial:
            share = self.config.radius_share(self.progress.epoch)
            with self._autocast():
                attacked = self.network, images, labels, self.objective, generator, share
                adversarial = self.attack(*attacked, self.replayed)
        self.optimizer.zero_grad()
        if self.rule is None or self.progress.epoch < self.config.awp_warmup:
            loss = self._backward(images, adversarial, labels)
        else:
            loss = self._perturbed_backward(images, adversarial, labels)
        if self.config.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return loss

    def _loss(self, images: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
        with self._autocast():
            return self.objective.loss(self.network, images, adversarial, labels)

    def _backward(self, images: Tensor, adversarial: Tensor, labels: Tensor) -> float:
        """Leave the training gradient in the parameters."""
        loss = self._loss(images, adversarial, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _perturbed_backward(self, images: Tensor, adversarial: Tensor, labels: Tensor) -> float:
        """Leave the training gradient at the perturbed weights in the parameters."""
        if self.rule is None:
            return self._backward(images, adversarial, labels)
        parameters = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        with kept_buffers(self.network):
            loss = self._loss(images, adversarial, labels)
            found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        gradients = {name: slope for name, slope in zip(parameters, found, strict=True) if slope is not None}
        with perturbed(self.network, self.rule, gradients):
            return self._backward(images, adversarial, labels)

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """Seed what the network itself draws, such as dropout; the random state outside stays as it was."""
        with torch.random.fork_rng(devices=[self.device] if self.device.startswith("cuda") else []):
            torch.manual_seed(seed)
            yield

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        """Compute in bfloat16 where autocast allows, on a GPU in mixed precision."""
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=self.config.precision == "mixed"):
            yield

    def _evaluate(self, loss: float) -> None:
        """Note accuracies, and keep the weights when the score on validation images is the best so far."""
        progress, config = self.progress, self.config
        validation = score(self.network, self.validation, config.threat, config.seed, self.device)
        train = score(self.network, self.train.first(len(self.validation)), config.threat, config.seed, self.device)
        progress.curves.append(
            {
                "epoch": progress.epoch,
                "learning_rate": config.rate(progress.epoch - 1),
                "loss": loss,
                "train_clean_accuracy": train.clean_accuracy,
                "train_pgd_accuracy": train.pgd_accuracy,
                "validation_clean_accuracy": validation.clean_accuracy,
                "validation_pgd_accuracy": validation.pgd_accuracy,
                "validation_pgd_loss": validation.pgd_loss,
            }
        )
        if progress.best_score is None or validation.order > progress.best_score.order:
            progress.best, progress.best_epoch = checkpoint_of(self.network), progress.epoch
            progress.best_score = validation

    def result(self) -> Trained:
        """Return the checkpoints."""
        progress = self.progress
        return Trained(
            self.initial,
            checkpoint_of(self.network),
            progress.best,
            progress.best_epoch,
            progress.curves,
            progress.seconds,
        )

    def save(self, path: Path, identity: str) -> None:
        """Write everything that is needed to resume from here, whole or not at all."""
        best_score = self.progress.best_score
        state = {
            "identity": identity,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": {**vars(self.progress), "best_score": best_score and vars(best_score)},
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(path, buffer.getvalue())

    def restore(self, path: Path, identity: str) -> None:
        """Resume from a saved state; a state of other settings or data is refused."""
        check_state(path, identity)
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        progress, score_values = Progress(**state["progress"]), state["progress"]["best_score"]
        best = {name: tensor.cpu() for name, tensor in progress.best.items()}
        self.progress = replace(progress, best=best, best_score=score_values and Score(**score_values))


def _finite(network: nn.Module) -> bool:
    """Say whether all parameters and buffers are finite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())


def extra_split(config: TrainingConfig, dataset: Dataset) -> ImageSplit | None:
    """Return the extra images where the settings ask for them, else None.

    Raises BadInputError where the dataset has none.
    """
    if config.extra_data and dataset.extra is None:
        raise BadInputError(
            f"dataset {dataset.name}",
            "extra training images (extra_data = true)",
            "a dataset without any",
            "give them with --extra-data FILE.npz",
        )
    return dataset.extra if config.extra_data else None


def check_precision(config: TrainingConfig, device: str) -> None:
    """Raise BadInputError for mixed precision on a CPU, whose autocast also computes softmax in bfloat16."""
    if config.precision == "mixed" and not device.startswith("cuda"):
        raise BadInputError("precision = mixed", "a CUDA device to train on", repr(device))


def saved_identity(path: Path) -> Any:
    """Return the digest that a saved state was made with. Raises BadInputError for a file that holds no such state."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)["identity"]
    except Exception as error:  # whatever reading a damaged file raises
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BadInputError(str(path), "a training state", reason, "remove the file to train from the start") from error


def check_state(path: Path, identity: str) -> None:
    """Raise BadInputError for a saved state of other settings or images, or one that cannot be read."""
    if saved_identity(path) != identity:
        raise BadInputError(
            str(path),
            "a training state of these settings and images",
            "one of others",
            "choose another --out, or remove the file to train from the start",
        )


def training_identity(config: TrainingConfig, dataset: Dataset) -> str:
    """Return the digest of all that a state must agree with to be resumed.

    That is settings, images, and the code of a third-party network or objective.
    """
    splits = [dataset.train, *(s for s in (dataset.validation, dataset.extra if config.extra_data else None) if s)]
    codes = [code for code in (code_sha256(_spec(config)), all_objectives().origin(config.defense).sha256) if code]
    return digest_json([config.to_json(), [split.digest() for split in splits], *codes])


def train(
    config: TrainingConfig,
    dataset: Dataset,
    *,
    device: str = "cpu",
    state_path: Path | None = None,
    save_every_seconds: float | None = None,
    on_epoch: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train one network and return its initial, last and best checkpoint.

    With ``state_path`` the state is written there at an epoch's end, every so many seconds (SAVE_EVERY_SECONDS unless
    said), and training resumes from it if it is there: on a CPU to the same bits as without the interruption. Raises
    ModelError when training diverges, BadInputError for mixed precision without a GPU.
    """
    check_precision(config, device)
    with numerics("fast" if config.precision == "mixed" else "exact"):
        return _trained(config, dataset, device, state_path, save_every_seconds, on_epoch)


def _trained(
    config: TrainingConfig,
    dataset: Dataset,
    device: str,
    state_path: Path | None,
    save_every_seconds: float | None,
    on_epoch: Callable[[Progress], None] | None,
) -> Trained:
    pause = SAVE_EVERY_SECONDS if save_every_seconds is None else save_every_seconds
    run, identity = TrainingRun(config, dataset, device), training_identity(config, dataset)
    if state_path is not None and state_path.is_file():
        run.restore(state_path, identity)
    saved = time.monotonic()
    while run.progress.epoch < config.epochs:
        run.epoch()
        if on_epoch is not None:
            on_epoch(run.progress)
        if state_path is not None and time.monotonic() - saved >= pause:
            run.save(state_path, identity)
            saved = time.monotonic()
    return run.result()
