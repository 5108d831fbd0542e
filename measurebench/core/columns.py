"""One description of every column of the table of models: export, statistics and pages all derive from it.

A column is described by its name alone, so that a table from anywhere can be read. Besides the fixed names of the
contract there are patterns: ``setting_<name>``, ``<attack>_accuracy_<train|test>``, ``robust_gap_<attack>``,
``n_<attack>`` and ``n_<attack>_train``, and ``<attack>_flags``, which only tables with such warnings have. Every other
name is a measure.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "CONTRACT",
    "OUTCOMES",
    "Column",
    "Format",
    "Role",
    "accuracy_column",
    "accuracy_columns",
    "attack_title",
    "attacks_in",
    "control_column",
    "count_columns",
    "describe",
    "flags_column",
    "gap_column",
    "is_counted_apart",
    "is_gap",
    "names_of",
    "outcome_columns",
    "own_count",
]

Role = Literal["identity", "setting", "count", "outcome", "gap", "measure", "provenance", "status"]
Format = Literal["text", "integer", "number", "percent", "points"]

OUTCOMES: frozenset[Role] = frozenset({"count", "outcome", "gap"})
"""The roles of columns that say how robust a model is, or on how many images: never judged as measures."""

_SPLITS = ("train", "test")
_IMAGES = {"train": "training images", "test": "test images"}
# Attacks whose name is not what a reader should see. Any other attack is called by its own name.
_ATTACKS = {"clean": "clean", "pgd": "PGD", "autoattack": "AutoAttack"}
_SETTINGS = {"steps": "attack steps"}
# pandas calls a column without a name so: it holds the numbers of the rows.
_NAMELESS = "Unnamed:"
# Names under which tables from elsewhere say which model a row is about.
_ALIASES = ("id", "model", "name", "reference")


@dataclass(frozen=True)
class Column:
    """What a column holds.

    ``attack`` and ``split`` are empty where the column belongs to none. ``label`` heads the column in a table,
    ``title`` names it in a sentence or on an axis. ``format`` says how its numbers are shown: "percent" and "points"
    are fractions until then.
    """

    name: str
    role: Role
    label: str
    title: str
    format: Format = "text"
    attack: str = ""
    split: str = ""

    @property
    def is_outcome(self) -> bool:
        """Whether the column is an accuracy, a gap or a number of images, so that it cannot be a measure."""
        return self.role in OUTCOMES


def _named(role: Role, name: str, label: str, format: Format = "text") -> Column:
    return Column(name, role, label, label, format)


def _count(name: str, split: str, attack: str = "") -> Column:
    where = f" {split}" if not attack or split == "train" else ""
    title = f"{_IMAGES[split]} under {attack_title(attack)}" if attack else _IMAGES[split]
    return Column(name, "count", f"n {attack_title(attack)}{where}".replace("  ", " "), title, "integer", attack, split)


def _accuracy(name: str, attack: str, split: str) -> Column:
    title = f"{attack_title(attack)} {split} accuracy"
    return Column(name, "outcome", f"{attack_title(attack)}, {split}", title, "percent", attack, split)


def _gap(name: str, attack: str) -> Column:
    known = f" ({attack_title(attack)})" if attack else ""
    label = f"gap, {attack_title(attack)}" if attack else "gap"
    return Column(name, "gap", label, f"robust generalization gap{known}", "points", attack)


def attack_title(attack: str) -> str:
    """Return what a reader calls an attack.

    >>> attack_title("autoattack"), attack_title("square")
    ('AutoAttack', 'square')
    """
    return _ATTACKS.get(attack, attack)


def _flags(name: str, attack: str) -> Column:
    words = f"{attack_title(attack)}'s warnings"
    return Column(name, "status", words, words, "text", attack)


def accuracy_column(attack: str, split: str) -> str:
    """Return the column of the accuracy under an attack ("clean" for none) on a split.

    >>> accuracy_column("square", "test")
    'square_accuracy_test'
    """
    return f"{attack}_accuracy_{split}"


def gap_column(attack: str) -> str:
    """Return the column of the robust generalization gap under an attack: train minus test accuracy.

    >>> gap_column("autoattack")
    'robust_gap_autoattack'
    """
    return f"robust_gap_{attack}"


def flags_column(attack: str) -> str:
    """Return the column of an attack's warnings about a model, such as gradients that mislead it.

    >>> flags_column("autoattack")
    'autoattack_flags'
    """
    return f"{attack}_flags"


def own_count(attack: str, split: str) -> str:
    """Return the column that says on how many images of a split an attack was run, where those are not all of them.

    >>> own_count("autoattack", "test"), own_count("autoattack", "train")
    ('n_autoattack', 'n_autoattack_train')
    """
    return f"n_{attack}" if split == "test" else f"n_{attack}_{split}"


def is_counted_apart(attack: str) -> bool:
    """Say whether the contract gives an attack its own number of images, since it is usually run on a part of them.

    >>> is_counted_apart("autoattack"), is_counted_apart("pgd")
    (True, False)
    """
    return own_count(attack, "test") in _FIXED


def count_columns(attack: str, split: str) -> tuple[str, ...]:
    """Return the columns that may hold the number of images of an accuracy; the first that a table has counts.

    An attack whose number the contract names (AutoAttack) is usually run on a part of the images, so without that
    number nothing is assumed; tables that give a single number for it mean both splits.

    >>> count_columns("square", "train")
    ('n_square_train', 'n_train')
    >>> count_columns("autoattack", "train")
    ('n_autoattack_train', 'n_autoattack')
    """
    if is_counted_apart(attack):
        return tuple(dict.fromkeys((own_count(attack, split), own_count(attack, "test"))))
    return own_count(attack, split), f"n_{split}"


CONTRACT: tuple[Column, ...] = (
    _named("identity", "model_id", "model"),
    _named("identity", "source", "source"),
    _named("identity", "file_sha256", "file SHA-256"),
    _named("identity", "architecture", "architecture"),
    _named("identity", "n_parameters", "parameters", "integer"),
    _named("identity", "defense", "defense"),
    _named("identity", "dataset", "data set"),
    _named("identity", "norm", "norm"),
    _named("identity", "radius", "radius", "number"),
    _named("identity", "run", "training run"),
    _named("identity", "cluster", "cluster"),
    _count("n_train", "train"),
    _count("n_test", "test"),
    _count("n_autoattack", "test", "autoattack"),
    *(_accuracy(accuracy_column(attack, split), attack, split) for attack in _ATTACKS for split in _SPLITS),
    *(_gap(gap_column(attack), attack) for attack in _ATTACKS if attack != "clean"),
    _named("provenance", "measurebench_version", "version"),
    _named("provenance", "config_digest", "configuration"),
    _named("status", "status", "status"),
    _named("status", "reason", "reason"),
)
"""The columns that every exported table has, in their order, settings and measures apart."""

_FIXED = {column.name: column for column in CONTRACT}
_FIXED |= {name: _named("identity", name, name) for name in _ALIASES}
_ACCURACY = re.compile(r"(?P<attack>.+)_accuracy(?:_(?P<split>train|test))?")
_FLAGS = re.compile(r"(?P<attack>.+)_flags")
_COUNT = re.compile(r"n_(?P<attack>.+?)(?:_(?P<split>train))?")


def describe(name: str, among: Collection[str] = ()) -> Column:
    """Return what a column of this name holds; ``among`` are the names of the table's columns.

    ``n_<attack>`` is a number of images, and ``<attack>_flags`` holds warnings, only where the attack is known:
    AutoAttack and PGD are, another one is where ``among`` has an accuracy under it. So a table's own ``n_layers``
    remains a measure. An accuracy without a split, as leaderboards have it, can be judged as a measure.

    >>> describe("square_accuracy_test").role, describe("square_accuracy_test").attack
    ('outcome', 'square')
    >>> describe("robust_gap_square").title
    'robust generalization gap (square)'
    >>> describe("n_square").role, describe("n_square", among=["square_accuracy_test"]).role
    ('measure', 'count')
    >>> describe("setting_batch_size").label
    'batch size'
    """
    if name in _FIXED:
        return _FIXED[name]
    if name.startswith("setting_"):
        plain = name.removeprefix("setting_")
        return _named("setting", name, _SETTINGS.get(plain, _spaced(plain)))
    if is_gap(name):
        return _gap(name, name.removeprefix("robust_gap").removeprefix("_"))
    if (found := _ACCURACY.fullmatch(name)) and found["split"]:
        return _accuracy(name, found["attack"], found["split"])
    if (counted := _COUNT.fullmatch(name)) and _is_attack(counted["attack"], among):
        return _count(name, counted["split"] or "test", counted["attack"])
    if (flagged := _FLAGS.fullmatch(name)) and _is_attack(flagged["attack"], among):
        return _flags(name, flagged["attack"])
    if name.startswith(_NAMELESS):
        return _named("identity", name, "row")
    return Column(name, "measure", _spaced(name), _spaced(name), _format(name), found["attack"] if found else "")


def _is_attack(name: str, among: Collection[str]) -> bool:
    return name in _ATTACKS or any(accuracy_column(name, split) in among for split in _SPLITS)


def _format(name: str) -> Format:
    return "integer" if name.startswith("n_") else "percent" if "_accuracy_" in name else "number"


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def is_gap(name: str) -> bool:
    """Say whether a column is a robust generalization gap: what hypotheses and published claims are about.

    >>> is_gap("robust_gap_pgd"), is_gap("pgd_accuracy_test")
    (True, False)
    """
    return name.startswith("robust_gap")


def names_of(*roles: Role) -> tuple[str, ...]:
    """Return the names of the contract's columns of these roles, in the order of the table.

    >>> names_of("gap")
    ('robust_gap_pgd', 'robust_gap_autoattack')
    """
    return tuple(column.name for column in CONTRACT if column.role in roles)


def attacks_in(names: Iterable[str]) -> tuple[str, ...]:
    """Return the attacks under which a table has an accuracy on some split: those of the contract first, then by name.

    >>> attacks_in(["square_accuracy_test", "pgd_accuracy_test", "clean_accuracy_test"])
    ('pgd', 'square')
    """
    found = {column.attack for column in map(describe, names) if column.role == "outcome"} - {"clean"}
    return (*(name for name in _ATTACKS if name in found), *sorted(found - set(_ATTACKS)))


def outcome_columns(names: Collection[str]) -> list[str]:
    """Return the numbers of images, accuracies and gaps of a table in their order: the contract's, and others of names.

    Within each kind attacks come in the order of ``attacks_in``.

    >>> outcome_columns(["n_autoattack_train", "square_accuracy_test"])[:5]
    ['n_train', 'n_test', 'n_autoattack', 'n_autoattack_train', 'clean_accuracy_train']
    """
    order = {attack: k for k, attack in enumerate(("", "clean", *attacks_in([*names_of("outcome"), *names])))}
    found: list[str] = []
    roles: tuple[Role, ...] = ("count", "outcome", "gap")
    for role in roles:
        every = [describe(name, names) for name in dict.fromkeys([*names_of(role), *names])]
        chosen = [column for column in every if column.role == role and column.attack in order]
        found += [column.name for column in sorted(chosen, key=lambda column: (order[column.attack], _place(column)))]
    return found


def _place(column: Column) -> bool:
    """Sort what one attack has: accuracies train first, numbers of images test first, as the contract names them."""
    return bool(column.attack) and (column.split == "train") == (column.role == "count")


def accuracy_columns(target: str) -> tuple[str, str]:
    """Return the columns of train and test robust accuracy that belong to a target: those of PGD where it names none.

    >>> accuracy_columns("robust_gap_square")
    ('square_accuracy_train', 'square_accuracy_test')
    >>> accuracy_columns("clean_accuracy_test")
    ('pgd_accuracy_train', 'pgd_accuracy_test')
    """
    attack = describe(target).attack
    attack = attack if attack not in {"", "clean"} else "pgd"
    return accuracy_column(attack, "train"), accuracy_column(attack, "test")


def control_column(target: str) -> str:
    """Return the train robust accuracy that is held fixed: that of a gap's own attack, else that of PGD.

    >>> control_column("robust_gap_autoattack"), control_column("autoattack_accuracy_test")
    ('autoattack_accuracy_train', 'pgd_accuracy_train')
    """
    return accuracy_columns(target if is_gap(target) else "")[0]
