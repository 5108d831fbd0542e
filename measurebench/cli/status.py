"""``measurebench status``: shows what is done, missing and failed in results folders, while a run goes on or after it."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.cli.printing import say_json, say_lines, shown_again
from measurebench.cli.progress import duration
from measurebench.core.errors import BadInputError

if TYPE_CHECKING:
    from measurebench.store.folder import ResultsFolder
    from measurebench.store.gpu_uses import GpuUse
    from measurebench.store.run_progress import RunProgress
    from measurebench.store.status import ModelStatus

__all__ = ["status"]

_SHOWN = 6
_GIB = 2**30
_LONGEST_WAIT = 86_400  # seconds; the system's clock takes no infinite wait


def status(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Results folders, such as shards of a study.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list with an object for each model, with --summary for each folder.")
    ] = False,
    summary: Annotated[
        bool, typer.Option("--summary", help="Show how far each folder is, without its models.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the summary again and again until all is measured, or Ctrl-C.")
    ] = False,
    every: Annotated[float, typer.Option(metavar="S", help="Seconds between two looks of --watch.")] = 5.0,
) -> int:
    """Show how far the run on a folder is, and for each model what is measured, undefined, missing and failed.

    What is to be done is what the last run command asked for: its models, measures and splits. The time left is
    estimated from the pace of this run so far. The command can be used while the run goes on. Exit status: 0, or 1 if
    something failed.
    """
    from measurebench.store.folder import ResultsFolder

    opened = [ResultsFolder.open(folder) for folder in folders]
    if watch:
        return _watch(opened, every, as_json)
    found = [_look(folder) for folder in opened]
    if as_json:
        say_json(_objects(found, summary))
    else:
        for look in found:
            _print(look, summary)
    return max(look.exit_status for look in found)


class _Look:
    """What a folder holds at one moment."""

    def __init__(
        self,
        path: Path,
        models: "Sequence[ModelStatus]",
        progress: "RunProgress | None",
        costs: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        from measurebench.store.gpu_uses import gpu_uses
        from measurebench.store.predictions import predictions

        self.path, self.models, self.progress = path, models, progress
        self.predictions = predictions(costs)
        runs = progress is not None and not progress.is_finished
        self.gpus = gpu_uses(costs, progress.began) if progress is not None and runs else []

    @property
    def exit_status(self) -> int:
        return 1 if any(model.failed for model in self.models) else 0

    def lines(self) -> list[str]:
        """Return the summary: models, values and failures, how much of the plan, predictions, and GPUs in use."""
        n_models, n_rows = len({model.id for model in self.models}), len(self.models)
        rows = f" in {n_rows} configurations" if n_models < n_rows else ""
        n_failed = sum(len(model.failed) for model in self.models)
        failed = f", {n_failed} failed" if n_failed else ""
        values = sum(model.measured for model in self.models)
        lines = [f"{self.path}: {n_models} models{rows}, {values} values{failed}"]
        told = [*_plan_lines(self.progress), *([str(self.predictions)] if self.predictions else [])]
        return [*lines, *(f"  {line}" for line in (*told, *map(_gpu_line, self.gpus)))]

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        counts = {name: sum(len(getattr(model, name)) for model in self.models) for name in ("failed", "undefined")}
        counts |= {"models": len({m.id for m in self.models}), "measured": sum(m.measured for m in self.models)}
        found: dict[str, Any] = {"folder": str(self.path), **counts}
        found |= {"plan": self.progress.to_json() if self.progress else None}
        found |= {"predictions": self.predictions.to_json() if self.predictions else None}
        return found | {"gpus": [use.to_json() for use in self.gpus]}


def _look(folder: "ResultsFolder") -> _Look:
    from measurebench.store.costs import latest_costs
    from measurebench.store.run_progress import read_progress
    from measurebench.store.status import read_status

    return _Look(folder.path, read_status(folder), read_progress(folder), latest_costs(folder))


def _gpu_line(use: "GpuUse") -> str:
    """Return in a line how a GPU was used when a block on it had ended."""
    from measurebench.store.run_progress import seconds_since

    busy = "" if use.utilization is None else f", {use.utilization:.0f} % busy"
    ago = seconds_since(use.time)
    when = "" if ago is None else f", {duration(ago)} ago"
    memory = f"{use.used_bytes / _GIB:.1f} of {use.total_bytes / _GIB:.1f} GiB in use"
    return f"GPU {use.host} {use.device} ({use.name}): {memory}{busy}{when}"


def _plan_lines(progress: "RunProgress | None") -> list[str]:
    """Return how much of a plan is done, and which of its models were not begun."""
    if progress is None:
        return []
    from measurebench.store.run_progress import seconds_since

    lost = f", {progress.n_lost} lost with models that cannot be loaded" if progress.n_lost else ""
    words = f"plan: {progress.n_models} models, {progress.n_done} of {progress.n_values} values on record{lost}"
    if progress.is_finished:
        return [f"{words}: finished"]
    left = "time left not known yet"
    if progress.seconds_left is not None:
        left = f"about {duration(progress.seconds_left)} left"
    ago = seconds_since(progress.last)
    last = f", last value {duration(ago)} ago" if ago is not None else ""
    lines = [f"{words}: {progress.percentage:.1f} %, {left}{last}"]
    if progress.n_waiting:
        more = f" and {progress.n_waiting - _SHOWN} more" if progress.n_waiting > _SHOWN else ""
        lines.append(f"not begun: {', '.join(progress.waiting[:_SHOWN])}{more}")
    return lines


def _watch(folders: "Sequence[ResultsFolder]", every: float, as_json: bool) -> int:
    """Show the summaries until nothing is left to measure; not as JSON, which is one object."""
    if as_json:
        raise BadInputError("--json", "no --watch beside it", "both", "run status --summary --json again and again")
    if not 0 < every <= _LONGEST_WAIT:
        raise BadInputError("--every", f"a number of seconds above 0, at most {_LONGEST_WAIT}", repr(every))
    with shown_again() as show:
        while True:
            found = [_look(folder) for folder in folders]
            for look in found:
                if look.progress is None:
                    hint = "begin with `measurebench run`"
                    raise BadInputError(str(look.path), "a folder with the plan of a run", "one without", hint)
            show([line for look in found for line in look.lines()])
            if all(look.progress is not None and look.progress.is_finished for look in found):
                return max(look.exit_status for look in found)
            time.sleep(every)


def _objects(found: Sequence[_Look], summary: bool) -> list[dict[str, Any]]:
    """Return what --json prints; models of several folders say which one is theirs."""
    if summary:
        return [look.to_json() for look in found]
    several = len(found) > 1
    return [
        model.to_json() | ({"folder": str(look.path)} if several else {}) for look in found for model in look.models
    ]


def _print(look: _Look, summary: bool) -> None:
    say_lines(look.lines())
    if not summary:
        say_lines(_model_lines(look.models))


def _model_lines(models: "Sequence[ModelStatus]") -> Iterator[str]:
    """Yield what is to be told of each model."""
    times = Counter(model.id for model in models)
    alike = Counter((model.id, model.threat) for model in models)
    for model in models:
        known = [model.threat] if times[model.id] > 1 else []
        known += [f"configuration {model.config_digest}"] if alike[model.id, model.threat] > 1 else []
        counts = {"undefined": len(model.undefined), "missing": len(model.missing), "failed": len(model.failed)}
        parts = [f"{model.measured} measured", *(f"{n} {word}" for word, n in counts.items() if n)]
        told = f" ({', '.join(known)})" if known else ""
        yield f"  {model.id}{told}: {', '.join(parts)}"
        for kind, items in (("failed", model.failed), ("undefined", model.undefined)):
            for item in items:
                yield f"    {kind} {item.measure} {item.split}: {item.reason}"
        for value in model.flagged:
            yield f"    flagged {value.measure} {value.split}: {value.flags}"
        if model.missing:
            shown = [f"{measure} ({split})" for measure, split in model.missing[:_SHOWN]]
            more = [f"and {len(model.missing) - _SHOWN} more"] if len(model.missing) > _SHOWN else []
            yield f"    missing {', '.join([*shown, *more])}"
