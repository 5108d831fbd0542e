"""The registry of statistics: a new statistic is one file of this folder with one decorated function.

Every module of the folder is imported by ``all_statistics``, so that nothing else is edited. Code outside the project
uses the same decorator, or ``register_statistic``. A statistic is a function from one measure on its models, a
``Sample``, and all that was asked, an ``Asked``, to rows::

    from scipy.stats import somersd
    from measurebench.stats.statistics.estimates import Estimate, n_pairs
    from measurebench.stats.statistics.registry import statistic

    @statistic("somers_d", title="Somers' D", explanation="tau over the pairs that differ in the measure.")
    def somers_d(sample, asked):
        if sample.flaw:  # fewer than two models, or nothing varies
            return [sample.missing("somers_d", sample.flaw)]
        value = float(somersd(sample.x, sample.cohort.y).statistic)
        reason = "no interval and no test"
        return [Estimate("somers_d", "", "", sample.n, n_pairs(sample.n), value, reason=reason)]

``sample.x`` [n] is the measure, ``sample.cohort.y`` [n] the target, ``sample.cohort.units`` [n] the training run of
each model and ``sample.cohort.drawn`` the models in every bootstrap draw; ``overall.bootstrapped`` makes the row of a
statistic from its draws. Seeds of random numbers come from ``sample.cohort.draws.stream(name)``. A missing number is
NaN and has a reason. The rows stand in correlations.csv behind those that the contract names.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.core.origins import origin_of
from measurebench.core.plugins import load_entry_points
from measurebench.core.registry import Registry
from measurebench.stats.population.population import Population
from measurebench.stats.population.target_error import TargetError
from measurebench.stats.resampling.draws import Floats
from measurebench.stats.statistics.estimates import Cohort, Estimate, Sample

__all__ = [
    "LAST",
    "Asked",
    "Axes",
    "Question",
    "Rows",
    "Statistic",
    "Table",
    "all_statistics",
    "find_statistic",
    "register_statistic",
    "statistic",
]

Axes = Literal["none", "setting", "control"]
Table = Literal["correlations", "supplement"]
V = TypeVar("V")

LAST = 100
"""The place of a statistic that asks for none: behind all that the contract of correlations.csv names."""


@dataclass(frozen=True)
class Question:
    """What is asked of a population besides its own columns.

    ``controls`` are columns to hold fixed, ``second_targets`` further targets, each [models]; ``error`` is the sampling
    error of the target, ``signs`` the direction that is predicted for a measure, +1 where it is not named.
    """

    controls: Mapping[str, Floats]
    error: TargetError | None
    signs: Mapping[str, int]
    second_targets: Mapping[str, Floats]


class Asked:
    """What a statistic may read besides its sample: the population, the question, and all measures of the cohort."""

    def __init__(self, population: Population, question: Question, samples: list[Sample]) -> None:
        self.population, self.question, self.samples = population, question, samples
        self._shared: dict[Callable[[Asked], Any], Any] = {}
        self._last: tuple[Sample | None, dict[Any, Any]] = (None, {})

    @property
    def cohort(self) -> Cohort:
        """The models on which all these measures have a value."""
        return self.samples[0].cohort

    def shared(self, compute: Callable[["Asked"], V]) -> V:
        """Return ``compute(self)``, computed once for all measures and statistics of this cohort."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        found: V = self._shared[compute]
        return found

    def once(self, sample: Sample, compute: Callable[[Sample, "Asked"], V]) -> V:
        """Return ``compute(sample, self)``, computed once for all statistics; kept until another sample comes."""
        if self._last[0] is not sample:
            self._last = (sample, {})
        own = self._last[1]
        if compute not in own:
            own[compute] = compute(sample, self)
        found: V = own[compute]
        return found


class Rows(Protocol):
    """From one measure and what was asked to the rows of a statistic."""

    def __call__(self, sample: Sample, asked: Asked, /) -> list[Estimate]:
        """Return the rows, in the order in which the table shows them."""
        ...


@dataclass(frozen=True)
class Statistic:
    """A statistic of association between a measure and the target, and what it says of itself.

    ``axes`` tells what the column ``axis`` of its rows names: nothing, a setting, or what is held fixed. ``writes``
    names the values of the column ``statistic`` where one computation gives several; by default the name itself.
    p-values are adjusted among those of the same ``family``, by default the statistic's own; those of rows named in
    ``apart`` by themselves, since they restate others. ``place`` orders the rows.
    """

    name: str
    title: str
    explanation: str
    rows: Rows
    axes: Axes = "none"
    table: Table = "correlations"
    writes: tuple[str, ...] = ()
    family: str = ""
    place: int = LAST
    apart: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What its rows are called in the column ``statistic``."""
        return self.writes or (self.name,)

    def __call__(self, sample: Sample, asked: Asked) -> list[Estimate]:
        """Return the rows of one measure.

        Raises BadInputError, which names the statistic, for what is not a list of estimates, for a row of another name
        or without value and reason, and where third-party code raises.
        """
        rows = self._rows(sample, asked)
        for row in rows:
            if row.statistic not in self.names:
                names = ", ".join(map(repr, self.names))
                raise BadInputError(f"statistic {self.name!r} writes {names}, but made a row of {row.statistic!r}")
            if row.estimate != row.estimate and not row.reason:
                raise BadInputError(f"statistic {self.name!r} has no value for {sample.name!r} and does not say why")
        return rows

    def _rows(self, sample: Sample, asked: Asked) -> list[Estimate]:
        """Return what the function gives, if it is a list of estimates."""
        subject, expected = f"statistic {self.name!r} of {sample.name!r}", "a list of Estimate"
        try:
            rows = self.rows(sample, asked)
        except Exception as error:
            if isinstance(error, MeasurebenchError) or origin_of(self.rows).is_built_in:
                raise
            raise BadInputError(subject, expected, f"{type(error).__name__}: {error}") from error
        if not isinstance(rows, list) or not all(isinstance(row, Estimate) for row in rows):
            raise BadInputError(subject, expected, repr(rows))
        return rows


_STATISTICS: Registry[Statistic] = Registry("statistic")


def register_statistic(found: Statistic) -> Statistic:
    """Register a statistic, so that every analysis from now on computes it; return it.

    Raises BadInputError where its name, or that of its rows, is taken.
    """
    origin = origin_of(found.rows)
    for other in (item for _, item in _STATISTICS.items()):
        same = (other.table, other.axes) == (found.table, found.axes)
        if same and (taken := set(other.names) & set(found.names)):
            by = f"statistic {other.name!r} of {_STATISTICS.origin(other.name)} and {found.name!r} of {origin}"
            raise BadInputError(f"rows called {min(taken)!r} are made twice: by {by}", hint="rename one of them")
    _STATISTICS.add(found.name, found, origin)
    return found


def statistic(
    name: str,
    *,
    title: str,
    explanation: str,
    axes: Axes = "none",
    table: Table = "correlations",
    writes: tuple[str, ...] = (),
    family: str = "",
    place: int = LAST,
    apart: tuple[str, ...] = (),
) -> Callable[[Rows], Rows]:
    """Register the decorated function as a statistic of this name; the fields are those of ``Statistic``."""

    def add(rows: Rows) -> Rows:
        register_statistic(Statistic(name, title, explanation, rows, axes, table, writes, family, place, apart))
        return rows

    return add


def all_statistics() -> Registry[Statistic]:
    """Return every statistic by name: those of the project, and those of third-party packages."""
    _import_modules()
    load_entry_points("statistics", _STATISTICS, lambda found: str(found.name))
    return _STATISTICS


@cache
def _import_modules() -> None:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], f"{__package__}."):
        importlib.import_module(module.name)


def find_statistic(name: str) -> Statistic:
    """Return the statistic of this name, or the one that writes rows of this name.

    Raises BadInputError, with near names, for a name that nothing has.
    """
    known = all_statistics()
    if name in known:
        return known[name]
    return next((item for _, item in known.items() if name in item.names), None) or known[name]
