"""The registry of measures: a decorator beside each definition is the only way in."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import cache
from typing import Any, Protocol, TypeVar

import measurebench.measures as package
from measurebench.core.errors import BadInputError, near_names
from measurebench.core.info import FAMILIES, MeasureInfo
from measurebench.core.registry import Registry
from measurebench.measures.context import MeasureContext
from measurebench.measures.value import MeasureValue

__all__ = [
    "M",
    "Measure",
    "all_measures",
    "find_measure",
    "parameters_of",
    "register",
    "select_measures",
    "with_settings",
]


class Measure(Protocol):
    """A frozen dataclass whose fields are its parameters."""

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

    Stacked decorators register several: ``@register(examples="clean")`` and ``@register(examples="pgd")``.
    """

    def add(measure_class: M) -> M:
        measure: Measure = measure_class(**parameters)
        _MEASURES.add(measure.info.id, measure)
        return measure_class

    return add


def all_measures() -> Registry[Measure]:
    """Return every measure: importing the family folders registers what they define."""
    _import_families()
    return _MEASURES


@cache
def _import_families() -> None:
    for family in FAMILIES:
        folder = importlib.import_module(f"{package.__name__}.{family}")
        for module in pkgutil.iter_modules(folder.__path__, f"{folder.__name__}."):
            importlib.import_module(module.name)


def find_measure(name: str) -> Measure:
    """Return the measure of this id; ``id:variant`` asks for a named variant, such as ``local_lip:reference``."""
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

    Core is the study's list together with the accuracies on which the gap rests.
    """
    if isinstance(names, str):
        if names == "all":
            return [measure for _, measure in all_measures().items()]
        if names == "core":
            return [measure for _, measure in all_measures().items() if measure.info.tier in ("core", "accuracy")]
        names = [name.strip() for name in names.split(",") if name.strip()]
    chosen = [find_measure(item) if isinstance(item, str) else item for item in names]
    if not chosen:
        raise BadInputError("measures", "core, all, or one id or more", "an empty list")
    return list({measure.info.id: measure for measure in chosen}.values())


def with_settings(measure: Measure, settings: dict[str, Any]) -> Measure:
    """Return the measure with some parameters changed (from a configuration file)."""
    return _replace(measure, settings) if settings else measure


def parameters_of(measure: Measure) -> dict[str, Any]:
    """Return a measure's parameters as plain values."""
    return {field.name: getattr(measure, field.name) for field in fields(measure)}  # type: ignore[arg-type]


def _replace(measure: Measure, settings: dict[str, Any]) -> Measure:
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
