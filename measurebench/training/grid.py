"""Grids of training runs: a TOML file names settings, axes and rules, and this module lists every run it means.

[settings]                      # of every run
epochs = 60
[axes]                          # every combination is a run, but ``checkpoint`` only names what is kept
defense = ["Standard", "AT"]
steps = [1, 10]
checkpoint = ["last", "best"]
[[runs]]                        # in place of [axes] or beside it: one run, or a small grid where values are lists
defense = "TRADES"
seed = [0, 1]
[[rules]]                       # applied in order to the runs that agree with ``when``
when = { defense = "Standard" }
drop = ["steps"]                # this axis does not apply: equal runs become one
set = { epochs = 30 }           # or change settings; ``skip = true`` leaves the runs out
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.limits import GRID_RUNS, TEXT_BYTES
from measurebench.core.reading import parse_toml
from measurebench.core.trust import NamedCode, demand_word
from measurebench.training.training_config import TrainingConfig, recipe

__all__ = ["Checkpoint", "PlannedTraining", "expand", "read_grid", "training_name"]

Checkpoint = Literal["last", "best"]
_TABLES = ("dataset", "settings", "axes", "runs", "rules")
_RULE_KEYS = ("when", "drop", "set", "skip")
# In the names of runs these stand for themselves or are shown in a short form of their own.
_NAMED = ("architecture", "defense", "steps", "optimizer", "batch_size", "augmentation", "extra_data")


@dataclass(frozen=True)
class PlannedTraining:
    """One training run: its name, its settings, the checkpoints to keep, and the axes that told it apart."""

    name: str
    config: TrainingConfig
    checkpoints: tuple[Checkpoint, ...]
    axes: tuple[str, ...] = ()


def read_grid(path: Path, dataset: str, *, trust_code: bool = False) -> list[PlannedTraining]:
    """Return the runs of a grid file for a dataset, in the file's order, each once.

    ``trust_code`` is the user's leave to run code that the file names (``core.trust``). Raises BadInputError naming the
    file and the key, with near names where one is misspelt.
    """
    runs = expand(parse_toml(path, TEXT_BYTES, "a grid file"), dataset, str(path))
    named = {run.config.architecture: run for run in runs if ":" in run.config.architecture}
    calls = [f"{name}({_arguments(run.config.architecture_kwargs)})" for name, run in named.items()]
    demand_word([NamedCode(str(path), "architecture", call) for call in calls], trust_code)
    return runs


def _arguments(kwargs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in kwargs.items())


def expand(grid: Mapping[str, Any], dataset: str, where: str) -> list[PlannedTraining]:
    """Return the runs that a grid means, each once.

    Raises BadInputError, which names ``where``, for a grid without runs or with settings that do not fit.
    """
    _check_grid(grid, dataset, where)
    common = recipe(dataset) | grid.get("settings", {})
    blocks = ([grid["axes"]] if "axes" in grid else []) + list(grid.get("runs", []))
    GRID_RUNS.check(sum(map(_n_combinations, blocks)), where)  # before any is made: a short file may mean 10^9
    found: dict[str, PlannedTraining] = {}
    for number, block in enumerate(blocks, 1):
        place = f"{where}: runs, number {number}" if "axes" not in grid or number > 1 else f"{where}: axes"
        axes = tuple(name for name, value in block.items() if _is_axis(name, value) and name != "checkpoint")
        checkpoints = _checkpoints(block.get("checkpoint", common.get("checkpoint", "last")), place)
        for chosen in _combinations(block):
            settings = _ruled(common | chosen, grid.get("rules", []), set(chosen), dataset)
            if settings is not None:
                run = _planned(settings, checkpoints, axes, place)
                _add(found, run, place)
    if not found:
        raise BadInputError(
            where, "at least one run", "none: every run was skipped, or there is no [axes] and no [[runs]]"
        )
    return list(found.values())


def _check_grid(grid: Mapping[str, Any], dataset: str, where: str) -> None:
    """Check tables, setting names everywhere, and that the grid is meant for this dataset."""
    _check_names(grid, _TABLES, f"{where}: a key of the file")
    if grid.get("dataset", dataset) != dataset:
        raise BadInputError(f"{where}: dataset", f"a grid for {dataset}", f"one for {grid['dataset']!r}")
    for table in ("settings", "axes"):
        _check_names(_table(grid.get(table, {}), f"{where}: {table}"), _settings(), f"{where}: {table}")
    for number, block in enumerate(_list(grid.get("runs", []), f"{where}: runs"), 1):
        _check_names(_table(block, f"{where}: runs"), _settings(), f"{where}: runs, number {number}")
    for number, rule in enumerate(_list(grid.get("rules", []), f"{where}: rules"), 1):
        place = f"{where}: rules, number {number}"
        _check_names(_table(rule, place), _RULE_KEYS, place)
        for key in ("when", "set"):
            _check_names(_table(rule.get(key, {}), f"{place}: {key}"), _settings(), f"{place}: {key}")
            if "checkpoint" in rule.get(key, {}):
                hint = "name it in [settings], [axes] or [[runs]]"
                raise BadInputError(
                    f"{place}: {key}", "settings of a run", "'checkpoint', which names what is kept", hint
                )
        dropped = _list(rule.get("drop", []), f"{place}: drop")
        if not all(isinstance(name, str) for name in dropped):
            raise BadInputError(f"{place}: drop", "a list of names", repr(dropped)[:80])
        _check_names(dict.fromkeys(dropped), _settings(), f"{place}: drop")
        if not isinstance(rule.get("skip", False), bool):
            raise BadInputError(f"{place}: skip", "true or false", repr(rule["skip"])[:80])
        if "when" not in rule:
            raise BadInputError(place, "the key 'when'", "a rule without it")


def _settings() -> tuple[str, ...]:
    """Names of all training settings, and of the checkpoint to keep."""
    return (*(f.name for f in fields(TrainingConfig)), "checkpoint")


def _check_names(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in known:
            hint = near_names(str(name), known) or f"known: {', '.join(known)}"
            raise BadInputError(where, "a name that is known here", repr(name), hint)


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadInputError(where, "a table", type(value).__name__)
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadInputError(where, "a list", type(value).__name__)
    return value


def _is_axis(name: str, value: Any) -> bool:
    """A list is an axis, except for settings that are lists themselves."""
    return isinstance(value, list) and (name != "milestones" or any(isinstance(item, list) for item in value))


def _combinations(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every combination of a block's axes; the last axis changes fastest."""
    settings = {name: value for name, value in block.items() if name != "checkpoint"}
    choices = [value if _is_axis(name, value) else [value] for name, value in settings.items()]
    for values in itertools.product(*choices):
        yield dict(zip(settings, values, strict=True))


def _n_combinations(block: Mapping[str, Any]) -> int:
    """Return how many combinations of its axes a block means."""
    return math.prod(len(value) for name, value in block.items() if name != "checkpoint" and _is_axis(name, value))


def _ruled(
    settings: dict[str, Any], rules: list[Mapping[str, Any]], own: set[str], dataset: str
) -> dict[str, Any] | None:
    """Apply the rules in order; a rule never overrides what a run itself says, unless an axis is dropped."""
    for rule in rules:
        if any(settings.get(name) != value for name, value in rule["when"].items()):
            continue
        if rule.get("skip", False):
            return None
        for name in rule.get("drop", []):
            settings.pop(name, None)
            if name in recipe(dataset):
                settings[name] = recipe(dataset)[name]
        settings |= {name: value for name, value in rule.get("set", {}).items() if name not in own}
    return settings


def _checkpoints(value: Any, where: str) -> tuple[Checkpoint, ...]:
    """Return which of a run's checkpoints to keep."""
    names = value if isinstance(value, list) else [value]
    for name in names:
        if name not in get_args(Checkpoint):
            raise BadInputError(f"{where}: checkpoint", "last, best, or both in a list", repr(name))
    return tuple(dict.fromkeys(names))


def _planned(
    settings: dict[str, Any], checkpoints: tuple[Checkpoint, ...], axes: tuple[str, ...], where: str
) -> PlannedTraining:
    """Check a run's settings and name it."""
    settings = {name: value for name, value in settings.items() if name != "checkpoint"}
    config = TrainingConfig.from_mapping(settings, where)
    return PlannedTraining(training_name(config, axes), config, checkpoints, axes)


def _add(found: dict[str, PlannedTraining], run: PlannedTraining, where: str) -> None:
    """List a run once: one that was met before only adds the checkpoints it keeps."""
    before = found.get(run.name)
    if before is None:
        found[run.name] = run
        return
    if before.config != run.config:
        raise BadInputError(where, "runs that differ in what names them", f"two different runs called {run.name!r}")
    checkpoints = tuple(dict.fromkeys(before.checkpoints + run.checkpoints))
    found[run.name] = PlannedTraining(run.name, run.config, checkpoints, before.axes)


def training_name(config: TrainingConfig, axes: tuple[str, ...] = ()) -> str:
    """Return a readable name: ``resnet-trades-10-awp-b64-aug-extra-s0``, and further axes such as ``epochs-60``."""
    parts = [config.architecture.removeprefix("digits-"), config.defense.lower()]
    if config.objective.adversarial:
        parts.append(str(config.steps))
    if config.optimizer == "AWP":
        parts.append("awp" if config.awp == "layerwise" else "gawp")
    elif config.optimizer != "SGD":
        parts.append(config.optimizer.lower())
    parts.append(f"b{config.batch_size}")
    parts += ["aug"] * config.augmentation + ["extra"] * config.extra_data + [f"s{config.seed}"]
    others = (name for name in axes if name not in (*_NAMED, "awp", "seed"))
    parts += [f"{name.replace('_', '-')}-{_plain(getattr(config, name))}" for name in others]
    return "-".join(parts).replace("/", "_").replace(" ", "").replace(":", "_")


def _plain(value: Any) -> str:
    """Write a setting's value inside a name."""
    if isinstance(value, Mapping):
        return "-".join(f"{key}{item}" for key, item in value.items())
    return (
        "x".join(map(str, value))
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
