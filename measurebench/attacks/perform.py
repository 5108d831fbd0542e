"""Runs any attack on copies, checks what it returns, and judges it by the images that were never out of our hands."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from measurebench.attacks.audit import AttackOutcome, audit
from measurebench.attacks.protocol import Attack, AttackContext, AttackInfo, AttackResult
from measurebench.compute.batching import Batches
from measurebench.core.errors import BadInputError, ModelError
from measurebench.core.threat import ThreatModel

__all__ = ["attacked", "judged", "perform", "require_classes"]

_BATCH = 256


def perform(
    attack: Attack,
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    context: AttackContext,
    batches: Batches | None = None,
) -> AttackOutcome:
    """Attack images [n, ...] with labels int64 [n], and return what the attack really did, example by example.

    Nothing is clipped: what leaves the ball or the box is a violation, which never counts as a success.
    """
    plan = Batches(_BATCH) if batches is None else batches
    result = attacked(attack, network, images, labels, context, plan)

    def predicted(points: Tensor) -> Tensor:
        with torch.no_grad():
            return plan.cat(lambda rows: network(points[rows]), len(points))

    return judged(result, images, labels, predicted(images), predicted(result.adversarial), context.threat)


def attacked(
    attack: Attack, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext, batches: Batches
) -> AttackResult:
    """Return what an attack makes of copies of images [n, ...] and labels [n], batch by batch unless it takes all.

    The result has the dtype and device of ``images``. Raises BadInputError for targets that the attack does not take.
    """
    info = attack.info
    require_classes(info, context.n_classes)
    if context.targets is not None and not info.targeted:
        raise BadInputError(f"attack {info.id}", "no targets, which it cannot aim at", "targets")

    def run(rows: slice) -> AttackResult:
        result = attack(network, images[rows].clone(), labels[rows].clone(), context.at(rows))
        return _checked(info, result, images[rows])

    if info.whole:
        return run(slice(0, len(images)))
    return _joined(list(batches.each(run, len(images))))


def judged(
    result: AttackResult,
    images: Tensor,
    labels: Tensor,
    clean_logits: Tensor,
    adversarial_logits: Tensor,
    threat: ThreatModel,
) -> AttackOutcome:
    """Audit a result against images [n, ...], labels [n] and logits [n, K] at clean and at adversarial images."""
    outcome = audit(
        images,
        labels,
        result.adversarial,
        clean_logits,
        adversarial_logits,
        threat,
        result.n_passes,
        result.flags,
        result.counts,
        result.undecided,
        result.details,
    )
    return replace(outcome, search=result.search)


def require_classes(info: AttackInfo, n_classes: int) -> None:
    """Raise ModelError where a network has fewer classes than the attack needs."""
    if n_classes < info.min_classes:
        raise ModelError(f"{info.title}: expected at least {info.min_classes} classes, got {n_classes}")


def _checked(info: AttackInfo, result: AttackResult, images: Tensor) -> AttackResult:
    """Return the result with images in our dtype, on our device; anything but images of this shape is refused."""
    found, subject = result.adversarial, f"attack {info.id}"
    if not isinstance(found, Tensor):
        raise BadInputError(subject, "a tensor of adversarial images", type(found).__name__)
    if found.shape != images.shape:
        raise BadInputError(subject, f"adversarial images of shape {tuple(images.shape)}", str(tuple(found.shape)))
    if not found.is_floating_point():
        raise BadInputError(subject, "adversarial images of a floating-point type", str(found.dtype))
    return replace(result, adversarial=found.detach().to(images))


def _joined(results: Sequence[AttackResult]) -> AttackResult:
    """Put the results of consecutive batches together; every warning once."""
    sizes = [len(result.adversarial) for result in results]
    passes = [result.n_passes for result in results]
    known = [n * size for n, size in zip(passes, sizes, strict=True) if n is not None]
    counts: dict[str, int] = {}
    for result in results:
        for name, number in result.counts.items():
            counts[name] = counts.get(name, 0) + number
    return AttackResult(
        torch.cat([result.adversarial for result in results]),
        tuple(dict.fromkeys(flag for result in results for flag in result.flags)),
        round(sum(known) / sum(sizes)) if len(known) == len(results) else None,
        counts,
        _undecided(results),
        _details(results),
        "; ".join(dict.fromkeys(result.search for result in results if result.search)),
    )


def _undecided(results: Sequence[AttackResult]) -> Tensor | None:
    """Return which examples of all batches are undecided; None where no batch says it."""
    if all(result.undecided is None for result in results):
        return None
    return torch.cat(
        [
            torch.zeros(len(result.adversarial), dtype=torch.bool, device=result.adversarial.device)
            if result.undecided is None
            else result.undecided
            for result in results
        ]
    )


def _details(results: Sequence[AttackResult]) -> dict[str, Tensor]:
    """Return the details that every batch has, over all examples."""
    shared = set.intersection(*(set(result.details) for result in results))
    return {name: torch.cat([result.details[name] for result in results]) for name in sorted(shared)}
