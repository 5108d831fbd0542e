"""Any attack as ``module:callable``: it maps (network, images, labels) to images, and is audited like the others."""

import importlib
from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from measurebench.core.errors import BadInputError

__all__ = ["Attack", "attack_name", "load_attack"]

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def load_attack(reference: str) -> Attack:
    """Return the callable of ``module:callable``; the module is imported from the path as Python finds it."""
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise BadInputError("attack", "pgd, autoattack, none or module:callable", repr(reference))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BadInputError("attack", f"a module that can be imported as {module_name!r}", str(error)) from error
    attack = getattr(module, name, None)
    if not callable(attack):
        raise BadInputError("attack", f"a callable {name!r} in {module_name!r}", repr(attack))
    return cast("Attack", attack)


def attack_name(reference: str) -> str:
    """Return the short name of an attack for columns: the callable's name."""
    return reference.partition(":")[2] or reference
