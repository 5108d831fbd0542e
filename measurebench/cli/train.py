"""``measurebench train``: one model by its settings, or a grid of them."""

import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.core.errors import BadInputError, near_names

if TYPE_CHECKING:
    from measurebench.training.fleet import RunOutcome
    from measurebench.training.grid import PlannedRun

_ONE = "One model"
_MANY = "Many models"
# Options of the command that are settings of a run, by the same name.
_SETTINGS = (
    *("architecture", "defense", "beta", "steps", "norm", "radius", "awp", "awp_size", "epochs", "batch_size"),
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
    awp_size: Annotated[
        float | None, typer.Option(help="Its size relative to the weights.", rich_help_panel=_ONE)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs.", rich_help_panel=_ONE)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per update.", rich_help_panel=_ONE)] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Learning rate at the start.", rich_help_panel=_ONE)
    ] = None,
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
    checkpoint: Annotated[str, typer.Option(help="What to keep: last, best or both.", rich_help_panel=_ONE)] = "both",
) -> None:
    """Train one robust model by its settings, or every model of a grid file.

    Initial, last and best checkpoint (by PGD accuracy on validation images, never test images), curves and a manifest
    go to --out; started again after a kill, the same command goes on where it stopped.

    measurebench train --dataset cifar10 --architecture resnet-18 --defense TRADES --beta 6 --awp layerwise --out trades
    """
    values = dict(locals())
    given = {name: values[name] for name in _SETTINGS if values[name] is not None}
    runs = _chosen(_runs(grid, given, dataset, extra_data is not None, checkpoint), only or [], shard)
    if plan:
        _print_plan(runs)
        return
    extra_file = None if extra_data in (None, "own") else extra_data
    if _train(runs, (dataset, data_dir, extra_file), out, _workers(workers, len(runs)), _device(device)):
        raise typer.Exit(1)


def _train(
    runs: "list[PlannedRun]", source: tuple[str, str | None, str | None], out: Path, workers: int, device: str
) -> bool:
    """Train the runs and tell how they ended; returns whether any failed."""
    from measurebench.training.fleet import Source, train_all

    watcher = _Watcher(len(runs))
    outcomes = train_all(
        runs, Source(*source), out, workers=workers, device=device, on_run=watcher.run_ended,
        on_epoch=watcher.epoch_ended if len(runs) == 1 else None,
    )  # fmt: skip
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        typer.echo(f"failed: {outcome.name}: {outcome.reason}", err=True)
    trained = f"{len(outcomes) - len(failed)} of {len(outcomes)} runs trained"
    typer.echo(f"{trained}; `measurebench run {out} --dataset {source[0]}` measures them")
    return bool(failed)


def _runs(grid: Path | None, given: dict[str, Any], dataset: str, extra: bool, checkpoint: str) -> "list[PlannedRun]":
    """Return the runs of the grid file, or the one run that the settings mean."""
    from measurebench.training.config import USUAL_BETA
    from measurebench.training.grid import expand, read_grid

    if grid is not None:
        if given:
            name = next(iter(given)).replace("_", "-")
            raise BadInputError("--grid", "settings in the grid file alone", f"--{name} besides")
        return read_grid(grid, dataset)
    if "defense" not in given:
        raise BadInputError("measurebench train", "--defense (Standard, AT, TRADES or MART) or --grid FILE", "neither")
    run = {"beta": USUAL_BETA.get(given["defense"]), "optimizer": "AWP" if "awp" in given else "SGD"} | given
    run = {name: value for name, value in run.items() if value is not None} | {"extra_data": extra}
    kept = ["last", "best"] if checkpoint == "both" else [checkpoint]
    return expand({"runs": [run | {"checkpoint": kept}]}, dataset, "measurebench train")


def _chosen(runs: "list[PlannedRun]", only: Sequence[str], shard: str | None) -> "list[PlannedRun]":
    """Return the runs that patterns and shard leave."""
    for pattern in only:
        if not any(fnmatchcase(run.name, pattern) for run in runs):
            raise BadInputError(
                "--only", "a run of the grid", repr(pattern), near_names(pattern, [r.name for r in runs])
            )
    if only:
        runs = [run for run in runs if any(fnmatchcase(run.name, pattern) for pattern in only)]
    if shard is None:
        return runs
    first, _, count = shard.partition("/")
    if not (first.isdigit() and count.isdigit() and 1 <= int(first) <= int(count)):
        raise BadInputError("--shard", "I/N with I from 1 to N, such as 1/4", repr(shard))
    return runs[int(first) - 1 :: int(count)]


def _print_plan(runs: "Sequence[PlannedRun]") -> None:
    """List the runs and count their checkpoints."""
    for run in runs:
        typer.echo(f"{run.name}  {' '.join(run.checkpoints)}")
    typer.echo(f"{len(runs)} runs, {sum(len(run.checkpoints) for run in runs)} checkpoints")


def _workers(workers: str, n_runs: int) -> int:
    """Return how many processes train."""
    from measurebench.training.fleet import automatic_workers

    if workers == "auto":
        return min(automatic_workers(), n_runs)
    if not workers.isdigit() or int(workers) < 1:
        raise BadInputError("--workers", "auto or a whole number above 0", repr(workers))
    return int(workers)


def _device(device: str) -> str:
    """Return ``cpu`` or ``cuda:i``."""
    import torch

    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if device != "cpu" and (kind != "cuda" or (number and not number.isdigit())):
        raise BadInputError("--device", "auto, cpu, cuda or cuda:i", repr(device))
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise BadInputError(
            "--device", "a CUDA device of this machine", f"{device!r}; it has {torch.cuda.device_count()}"
        )
    return device


class _Watcher:
    """Progress with the time left, on stderr, where that is a terminal."""

    def __init__(self, n_runs: int) -> None:
        self.started, self.n_here, self.n_runs = time.monotonic(), 0, n_runs
        self.visible = sys.stderr.isatty()

    def run_ended(self, outcome: "RunOutcome", n_ended: int, n_runs: int) -> None:
        """Say which run ended and how long the rest will take at this pace."""
        self.n_here += 1
        left = (time.monotonic() - self.started) / self.n_here * (n_runs - n_ended)
        if self.visible:
            line = f"{n_ended}/{n_runs} {outcome.name}: {outcome.status} after {outcome.seconds:.0f} s"
            typer.echo(f"{line}, about {left / 60:.0f} min left", err=True)

    def epoch_ended(self, epoch: int, epochs: int) -> None:
        """Say which epoch ended."""
        if self.visible:
            left = (time.monotonic() - self.started) / epoch * (epochs - epoch)
            typer.echo(f"\repoch {epoch}/{epochs}, about {left:.0f} s left ", nl=epoch == epochs, err=True)
