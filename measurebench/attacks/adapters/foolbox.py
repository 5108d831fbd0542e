"""The attacks of Foolbox (Rauber et al. 2020, JOSS 5(53)): ``foolbox:LinfDeepFoolAttack:steps=100``."""

import importlib
import inspect
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from measurebench.attacks.adapters.library import Library, Target, check_norm

__all__ = ["FOOLBOX"]


def _attack(attack_class: type, settings: Mapping[str, Any], target: Target) -> Tensor:
    """Return the images [n, C, H, W] that Foolbox has clipped to the radius."""
    foolbox: Any = importlib.import_module("foolbox")
    distance = foolbox.distances.linf if target.linf else foolbox.distances.l2
    takes = inspect.signature(attack_class).parameters
    attack = attack_class(**({"distance": distance} if "distance" in takes else {}), **settings)
    check_norm(target, _norm_of(attack))
    model = foolbox.PyTorchModel(target.network, bounds=(0, 1), device=target.images.device)
    _, clipped, _ = attack(model, target.images, target.labels, epsilons=target.threat.radius)
    found: Tensor = clipped
    return found


def _norm_of(attack: Any) -> str:
    """Return the norm that an attack bounds, such as Linf; "" where it bounds none."""
    power = getattr(getattr(attack, "distance", None), "p", None)
    return "" if power is None else "Linf" if math.isinf(power) else f"L{power:g}"


FOOLBOX = Library(
    name="foolbox",
    distribution="foolbox",
    module="foolbox.attacks",
    base="foolbox.attacks.base:Attack",
    install="pip install foolbox",
    given={"distance": "--norm", "tensorboard": "", "channel_axis": ""},
    example="LinfDeepFoolAttack",
    attack=_attack,
)
