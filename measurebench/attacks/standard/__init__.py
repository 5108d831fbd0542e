"""The standard evaluation of AutoAttack, job by job: each example by itself, whatever else is attacked beside it."""

from measurebench.attacks.standard.blocks import FolderStore, Store
from measurebench.attacks.standard.engine import SearchNetwork, StandardResult, standard_attack
from measurebench.attacks.standard.sampled import SampledAccuracy
from measurebench.attacks.standard.settings import ATTACKS, StandardSettings

__all__ = [
    "ATTACKS",
    "FolderStore",
    "SampledAccuracy",
    "SearchNetwork",
    "StandardResult",
    "StandardSettings",
    "Store",
    "standard_attack",
]
