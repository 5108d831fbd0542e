"""``measurebench train``: one model by its settings, or a grid of them."""

import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.cli.parse import auto_or_number, part
from measurebench.cli.progress import QUIET_SECONDS, duration
from measurebench.core.errors import BadInputError, near_names

if TYPE_CHECKING:
    from measurebench.training.fleet import RunOutcome
    from measurebench.training.grid import PlannedRun
    from measurebench.training.trainer import Progress

__all__ = ["train"]

_ONE = "One model"
_MANY = "Many models"
# Options of the command that are settings of a run, by the same name.
_SETTINGS = (
    *(
        "architecture",
        "defense",
        "beta",
        "steps",
        "norm",
        "radius",
        "awp",
        "awp_size",
        "awp_warmup",
        "epochs",
        "batch_size",
    ),
    *("learning_rate", "schedule", "weight_decay", "clip_norm", "augmentation", "normalization", "precision", "seed"),
)


def train(
    out: Annotated[Path, typer.Option(help="Folder for weights, curves and models.toml; `run` takes it as it is.")],
    dataset: Annotated[str, typer.Option(help="digits, cifar10, cifar100 or arrays:FILE.npz.")] = "digits",
    data_dir: Annotated[str | None, typer.Option(help="Where the dataset lies.")] = None,
    extra_data: Annotated[str | None, typer.Option(help="Extra training images: `own`, or an .npz file.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:i; auto takes a GPU where there is one.")] = "auto",
    grid: Annotated[
        Path | None, typer.Option(help="Grid file: settings, axes, runs and rules.", rich_help_panel=_MANY)
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Runs of the grid by name or pattern.", rich_help_panel=_MANY)
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="I/N: every N-th run, from the I-th.", rich_help_panel=_MANY)
    ] = None,
    workers: Annotated[str, typer.Option(help="Runs side by side: auto or a number.", rich_help_panel=_MANY)] = "auto",
    plan: Annotated[bool, typer.Option("--plan", help="List the runs and stop.", rich_help_panel=_MANY)] = False,
    architecture: Annotated[
        str | None, typer.Option(help="Built-in name, module:callable or file.py:callable.", rich_help_panel=_ONE)
    ] = None,
    defense: Annotated[str | None, typer.Option(help="Standard, AT, TRADES or MART.", rich_help_panel=_ONE)] = None,
    beta: Annotated[
        float | None, typer.Option(help="Weight of TRADES (usual: 6) or MART (5).", rich_help_panel=_ONE)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the inner maximisation.", rich_help_panel=_ONE)] = None,
    norm: Annotated[str | None, typer.Option(help="Linf or L2.", rich_help_panel=_ONE)] = None,
    radius: Annotated[str | None, typer.Option(help="Perturbation limit, such as 8/255.", rich_help_panel=_ONE)] = None,
    awp: Annotated[
        str | None, typer.Option(help="Adversarial weight perturbation: layerwise or global.", rich_help_panel=_ONE)
    ] = None,
    awp_size: Annotated[float | None, typer.Option(help="Its size, relative to weights.", rich_help_panel=_ONE)] = None,
    awp_warmup: Annotated[int | None, typer.Option(help="Epochs before it sets in.", rich_help_panel=_ONE)] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs.", rich_help_panel=_ONE)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per update.", rich_help_panel=_ONE)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Initial rate.", rich_help_panel=_ONE)] = None,
    schedule: Annotated[str | None, typer.Option(help="steps, cosine or constant.", rich_help_panel=_ONE)] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay.", rich_help_panel=_ONE)] = None,
    clip_norm: Annotated[
        float | None, typer.Option(help="Largest L2 norm of a gradient.", rich_help_panel=_ONE)
    ] = None,
    augmentation: Annotated[bool | None, typer.Option(help="Shifts, or crops and flips.", rich_help_panel=_ONE)] = None,
    normalization: Annotated[str | None, typer.Option(help="none, cifar10 or imagenet.", rich_help_panel=_ONE)] = None,
    precision: Annotated[
        str | None, typer.Option(help="exact, or mixed (bfloat16 on a GPU).", rich_help_panel=_ONE)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and noise.", rich_help_panel=_ONE)] = None,
    checkpoint: Annotated[str | None, typer.Option(help="last, best or both (default).", rich_help_panel=_ONE)] = None,
) -> None:
    """Train one robust model by its settings, or every model of a grid file.

    Initial, last and best checkpoint (by PGD accuracy on validation images, never test images), curves and a manifest
    go to --out; started again after a kill, the same command goes on where it stopped.

    measurebench train --dataset cifar10 --architecture resnet-18 --defense TRADES --beta 6 --awp layerwise --out trades
    """
    values = dict(locals())
    given = {name: values[name] for name in _SETTINGS if values[name] is not None}
    runs = _chosen(_runs(grid, given, dataset, extra_data is not None, checkpoint), only or [])
    runs = part(runs, shard) if shard else runs
    if plan:
        _print_plan(runs)
        return
    extra_file = None if extra_data in (None, "own") else extra_data
    if _train(runs, (dataset, data_dir, extra_file), out, workers, device):
        raise typer.Exit(1)


def _train(
    runs: "list[PlannedRun]", source: tuple[str, str | None, str | None], out: Path, workers: str, device: str
) -> bool:
    """Train the runs and tell how they ended; returns whether any failed."""
    from measurebench.compute.devices import choose_device, n_workers
    from measurebench.training.fleet import Source, train_all

    choose_device(device)
    watcher, processes = _Watcher(), n_workers(auto_or_number(workers, "--workers"), device, len(runs))
    outcomes = train_all(
        runs,
        Source(*source),
        out,
        workers=processes,
        device=device,
        on_run=watcher.run_ended if len(runs) > 1 else None,
        on_epoch=watcher.epoch_ended if len(runs) == 1 else None,
    )
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        typer.echo(f"failed: {outcome.name}: {outcome.reason}", err=True)
    trained = f"{len(outcomes) - len(failed)} of {len(outcomes)} runs trained"
    typer.echo(f"{trained}; `measurebench run {out} --dataset {source[0]}` measures them")
    return bool(failed)


def _runs(
    grid: Path | None, given: dict[str, Any], dataset: str, extra: bool, checkpoint: str | None
) -> "list[PlannedRun]":
    """Return the runs of the grid file, or the one run that the settings mean."""
    from measurebench.training.config import USUAL_BETA
    from measurebench.training.grid import expand, read_grid

    if grid is not None:
        if given or checkpoint:
            name = next(iter(given), "checkpoint").replace("_", "-")
            raise BadInputError("--grid", "settings in the grid file alone", f"--{name} besides")
        return read_grid(grid, dataset)
    if "defense" not in given:
        raise BadInputError("measurebench train", "--defense (Standard, AT, TRADES or MART) or --grid FILE", "neither")
    for name in ("awp_size", "awp_warmup"):
        if name in given and "awp" not in given:
            raise BadInputError(f"--{name.replace('_', '-')}", "--awp layerwise or --awp global beside it", "no --awp")
    run = {"beta": USUAL_BETA.get(given["defense"]), "optimizer": "AWP" if "awp" in given else "SGD"} | given
    run = {name: value for name, value in run.items() if value is not None} | {"extra_data": extra}
    kept = ["last", "best"] if checkpoint in (None, "both") else [checkpoint]
    return expand({"runs": [run | {"checkpoint": kept}]}, dataset, "measurebench train")


def _chosen(runs: "list[PlannedRun]", only: Sequence[str]) -> "list[PlannedRun]":
    """Return the runs that the patterns leave; all of them without patterns."""
    for pattern in only:
        if not any(fnmatchcase(run.name, pattern) for run in runs):
            raise BadInputError(
                "--only", "a run of the grid", repr(pattern), near_names(pattern, [r.name for r in runs])
            )
    return [run for run in runs if not only or any(fnmatchcase(run.name, pattern) for pattern in only)]


def _print_plan(runs: "Sequence[PlannedRun]") -> None:
    """List the runs and count their checkpoints."""
    for run in runs:
        typer.echo(f"{run.name}  {' '.join(run.checkpoints)}")
    typer.echo(f"{len(runs)} runs, {sum(len(run.checkpoints) for run in runs)} checkpoints")


class _Watcher:
    """Progress with the time left, on stderr: a line per run of a grid, or per epoch of a single run.

    Where that is no terminal, a training of less than ``QUIET_SECONDS`` says nothing.
    """

    def __init__(self) -> None:
        self.started, self.n_here = time.monotonic(), 0

    def run_ended(self, outcome: "RunOutcome", n_ended: int, n_runs: int) -> None:
        """Say which run ended and how long the rest will take at this pace."""
        line = f"{n_ended}/{n_runs} {outcome.name}: {outcome.status} after {outcome.seconds:.0f} s"
        self._say(line, n_runs - n_ended)

    def epoch_ended(self, progress: "Progress", epochs: int) -> None:
        """Say which epoch ended, what it reached where that was measured, and how long the rest will take."""
        line, last = f"epoch {progress.epoch}/{epochs}", progress.curves[-1] if progress.curves else None
        if last and last["epoch"] == progress.epoch:
            line += f": loss {last['loss']:.3f}, validation accuracy {last['validation_clean_accuracy']:.3f} clean"
            line += f" and {last['validation_pgd_accuracy']:.3f} under PGD"
        self._say(line, epochs - progress.epoch)

    def _say(self, line: str, n_more: int) -> None:
        """Write a line with how long ``n_more`` steps will take, as those that ended here did."""
        self.n_here += 1
        elapsed = time.monotonic() - self.started
        if sys.stderr.isatty() or elapsed >= QUIET_SECONDS:
            typer.echo(f"{line}, about {duration(elapsed / self.n_here * n_more)} left", err=True)
