"""AutoAttack (Croce and Hein 2020) through pyautoattack, one call per shard of fixed examples.

Its results depend on which examples share a batch. A shard, a fixed chunk of the examples with a seed of its own, is
therefore the unit that is computed, kept and resumed.
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
from measurebench.attacks.protocol import AttackContext, AttackInfo, AttackResult, ShardResult
from measurebench.attacks.registry import register_attack
from measurebench.attacks.settings import with_own_id
from measurebench.compute.batching import smaller_until_it_fits
from measurebench.core.digests import seed_from
from measurebench.core.threat import ThreatModel

__all__ = ["SHARD_SIZE", "AutoAttack", "ShardResult", "Version", "attack_shard", "shards"]

# Part of the definition: its random draws are shared by a batch, so another size would give other numbers.
SHARD_SIZE = 64
Version = Literal["standard", "plus", "rand"]


@register_attack
@dataclass(frozen=True)
class AutoAttack:
    """AutoAttack in shards: a fixed chunk of the examples is attacked together and kept when it is finished.

    ``version`` is pyautoattack's: ``standard`` (apgd-ce, apgd-t, fab-t, square), ``plus`` (six attacks with
    restarts), or ``rand`` for networks with random outputs.
    """

    version: Version = "standard"

    base: ClassVar[AttackInfo] = AttackInfo(
        id="autoattack",
        title="AutoAttack",
        source="Croce and Hein 2020, standard version",
        explanation="Four attacks one after another; each takes the images that withstood those before it.",
        cost="about 10^4 F",
        counted_by="autoattack",
        min_classes=4,
        whole=True,
    )

    @property
    def info(self) -> AttackInfo:
        """Info of AutoAttack in this version."""
        return with_own_id(self.base, self)

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        """Return adversarial images [n, ...] of all shards; a shard that is in the store is taken from there."""
        results = [self._shard(network, images, labels, context, rows) for rows in shards(len(images))]
        adversarial = torch.cat([result.adversarial.to(images) for result in results])
        flags = tuple(dict.fromkeys(flag for result in results for flag in result.flags))
        return AttackResult(adversarial, flags, round(sum(result.n_forward for result in results) / len(images)))

    def _shard(
        self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext, rows: range
    ) -> ShardResult:
        """Return the result of one shard; where memory runs out, fewer images pass through the network at once."""
        chosen = slice(rows.start, rows.stop)
        # The standard version has the plain name, under which earlier versions of this package kept its shards.
        name = f"{context.split}-{rows.start:06d}-{rows.stop:06d}"
        name = name if self == type(self)() else f"{self.version}-{name}"
        result = context.shards.get(name) if context.shards is not None else None
        if result is None:
            number = rows.start // SHARD_SIZE
            arguments = (context.threat, context.seed, context.split, number, context.n_classes)

            def attack(at_once: int) -> ShardResult:
                return attack_shard(network, images[chosen], labels[chosen], *arguments, at_once, self.version)

            result = smaller_until_it_fits(attack, len(rows))
            if context.shards is not None:
                context.shards.put(name, result)
        return result


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


def attack_shard(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: ThreatModel,
    seed: int,
    split: str,
    shard: int,
    n_classes: int,
    at_once: int = SHARD_SIZE,
    version: Version = "standard",
) -> ShardResult:
    """Attack one shard of images [n, C, H, W], on the network's device, of which ``at_once`` pass through it together.

    AutoAttack computes in float32. With fewer than ten classes the targeted attacks take every other class. Raises
    ModelError below four classes, where the DLR loss does not exist.
    """
    import pyautoattack

    require_classes(AutoAttack.base, n_classes)
    counting = Counting(network, images.dtype, at_once).eval()
    with _isolated(images.device) as flags, frozen(network):
        attack = pyautoattack.AutoAttack(
            counting,
            device=images.device,
            eps=threat.radius,
            norm=threat.norm.value,
            seed=seed_from("autoattack", seed, split, shard) % 2**31,
            version=version,
        )
        attack.verbose = False
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, n_classes - 1)
        adversarial, _ = attack.run_standard_evaluation(images.float(), labels, batch_size=len(images))
    told = (*flags.messages, *((NONFINITE_GRADIENTS,) if counting.saw_nonfinite else ()))
    return ShardResult(adversarial.detach(), told, counting.n_forward)


def shards(n: int, size: int = SHARD_SIZE) -> list[range]:
    """Return the fixed chunks of the first n examples; more examples add shards and never change earlier full ones.

    >>> shards(130)
    [range(0, 64), range(64, 128), range(128, 130)]
    """
    return [range(start, min(start + size, n)) for start in range(0, n, size)]
