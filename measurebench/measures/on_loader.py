"""Clean and robust accuracy over a whole loader, batch by batch."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from measurebench.attacks.audit import AttackOutcome
from measurebench.attacks.noise import content_keys
from measurebench.attacks.perform import perform
from measurebench.attacks.protocol import AttackContext
from measurebench.attacks.references import split_references
from measurebench.attacks.registry import find_attacks
from measurebench.compute.numerics import full_precision
from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel
from measurebench.measures.api import as_found, in_dtype
from measurebench.measures.entrance import as_tensors, bare_network, check_labels, checked_pixels, logits_network
from measurebench.measures.robustness.accuracy import AttackAccuracy, accuracy
from measurebench.measures.value import MeasureValue

__all__ = ["eval_rob_accuracy"]


def eval_rob_accuracy(
    network: nn.Module,
    loader: Iterable[Any],
    attacks: str | Iterable[str] = "pgd,fgsm,noise",
    *,
    norm: str = "Linf",
    radius: str | float = 8 / 255,
    seed: int = 0,
    n_limit: int | None = None,
) -> dict[str, MeasureValue]:
    """Return the clean accuracy and that under each attack over all batches of a loader, by id.

    ``loader`` gives pairs of images float [n, ...] in [0, 1] and labels [n]; they are moved to the network's
    device. ``attacks`` are references as ``measurebench run`` takes them, such as ``pgd:steps=50``, and ``radius`` is
    in pixel units. ``n_limit`` is the largest number of images. The accuracies are those of ``measure`` on all images
    at once: a fraction with its standard error and Wilson's interval as diagnostics, except under attacks whose result
    depends on what shares a batch. The network is as found afterwards. Raises BadInputError for what ``measure``
    refuses, and for a loader without images.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> loader = [(torch.rand(8, 1, 2, 2), torch.zeros(8, dtype=torch.int64))] * 2
    >>> found = eval_rob_accuracy(network, loader)
    >>> list(found), found["pgd_accuracy"].n
    (['clean_accuracy', 'pgd_accuracy', 'fgsm_accuracy', 'noise_accuracy'], 16)
    """
    references = split_references(attacks if isinstance(attacks, str) else ",".join(attacks))
    measures = [AttackAccuracy(attack) for attack in find_attacks(references, "attacks")]
    threat, network = ThreatModel.parse(norm, radius), bare_network(network)
    outcomes: list[list[AttackOutcome]] = [[] for _ in measures]
    right: list[Tensor] = []
    with as_found(network), full_precision():
        for images, labels in _batches(loader, network, n_limit):
            ready = logits_network(in_dtype(network, images), images, labels)
            with torch.no_grad():
                logits = ready(images)
            right.append((logits.argmax(1) == labels) & ~logits.isnan().any(1))
            context = AttackContext(threat, content_keys(images), seed, n_classes=logits.shape[1])
            for measure, found in zip(measures, outcomes, strict=True):
                outcome = perform(measure.attack, ready, images, labels, context)
                found.append(replace(outcome, adversarial=outcome.adversarial[:0]))
    if not right:
        raise BadInputError("loader", "batches (images, labels), at least one", "none")
    values = {"clean_accuracy": accuracy(torch.cat(right))}
    return values | {
        measure.info.id: measure.value_of(_joined(found)) for measure, found in zip(measures, outcomes, strict=True)
    }


def _batches(loader: Iterable[Any], network: nn.Module, n_limit: int | None) -> Iterable[tuple[Tensor, Tensor]]:
    """Yield checked images [n, ...] and labels [n] on the network's device, ``n_limit`` images at most."""
    first = next(network.parameters(), None)
    left = n_limit
    for batch in loader:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise BadInputError("loader", "batches (images, labels)", type(batch).__name__)
        images, labels = batch if left is None else (part[:left] for part in batch)
        images, labels = as_tensors(images, labels)
        check_labels(images, labels)
        images = checked_pixels("images", images)
        if left is not None:
            left -= len(images)
        yield (images, labels) if first is None else (images.to(first.device), labels.to(first.device))
        if left == 0:
            return


def _joined(outcomes: list[AttackOutcome]) -> AttackOutcome:
    """Return the outcomes of all batches as one, without images; every warning is told once."""

    def together(name: str) -> Tensor:
        return torch.cat([getattr(outcome, name).cpu() for outcome in outcomes])

    names = {name for outcome in outcomes for name in outcome.counts}
    passes = [outcome.n_passes for outcome in outcomes if outcome.n_passes is not None]
    return AttackOutcome(
        outcomes[0].adversarial,
        together("correct"),
        together("robust"),
        together("distances"),
        together("violations"),
        max(passes) if len(passes) == len(outcomes) else None,
        tuple(dict.fromkeys(flag for outcome in outcomes for flag in outcome.flags)),
        {name: sum(outcome.counts.get(name, 0) for outcome in outcomes) for name in sorted(names)},
        search="; ".join(dict.fromkeys(outcome.search for outcome in outcomes if outcome.search)),
    )
