"""Finds third-party attacks, ``module:callable``, ``file.py:callable`` or those of a library such as Foolbox."""

import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from measurebench.attacks.adapters.loading import LIBRARIES, load_adapted
from measurebench.attacks.plugin import OFFERED, PluginAttack
from measurebench.attacks.references import reference_parts
from measurebench.attacks.settings import check_names, read_settings, typed
from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError, near_names
from measurebench.core.importing import import_by_name, import_file
from measurebench.core.reading import kind_of

__all__ = ["load_plugin"]

_POSITIONAL = 3  # network, images, labels


def load_plugin(reference: str, subject: str = "attack") -> PluginAttack:
    """Import the function of a reference and read its signature, or find an attack of a known library.

    Raises BadInputError for a module, function or setting that is not there, or a function that needs more arguments
    than it is given.
    """
    place, name, settings = reference_parts(reference)
    if place in LIBRARIES:
        return load_adapted(reference, subject)
    module = _file_module(place, subject) if place.endswith(".py") else import_by_name(place, subject)
    function = getattr(module, name, None)
    if not callable(function) or inspect.isclass(function):
        near = near_names(name, (key for key, item in vars(module).items() if inspect.isfunction(item)))
        got = "a class" if callable(function) else repr(function) if hasattr(module, name) else "no such name"
        raise BadInputError(subject, f"a function {name!r} of (network, images, labels) in {place!r}", got, near)
    label = f"{Path(place).name if place.endswith('.py') else place}:{name}"
    parameters = _parameters(function)
    given = read_settings(settings, label) if settings else {}
    check_names(given, [known for known in parameters if known not in OFFERED], label)
    lacking = [p.name for p in parameters.values() if p.default is p.empty and p.name not in (*OFFERED, *given)]
    if lacking:
        offered = f"besides (network, images, labels) a function is given {', '.join(OFFERED)} and its settings"
        expected = f"a default or a setting for every other argument of {label}"
        raise BadInputError(subject, expected, f"{lacking[0]!r} without one", offered)
    values = tuple((key, _value(text, parameters[key], f"{label}: {key}")) for key, text in sorted(given.items()))
    takes = tuple(key for key in parameters if key in OFFERED)
    return PluginAttack(function, name, label, _code_digest(function, module), values, takes)


def _file_module(place: str, subject: str) -> ModuleType:
    """Import a Python file under a name made from its content, so that it is never some other module."""
    path = Path(place).resolve()
    if not path.is_file():
        raise BadInputError(subject, f"the file {path}", kind_of(path))
    try:
        return import_file(path, f"measurebench_attack_{digest_file(path)[:16]}")
    except Exception as error:
        raise BadInputError(subject, f"{path} to import", f"{type(error).__name__}: {error}") from error


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters after the first three that can be given by keyword; none where there is no signature."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        return {}
    fit = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    positional = [p for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY][:_POSITIONAL]
    return {p.name: p for p in parameters if p.kind in fit and p not in positional}


def _value(text: str, parameter: inspect.Parameter, subject: str) -> Any:
    """Return a setting in the type of its default, or of its annotation, else as the first type that reads it."""
    if type(parameter.default) in (int, float, bool, str):
        return typed(text, type(parameter.default), subject)
    for kind in (parameter.annotation, int, float, bool):
        try:
            return typed(text, kind, subject)
        except BadInputError:
            continue
    return text


def _code_digest(function: Callable[..., Any], module: ModuleType) -> str:
    """Return the digest of the files of a function and of the module that names it.

    Code without a Python source, such as a compiled extension, counts by its name alone.
    """
    while isinstance(function, functools.partial):
        function = function.func
    files = {_source(thing) for thing in (inspect.unwrap(function), type(function), module)}
    parts = sorted(digest_file(file) for file in files if file is not None)
    return hashlib.sha256("\n".join(parts or [repr(function)]).encode()).hexdigest()


def _source(thing: Any) -> Path | None:
    """Return the source file of a function, class or module, where there is one."""
    try:
        name = inspect.getsourcefile(thing)
    except TypeError:
        return None
    return Path(name) if name and Path(name).is_file() else None
