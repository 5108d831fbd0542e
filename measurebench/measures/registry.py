"""The registry of measures: a decorator beside each definition adds it, here and in third-party packages."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import cache
from typing import Any, Protocol, TypeVar

import measurebench.measures as package
from measurebench.core.errors import BadInputError, near_names
from measurebench.core.importing import import_submodules
from measurebench.core.info import FAMILIES, MeasureInfo, check_info
from measurebench.core.origins import Origin, origin_of
from measurebench.core.plugins import load_entry_points
from measurebench.core.registry import Registry
from measurebench.measures.context import MeasureContext
from measurebench.measures.value import MeasureValue

__all__ = [
    "M",
    "Measure",
    "all_measures",
    "find_measure",
    "origin_of_measure",
    "parameters_of",
    "register",
    "select_measures",
    "with_settings",
]


class Measure(Protocol):
    """A frozen dataclass whose fields are its parameters.

    One that passes no image through the network may say so by a true ``passes_no_image``: ``measure`` then need not
    check the network's answers.
    """

    @property
    def info(self) -> MeasureInfo:
        """What the measure says of itself."""
        ...

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the value for the context's network and examples."""
        ...


M = TypeVar("M", bound=Callable[..., Any])
_MEASURES: Registry[Measure] = Registry("measure")


def register(**parameters: Any) -> Callable[[M], M]:
    """Register the decorated frozen dataclass, built with these parameters, under its ``info.id``.

    Stacked decorators register several: ``@register(examples="clean")`` and ``@register(examples="pgd")``. The
    decorator raises BadInputError, which names both origins, for an id that is taken, and for an info that cannot be.
    """

    def add(measure_class: M) -> M:
        measure: Measure = measure_class(**parameters)
        _MEASURES.add(check_info(measure.info).id, measure)
        return measure_class

    return add


def all_measures() -> Registry[Measure]:
    """Return every measure by id: the built-in ones first, then those of third-party packages and ``--plugin`` files.

    >>> "path_norm" in all_measures()
    True
    """
    _import_families()
    load_entry_points("measures", _MEASURES, lambda measure: check_info(measure.info).id)
    return _MEASURES


def origin_of_measure(measure: Measure) -> Origin:
    """Return who defines a measure; the accuracy under an attack belongs to whoever defines the attack.

    >>> origin_of_measure(find_measure("path_norm")).is_built_in
    True
    """
    origin = origin_of(type(measure))
    attack = getattr(measure, "attack", None)
    return origin_of(type(attack)) if origin.is_built_in and attack and not isinstance(attack, str) else origin


@cache
def _import_families() -> None:
    for family in FAMILIES:
        folder = importlib.import_module(f"{package.__name__}.{family}")
        import_submodules(folder.__name__, folder.__path__)


def find_measure(name: str) -> Measure:
    """Return the measure of this id; ``id:variant`` asks for a named variant, such as ``local_lip:reference``.

    Raises BadInputError, with near names, for an unknown id or variant.

    >>> find_measure("local_lip:reference").info.id
    'local_lip:reference'
    """
    known = all_measures()
    plain, _, variant = name.partition(":")
    measure = known[plain]
    if not variant:
        return measure
    if variant not in measure.info.variants:
        variants = ", ".join(measure.info.variants) or "none"
        raise BadInputError(f"variant of {plain}", f"one of: {variants}", repr(variant))
    return _replace(measure, {"variant": variant})


def select_measures(names: str | Iterable[str | Measure]) -> list[Measure]:
    """Return measures for ``core``, ``all``, a comma-separated string, or an iterable of ids and measures.

    ``core`` is the list of Kim et al. 2023 together with the accuracies that make up the gap; no third-party measure
    belongs to it. ``all`` includes the measures of installed third-party packages. Each measure is returned once.
    Raises BadInputError for an unknown id and for an empty list.

    >>> [measure.info.id for measure in select_measures("path_norm, num_params")]
    ['path_norm', 'num_params']
    """
    if isinstance(names, str):
        if names == "all":
            return [measure for _, measure in all_measures().items()]
        if names == "core":
            ours = [item for name, item in all_measures().items() if _MEASURES.origin(name).is_built_in]
            return [item for item in ours if item.info.tier in ("core", "accuracy")]
        names = [name.strip() for name in names.split(",") if name.strip()]
    chosen = [find_measure(item) if isinstance(item, str) else item for item in names]
    if not chosen:
        raise BadInputError("measures", "core, all, or one id or more", "an empty list")
    return list({measure.info.id: measure for measure in chosen}.values())


def with_settings(measure: Measure, settings: dict[str, Any]) -> Measure:
    """Return the measure with some parameters changed (from a configuration file).

    Whole numbers are accepted where a parameter is a float. Raises BadInputError for an unknown parameter and for a
    value of another type.
    """
    return _replace(measure, settings) if settings else measure


def parameters_of(measure: Measure) -> dict[str, Any]:
    """Return a measure's parameters as plain values.

    >>> parameters_of(find_measure("local_lip:reference"))["variant"]
    'reference'
    """
    return {field.name: getattr(measure, field.name) for field in fields(measure)}  # type: ignore[arg-type]


def _replace(measure: Measure, settings: dict[str, Any]) -> Measure:
    """Change fields of a measure; names and types are checked, since they come from the user."""
    known = {field.name: field for field in fields(measure)}  # type: ignore[arg-type]
    for name, value in settings.items():
        if name not in known:
            hint = near_names(name, known)
            raise BadInputError(
                f"parameter of {measure.info.id}", f"one of: {', '.join(known) or 'none'}", repr(name), hint
            )
        current = getattr(measure, name)
        numbers = isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool)
        if current is not None and type(current) is not type(value) and not numbers:
            expected = type(current).__name__
            raise BadInputError(f"parameter {name} of {measure.info.id}", f"a value of type {expected}", repr(value))
    return replace(measure, **settings)  # type: ignore[type-var]
