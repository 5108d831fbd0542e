"""Finds the attacks of other libraries and reads their settings; a library is imported when it is first named."""

import contextlib
import hashlib
import importlib
import inspect
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from measurebench.attacks.adapters.art import ART
from measurebench.attacks.adapters.foolbox import FOOLBOX
from measurebench.attacks.adapters.library import Library, Target
from measurebench.attacks.adapters.torchattacks import TORCHATTACKS
from measurebench.attacks.plugin import PluginAttack
from measurebench.attacks.references import reference_parts
from measurebench.attacks.settings import check_names, read_settings, typed
from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError, near_names
from measurebench.core.threat import ThreatModel

__all__ = ["LIBRARIES", "load_adapted"]

LIBRARIES: Mapping[str, Library] = {library.name: library for library in (TORCHATTACKS, FOOLBOX, ART)}
_PLAIN = (bool, int, float, str, type(None))
_REVISION = 1  # of the adapters: another one makes their attacks be measured again
_SHOWN = 8
_SEEDS = 2**31  # libraries pass a seed on to NumPy, which takes no larger one


def load_adapted(reference: str, subject: str = "attack") -> PluginAttack:
    """Return an attack of a library, ``LIBRARY:CLASS`` with settings after another colon.

    Raises BadInputError for a library that is not installed, and for a class or a setting that it does not have.
    """
    place, name, settings = reference_parts(reference)
    library = LIBRARIES[place]
    module = _imported(library, subject)
    classes = _classes(library, module)
    if name not in classes:
        raise BadInputError(subject, f"an attack of {place}", repr(name), _near(name, classes))
    label, attack_class = f"{place}:{name}", classes[name]
    given = read_settings(settings, label) if settings else {}
    values = _values(library, attack_class, given, label)
    code = _identity(library, attack_class, module)
    takes = ("threat", "seed", "n_classes")
    return PluginAttack(_Adapted(library, attack_class, label), label, label, code, values, takes)


@dataclass(frozen=True)
class _Adapted:
    """An attack of a library as a function of network, images and labels. What it prints is not shown."""

    library: Library
    attack_class: type
    label: str

    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        threat: ThreatModel,
        seed: int,
        n_classes: int,
        **settings: Any,
    ) -> Tensor:
        """Return adversarial images for images [n, C, H, W] and labels [n]."""
        target = Target(network, images, labels, threat, seed % _SEEDS, n_classes, self.label)
        with contextlib.redirect_stdout(io.StringIO()):
            return self.library.attack(self.attack_class, settings, target)


def _imported(library: Library, subject: str) -> ModuleType:
    """Import the module with a library's attacks."""
    try:
        return importlib.import_module(library.module)
    except ImportError as error:
        hint = f"install it with: {library.install}"
        raise BadInputError(subject, f"the package {library.distribution}", str(error), hint) from error


def _classes(library: Library, module: ModuleType) -> dict[str, type]:
    """Return the classes of attacks that a module names, without abstract ones."""
    place, _, name = library.base.partition(":")
    base = getattr(importlib.import_module(place), name)
    return {
        name: item
        for name, item in vars(module).items()
        if inspect.isclass(item) and issubclass(item, base) and item is not base and not inspect.isabstract(item)
    }


def _near(name: str, classes: Iterable[str]) -> str:
    """Return a hint for a name that is not there: near names, one of these initials (``PGD``), or the first few."""
    known = sorted(classes)
    initials = [other for other in known if "".join(filter(str.isupper, other)) == name.upper()]
    if initials:
        return f"did you mean {initials[0]!r}?"
    return near_names(name, known) or f"it has {', '.join(known[:_SHOWN])}{', ...' if len(known) > _SHOWN else ''}"


def _values(library: Library, attack_class: type, given: Mapping[str, str], label: str) -> tuple[tuple[str, Any], ...]:
    """Return settings in the types of the class's defaults; what the run gives cannot be set."""
    parameters = {p.name: p for p in inspect.signature(attack_class).parameters.values() if p.kind in _named()}
    free = {name: p for name, p in parameters.items() if name not in library.given and _is_settable(p)}
    for name in given:
        if option := library.given.get(name, "") if name in parameters else "":
            raise BadInputError(f"setting of {label}", _list(free), repr(name), f"{option} of the run sets it")
    check_names(given, free, label)
    lacking = [p.name for p in parameters.values() if p.default is p.empty and p.name not in (*library.given, *given)]
    if lacking:
        raise BadInputError(f"attack {label}", "a setting for every argument without a default", repr(lacking[0]))
    return tuple((name, _value(text, free[name].default, f"{label}: {name}")) for name, text in sorted(given.items()))


def _named() -> Iterable[Any]:
    return inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


def _is_settable(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty or isinstance(parameter.default, _PLAIN)


def _list(names: Iterable[str]) -> str:
    return f"one of: {', '.join(names)}" if names else "no settings"


def _value(text: str, default: Any, subject: str) -> Any:
    """Return a setting in the type of its default.

    A library may write 1 where it means 1.0, so a default that is a whole number accepts any number.
    """
    if isinstance(default, bool):
        return typed(text, bool, subject)
    if isinstance(default, str):
        return text
    kinds: tuple[Any, ...] = (int, float) if isinstance(default, int | float) else (int, float, bool, str)
    for kind in kinds[:-1]:
        try:
            return typed(text, kind, subject)
        except BadInputError:
            continue
    return typed(text, kinds[-1], subject)


def _identity(library: Library, attack_class: type, module: ModuleType) -> str:
    """Return a digest of the library's release and of the file that defines an attack."""
    try:
        release = version(library.distribution)
    except PackageNotFoundError:  # a copy of the source that was never installed
        release = str(getattr(module, "__version__", ""))
    file = inspect.getsourcefile(attack_class)
    code = digest_file(Path(file)) if file else ""
    return hashlib.sha256(f"{library.name} {release} {_REVISION} {code}".encode()).hexdigest()
