"""The attacks of torchattacks (Kim 2020, arXiv:2010.01950): ``torchattacks:PGD:steps=20,alpha=1/255``."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from measurebench.attacks.adapters.library import Library, Target, check_norm, within

__all__ = ["TORCHATTACKS"]

_RADII = ("eps", "max_epsilon")
# Classes without an argument ``norm``; those that are not listed bound the Linf distance, or nothing.
_OF_ANOTHER_NORM = {
    **dict.fromkeys(("CW", "DeepFool", "PGDL2", "PGDRSL2"), "L2"),
    **dict.fromkeys(("EADL1", "EADEN"), "L1"),
    **dict.fromkeys(("JSMA", "OnePixel", "Pixle", "SparseFool"), "L0"),
}


def _attack(attack_class: type, settings: Mapping[str, Any], target: Target) -> Tensor:
    """Return the images [n, C, H, W] of one call of the attack."""
    takes = inspect.signature(attack_class).parameters
    bounded = any(name in takes for name in _RADII)
    if "norm" not in takes:
        check_norm(target, _OF_ANOTHER_NORM.get(attack_class.__name__, "Linf" if bounded else ""))
    given = {
        **dict.fromkeys(_RADII, target.threat.radius),
        "norm": target.threat.norm.value,
        "n_classes": target.n_classes,
        "seed": target.seed,
        "verbose": False,
    }
    known = {name: value for name, value in given.items() if name in takes}
    attack = attack_class(target.network, **known, **settings)
    found: Tensor = attack(target.images, target.labels)
    return found if bounded else within(found, target)


TORCHATTACKS = Library(
    name="torchattacks",
    distribution="torchattacks",
    module="torchattacks",
    base="torchattacks.attack:Attack",
    # Its wheel brings an old copy of robustbench, which overwrites the package that measurebench reads.
    install="pip install --no-deps torchattacks && pip install --no-deps --force-reinstall robustbench==1.1.1",
    given={
        "model": "",
        **dict.fromkeys(_RADII, "--radius"),
        "norm": "--norm",
        "n_classes": "",
        "seed": "--seed",
        "verbose": "",
    },
    example="PGD",
    attack=_attack,
)
