"""What an attack is: what it says of itself, what it is given, and what it returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy.typing as npt
from torch import Tensor, nn

from measurebench.core.info import Examples, Split
from measurebench.core.threat import ThreatModel

__all__ = ["Attack", "AttackContext", "AttackInfo", "AttackResult", "BlockStore"]


@dataclass(frozen=True)
class AttackInfo:
    """Identity and declared properties of an attack; its accuracy and its columns are made from them.

    ``id`` begins the name of its columns. ``cost`` counts passes per image (F forward, B backward). ``splits`` are
    those on which its accuracy is taken. ``counted_by`` names the options that say how many examples it takes
    (``NAME_examples`` and ``NAME_train_examples``); empty for an attack that takes all of them. ``examples`` is the
    kind of examples that it makes for all measures at once (PGD alone does). Below ``min_classes`` it is not defined;
    0 says that it never asks for the number of classes.

    ``in_ball`` promises images within the threat model; ``batch_independent`` that an image's result does not
    depend on the images beside it; tests hold both. ``divisible`` ones can search some examples ahead of the others
    (``AttackContext.only``) and find them in the store later. ``whole`` attacks get all images in one call, others a
    batch.
    ``targeted`` ones can aim at given classes. ``exact`` attacks judge in the precision of the weights, without TF32,
    and so does the audit. ``sampled`` ones attack a part of the examples to the end, so that their accuracy is an
    estimate; the result's counts ``n_survivors``, ``n_sampled`` and ``n_broken_in_sample`` say of what.
    ``reference`` is where a third-party attack comes from, with the digest of its code; empty for registered ones.
    """

    id: str
    title: str
    source: str
    explanation: str = ""
    cost: str = "unknown"
    version: int = 1
    splits: tuple[Split, ...] = ("train", "test")
    counted_by: str = ""
    examples: Examples | None = None
    min_classes: int = 0
    in_ball: bool = True
    batch_independent: bool = False
    divisible: bool = False
    whole: bool = False
    targeted: bool = False
    exact: bool = False
    sampled: bool = False
    reference: str = ""

    @property
    def column(self) -> str:
        """The beginning of its columns' names: the id, with ``_`` for ``-`` in the name of a registered attack.

        >>> AttackInfo("apgd-ce:rho=0.5", "APGD", "").column
        'apgd_ce:rho=0.5'
        """
        name, colon, settings = self.id.partition(":")
        return self.id if self.reference else f"{name.replace('-', '_')}{colon}{settings}"


@dataclass(frozen=True)
class AttackResult:
    """``adversarial`` images [n, ...], as the attack left them.

    ``flags`` are warnings, ``n_passes`` forward and backward passes per example where they are known, and ``counts``
    numbers of examples by name, which are summed over batches. ``undecided`` bool [n] marks examples of which the
    attack shows nothing, so that they do not count as robust. ``details`` are tensors [n] that are kept with the
    verdicts. ``search`` names the network that searched, where it was not the judge.
    """

    adversarial: Tensor
    flags: tuple[str, ...] = ()
    n_passes: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    undecided: Tensor | None = None
    details: Mapping[str, Tensor] = field(default_factory=dict)
    search: str = ""


class BlockStore(Protocol):
    """Where a long attack keeps what it has done between runs; the engine supplies one that writes to disk."""

    def get(self, name: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return the arrays (any shape) of this name, or None where there are none that are whole."""
        ...

    def put(self, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep arrays of any shape in place of those of the same name."""
        ...


@dataclass(frozen=True)
class AttackContext:
    """What an attack is given besides network, images and labels.

    ``keys`` int64 [n] name the examples: random numbers that depend on them and on ``seed`` alone make a result
    independent of batches. ``targets`` int64 [n] are classes to reach, where the attack is to be targeted.
    ``n_classes`` is the width of the network's output, 0 for an attack whose ``min_classes`` is 0.
    ``store`` keeps what a long attack has done, if anybody does. ``batch_size`` images fit through the network
    together, for attacks that take all images. ``only`` are the first and the last example (exclusive) of those that
    a divisible attack is to search now; its result then says nothing of the others.
    """

    threat: ThreatModel
    keys: Tensor
    seed: int = 0
    split: Split = "test"
    targets: Tensor | None = None
    n_classes: int = 0
    store: BlockStore | None = None
    batch_size: int = 256
    only: tuple[int, int] | None = None

    def at(self, rows: slice) -> "AttackContext":
        """Return the context of some of the examples."""
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, keys=self.keys[rows], targets=targets)


class Attack(Protocol):
    """A frozen dataclass whose fields are its settings, all with defaults.

    It does not write into what it is given, and never clips to the ball what it could not keep inside: the audit
    decides what counts.
    """

    @property
    def info(self) -> AttackInfo:
        """What the attack says of itself; settings other than the defaults have an id of their own."""
        ...

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        """Return adversarial images for images [n, ...] in [0, 1] and labels int64 [n], in their order and dtype."""
        ...
