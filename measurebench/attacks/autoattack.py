"""AutoAttack (Croce and Hein 2020) through pyautoattack, one call per shard of fixed examples.

Its results depend on which examples share a batch, so a shard (a fixed chunk of the fixed subset, with a seed of
its own) is the unit of work, of resumption, of parallelism and of determinism.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from measurebench.core.digests import seed_from
from measurebench.core.errors import ModelError
from measurebench.core.threat import ThreatModel

__all__ = ["SHARD_SIZE", "ShardResult", "attack_shard", "shards"]

SHARD_SIZE = 64
_CLASSES_FOR_DLR = 4


@dataclass(frozen=True)
class ShardResult:
    """``adversarial`` [n, ...], the ``flags`` that AutoAttack raised, and the images it sent forward."""

    adversarial: Tensor
    flags: tuple[str, ...]
    n_forward: int


class _Counting(nn.Module):
    """The network, counting the images that pass through it; float32 outside (the attack's own), ``dtype`` within.

    More than ``at_once`` images go through in parts, each computed again when its gradient is taken, so that the
    memory is that of one part.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, at_once: int) -> None:
        super().__init__()
        self.network, self.dtype, self.at_once = network, dtype, at_once
        self.n_forward = 0

    def forward(self, images: Tensor) -> Tensor:
        self.n_forward += len(images)
        inputs = images.to(self.dtype)
        if len(images) <= self.at_once:
            logits: Tensor = self.network(inputs)
        else:
            from torch.utils.checkpoint import checkpoint

            parts = [checkpoint(self.network, part, use_reentrant=False) for part in torch.split(inputs, self.at_once)]
            logits = torch.cat(parts)
        return logits.to(images.dtype)


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
def _isolated() -> Iterator[_Flags]:
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
        with torch.random.fork_rng(), warnings.catch_warnings():
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
) -> ShardResult:
    """Attack one shard with the standard version: apgd-ce, apgd-t, fab-t, square.

    ``images`` float32 [n, C, H, W] on the network's device, of which ``at_once`` pass through it together. With fewer
    than ten classes the targeted attacks take every other class. Raises ModelError below four classes, where the DLR
    loss does not exist.
    """
    from pyautoattack import AutoAttack

    if n_classes < _CLASSES_FOR_DLR:
        raise ModelError(f"AutoAttack: expected at least {_CLASSES_FOR_DLR} classes (DLR loss), got {n_classes}")
    counting = _Counting(network, images.dtype, at_once).eval()
    with _isolated() as flags:
        attack = AutoAttack(
            counting,
            device=images.device,
            eps=threat.radius,
            norm=threat.norm.value,
            seed=seed_from("autoattack", seed, split, shard) % 2**31,
        )
        attack.verbose = False
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, n_classes - 1)
        adversarial, _ = attack.run_standard_evaluation(images.float(), labels, batch_size=len(images))
    return ShardResult(adversarial.detach(), tuple(flags.messages), counting.n_forward)


def shards(n: int, size: int = SHARD_SIZE) -> list[range]:
    """Return the fixed chunks of the first n examples; more examples add shards and never change earlier full ones."""
    return [range(start, min(start + size, n)) for start in range(0, n, size)]
