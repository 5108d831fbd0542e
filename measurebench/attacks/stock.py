"""AutoAttack (Croce and Hein 2020) as the package pyautoattack computes it, for comparison with our own.

Its results depend on which examples share a batch: all of them are attacked in one call, in batches of its own. The
call is not resumable: an interruption loses all of it, and more examples are another evaluation.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from measurebench.attacks.ascent import NONFINITE_GRADIENTS
from measurebench.attacks.counting import Counting
from measurebench.attacks.isolation import frozen
from measurebench.attacks.perform import require_classes
from measurebench.attacks.protocol import AttackContext, AttackInfo, AttackResult
from measurebench.attacks.registry import register_attack
from measurebench.attacks.settings import with_own_id
from measurebench.compute.batching import smaller_until_it_fits
from measurebench.core.digests import seed_from
from measurebench.core.errors import BadInputError

__all__ = ["AutoAttackStock", "Version", "run_stock"]

Version = Literal["standard", "plus", "rand"]


@register_attack
@dataclass(frozen=True)
class AutoAttackStock:
    """pyautoattack as published, in batches of ``batch`` images; an interrupted run begins again.

    ``version`` is pyautoattack's: ``standard`` (apgd-ce, apgd-t, fab-t, square), ``plus`` (six attacks with
    restarts), or ``rand`` for networks with random outputs.
    """

    version: Version = "standard"
    batch: int = 250

    base: ClassVar[AttackInfo] = AttackInfo(
        id="autoattack-stock",
        title="AutoAttack (pyautoattack)",
        source="Croce and Hein 2020, standard version, by pyautoattack",
        explanation="The four attacks of AutoAttack as pyautoattack runs them, where a batch shares random numbers."
        " It cannot be resumed: an interrupted evaluation begins again.",
        cost="about 10^4 F",
        counted_by="autoattack",
        min_classes=4,
        whole=True,
    )

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise BadInputError("autoattack-stock: batch", "a whole number, at least 1", str(self.batch))

    @property
    def info(self) -> AttackInfo:
        """Info of pyautoattack with these settings."""
        return with_own_id(self.base, self)

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        """Return adversarial images [n, ...]; where memory runs out, fewer pass through the network at once."""

        def attack(at_once: int) -> AttackResult:
            return run_stock(network, images, labels, context, self.version, self.batch, at_once)

        return smaller_until_it_fits(attack, min(self.batch, len(images)))


class _Flags(logging.Handler):
    """Collects warnings as data."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().split(" See flags_doc.md")[0].strip()
        if message not in self.messages:
            self.messages.append(message)


@contextmanager
def _isolated(device: torch.device) -> Iterator[_Flags]:
    """Keep pyautoattack's side effects inside: module-global counts, the trace function, logging, random state."""
    from pyautoattack import checks

    logger, flags, tracer = logging.getLogger("auto-attack"), _Flags(), sys.gettrace()
    propagate, level = logger.propagate, logger.level
    for name in checks.funcs:
        checks.funcs[name] = 0
    logger.addHandler(flags)
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield flags
    finally:
        logger.removeHandler(flags)
        logger.propagate = propagate
        logger.setLevel(level)
        for name in checks.funcs:
            checks.funcs[name] = 0
        sys.settrace(tracer)


def run_stock(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    context: AttackContext,
    version: Version = "standard",
    batch: int = 250,
    at_once: int = 250,
) -> AttackResult:
    """Attack images [n, C, H, W], on the network's device, of which ``at_once`` pass through it together.

    pyautoattack computes in float32. With fewer than ten classes the targeted attacks take every other class. Raises
    ModelError below four classes, where the DLR loss does not exist.
    """
    import pyautoattack

    require_classes(AutoAttackStock.base, context.n_classes)
    counting = Counting(network, images.dtype, at_once).eval()
    with _isolated(images.device) as flags, frozen(network):
        attack = pyautoattack.AutoAttack(
            counting,
            device=images.device,
            eps=context.threat.radius,
            norm=context.threat.norm.value,
            seed=seed_from("autoattack-stock", context.seed, context.split) % 2**31,
            version=version,
        )
        attack.verbose = False
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, context.n_classes - 1)
        adversarial, _ = attack.run_standard_evaluation(images.float(), labels, batch_size=batch)
    told = (*flags.messages, *((NONFINITE_GRADIENTS,) if counting.saw_nonfinite else ()))
    return AttackResult(adversarial.detach(), told, round(counting.n_forward / len(images)))
