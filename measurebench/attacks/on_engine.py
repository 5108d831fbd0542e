"""Attacks that run on the engine of the standard evaluation: from an attack's context to its result."""

from torch import Tensor, nn

from measurebench.attacks.isolation import frozen
from measurebench.attacks.protocol import AttackContext, AttackInfo, AttackResult
from measurebench.attacks.standard import ATTACKS, SearchNetwork, StandardResult, StandardSettings, standard_attack
from measurebench.attacks.standard.settings import LEAST_CLASSES, VERSION
from measurebench.compute.precision import exact

__all__ = ["COMMON", "run_on_engine"]

# What every attack on the engine says of itself.
COMMON = AttackInfo(
    id="",
    title="",
    source="",
    version=VERSION,
    counted_by="autoattack",
    min_classes=LEAST_CLASSES,
    batch_independent=True,
    divisible=True,
    whole=True,
    exact=True,
)


def run_on_engine(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    context: AttackContext,
    settings: StandardSettings,
    search: SearchNetwork = "folded",
    share: float | None = None,
) -> AttackResult:
    """Return adversarial images [n, ...], judged by the network in the precision of its weights.

    A network in fast precision on a GPU searches in 16 bits, unless ``search`` is the reference.
    """
    judge = exact(network)
    fast = judge is not network and images.is_cuda and search == "folded"
    with frozen(network):
        result = standard_attack(
            judge,
            images,
            labels,
            context.threat,
            keys=context.keys,
            seed=context.seed,
            n_classes=context.n_classes,
            settings=settings,
            store=context.store,
            batch_size=context.batch_size,
            search="fast" if fast else search,
            share=share,
            only=context.only,
        )
    return _told(result, settings, share is not None)


def _told(result: StandardResult, settings: StandardSettings, sampled: bool) -> AttackResult:
    passes = int((result.n_forward + result.n_backward).sum())
    counts = {"n_near_misses": int(result.diagnostics["near_misses"]), "n_undecided": int(result.failed.sum())}
    for attack, withstood in result.withstood.items():
        counts[f"n_left_by_{attack.replace('-', '_')}"] = int(withstood.sum())
    if sampled:
        counts["n_survivors"] = result.sample.survivors
        counts["n_sampled"] = int(result.sample.chosen.sum())
        counts["n_broken_in_sample"] = result.sample.broken
    return AttackResult(
        result.adversarial,
        result.flags,
        round(passes / len(result.robust)),
        counts,
        result.failed,
        _details(result, settings) | ({"sampled": result.sample.chosen} if sampled else {}),
        str(result.diagnostics["search_network"]),
    )


def _details(result: StandardResult, settings: StandardSettings) -> dict[str, Tensor]:
    """Return what is kept with the verdicts: which of ATTACKS broke an example (-1: none), where, and by how much.

    ``withstood_<attack>`` bool [n] says what each attack left.
    """
    by = result.broken_by
    places = by.new_tensor([ATTACKS.index(attack) for attack in settings.attacks])
    details = {"broken_by": by.clone(), "step": result.step, "target_rank": result.rank, "margin": result.margins}
    details["broken_by"][by >= 0] = places[by[by >= 0]]
    return details | {f"withstood_{attack.replace('-', '_')}": held for attack, held in result.withstood.items()}
