"""Every attack by its name: the decorator ``register_attack`` beside a definition is the only way in."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import measurebench.attacks as package
from measurebench.attacks.adapters.loading import LIBRARIES
from measurebench.attacks.plugin import PluginAttack
from measurebench.attacks.plugin_loading import load_plugin
from measurebench.attacks.protocol import Attack
from measurebench.attacks.references import names_code
from measurebench.attacks.settings import read_settings, with_settings
from measurebench.core.errors import BadInputError, near_names
from measurebench.core.importing import import_submodules
from measurebench.core.plugins import load_entry_points
from measurebench.core.registry import Registry

__all__ = ["all_attacks", "find_attack", "find_attacks", "register_attack"]

A = TypeVar("A", bound=Callable[[], Any])
_ATTACKS: Registry[Attack] = Registry("attack")
_NAME = re.compile(r"[A-Za-z0-9_-]+")


def register_attack(attack_class: A) -> A:
    """Register a frozen dataclass that follows the protocol ``Attack``, with its default settings, under its id.

    Raises ValueError for an id that is taken, or that is not made of letters, digits, ``_`` and ``-``.
    """
    attack: Attack = attack_class()
    if not _NAME.fullmatch(attack.info.id):
        raise ValueError(f"the id of an attack is made of letters, digits, _ and -, not {attack.info.id!r}")
    _ATTACKS.add(attack.info.id, attack)
    return attack_class


def all_attacks() -> Registry[Attack]:
    """Return every attack with its default settings, by id: the built-in ones first, then those of packages.

    >>> "pgd" in all_attacks()
    True
    """
    _import_modules()
    load_entry_points("attacks", _ATTACKS, lambda attack: str(attack.info.id))
    return _ATTACKS


@cache
def _import_modules() -> None:
    import_submodules(package.__name__, package.__path__)


def find_attack(reference: str, subject: str = "attack") -> Attack:
    """Return the attack that a reference means, and import it if it is a third-party one.

    A reference is a registered name (``pgd``), a function (``module:callable`` or ``file.py:callable``) or an attack
    of a library (``foolbox:LinfDeepFoolAttack``). Settings that are not the defaults follow after a colon
    (``pgd:steps=50,restarts=5``). Raises BadInputError, which names ``subject``, where there is no such attack or
    setting.

    >>> find_attack("pgd:steps=50,step=2/255").info.id
    'pgd:steps=50,step=2/255'
    """
    known = all_attacks()
    name, colon, rest = reference.partition(":")
    if name in known and not (colon and names_code(reference)):
        attack = known[name]
        return with_settings(attack, read_settings(rest, name), name) if colon else attack
    if name in known and not Path(f"{name}.py").exists() and find_spec(name) is None:
        raise BadInputError(f"settings of {name}", "name=value, separated by commas", repr(rest))
    if colon and names_code(reference):
        plugin = load_plugin(reference, subject)
        # Its columns are called by its function, unless that would make it one of the registered attacks.
        return plugin.named_in_full() if plugin.name in known else plugin
    expected = f"{', '.join(sorted(known))}, none or module:callable"
    raise BadInputError(subject, expected, repr(reference), _hint(reference, near_names(name, known)))


def _hint(reference: str, near: str) -> str:
    if reference == "none":
        return "none stands alone"
    if reference in LIBRARIES:
        return f"name the attack, such as {reference}:{LIBRARIES[reference].example}"
    return f"name the function, as {reference}:FUNCTION" if reference.endswith(".py") else near


def find_attacks(references: Iterable[str], subject: str = "attack") -> list[Attack]:
    """Return the attacks that references mean, each once, all with different ids.

    Two third-party functions of the same name are called by their whole references. Raises BadInputError as
    ``find_attack`` does.
    """
    found = list(dict.fromkeys(find_attack(reference, subject) for reference in references))
    times = Counter(attack.info.id for attack in found)
    return [
        attack.named_in_full() if isinstance(attack, PluginAttack) and times[attack.info.id] > 1 else attack
        for attack in found
    ]
