"""``measurebench train``: trains one model by its settings, or the models of a grid file."""

import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.cli.declared import ONE_RADIUS, takes
from measurebench.cli.printing import say
from measurebench.cli.progress import QUIET_SECONDS, duration
from measurebench.core.errors import BadInputError, near_names
from measurebench.core.shards import part

if TYPE_CHECKING:
    from measurebench.training.fleet import TrainingOutcome
    from measurebench.training.grid import PlannedTraining
    from measurebench.training.trainer import Progress

__all__ = ["train"]

# Options of the command that are settings of a run, by the same name.
_SETTINGS = (
    *("architecture", "defense", "beta", "steps", "norm", "radius", "optimizer", "awp", "awp_size", "awp_warmup"),
    *("batch_size", "learning_rate", "schedule", "weight_decay", "clip_norm", "augmentation", "normalization"),
    *("rho", "epochs", "precision", "seed"),
)
_RECIPE = "the data set's recipe"


@takes(
    *("dataset", "data_dir", "norm", "radius", "seed", "device", "workers", "shard", "trust_code"),
    shown=ONE_RADIUS,
    dataset="digits",
    norm=_RECIPE,
    radius=_RECIPE,
)
def train(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for weights, curves and models.toml, for `run`.")],
    grid: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Many models: a file with settings, axes, runs and rules.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Runs of the grid, by name or pattern.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="List the runs and stop.")] = False,
    defense: Annotated[str | None, typer.Option(metavar="NAME", help="Standard, AT, TRADES or MART.")] = None,
    architecture: Annotated[
        str | None, typer.Option(metavar="NAME", help="Built-in name, module:callable or file.py:callable.")
    ] = None,
    beta: Annotated[
        float | None, typer.Option(metavar="X", help="Weight of the robust term: usually 6 for TRADES, 5 for MART.")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Steps of the attack in each training step.")] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="SGD, AWP (as --awp layerwise), SAM or ASAM. [default: SGD]")
    ] = None,
    rho: Annotated[float | None, typer.Option(metavar="X", help="Size of SAM (usually 0.05) or ASAM (0.5).")] = None,
    awp: Annotated[
        str | None, typer.Option(metavar="KIND", help="Adversarial weight perturbation: layerwise or global.")
    ] = None,
    awp_size: Annotated[float | None, typer.Option(metavar="X", help="Its size, relative to the weights.")] = None,
    awp_warmup: Annotated[int | None, typer.Option(metavar="N", help="Epochs before it begins.")] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Images in each training step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="X", help="Initial learning rate.")] = None,
    schedule: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the learning rate: steps, cosine, cyclic or constant.")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(metavar="X", help="L2 penalty on the weights.")] = None,
    clip_norm: Annotated[
        float | None, typer.Option(metavar="X", help="Largest L2 norm of the gradient; longer ones are scaled down.")
    ] = None,
    augmentation: Annotated[bool | None, typer.Option(help="Shift images, or crop and flip them.")] = None,
    normalization: Annotated[str | None, typer.Option(metavar="NAME", help="none, cifar10 or imagenet.")] = None,
    precision: Annotated[str | None, typer.Option(metavar="NAME", help="exact, or mixed (bfloat16 on a GPU).")] = None,
    extra_data: Annotated[
        str | None, typer.Option(metavar="own|FILE", help="Extra training images: `own`, or an .npz file.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which to keep: last, best or both. [default: both]")
    ] = None,
    **given: Any,
) -> int:
    """Train one robust model by its settings, or every model of a grid file.

    The initial, the last and the best checkpoint, curves and a manifest are written to --out. The best one has the
    highest PGD accuracy on validation images; test images are never used. After an interruption, run the same command
    again to resume.

    measurebench train --dataset cifar10 --architecture resnet-18 --defense TRADES --beta 6 --awp layerwise --out trades
    """
    values = {**locals(), **given}
    settings = {name: values[name] for name in _SETTINGS if values.get(name) is not None}
    dataset = given.get("dataset", "digits")
    trusted = given.get("trust_code", False)
    planned = _runs(grid, settings, dataset, trusted, extra_data=extra_data is not None, checkpoint=checkpoint)
    runs = _chosen(planned, only or [])
    runs = part(runs, given.get("shard", "1/1"), "--shard")
    if plan:
        _print_plan(runs)
        return 0
    extra_file = None if extra_data in (None, "own") else extra_data
    source = (dataset, str(given["data_dir"]) if "data_dir" in given else None, extra_file)
    return _train(runs, source, out, given)


def _train(
    runs: "list[PlannedTraining]", source: tuple[str, str | None, str | None], out: Path, given: dict[str, Any]
) -> int:
    """Train the runs and print how they ended; return the exit status."""
    from measurebench.training.fleet import Source, train_all

    watcher = _Watcher()
    outcomes = train_all(
        runs,
        Source(*source),
        out,
        workers=given.get("workers", "auto"),
        device=given.get("device", "auto"),
        on_run=watcher.run_ended if len(runs) > 1 else None,
        on_epoch=watcher.epoch_ended if len(runs) == 1 else None,
    )
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        say(f"failed: {outcome.name}: {outcome.reason}", err=True)
    trained = f"{len(outcomes) - len(failed)} of {len(outcomes)} runs trained"
    say(f"{trained}; `measurebench run {out} --dataset {source[0]}` measures them")
    return 1 if failed else 0


def _runs(
    grid: Path | None,
    settings: dict[str, Any],
    dataset: str,
    trust_code: bool,
    *,
    extra_data: bool,
    checkpoint: str | None,
) -> "list[PlannedTraining]":
    """Return the runs of the grid file, or the one run that the settings mean."""
    if grid is None:
        from measurebench.training.single import single_training

        return single_training(settings, dataset, extra_data=extra_data, checkpoint=checkpoint)
    from measurebench.training.grid import read_grid

    if settings or checkpoint:
        name = next(iter(settings), "checkpoint").replace("_", "-")
        raise BadInputError("--grid", "all settings in the grid file", f"--{name} on the command line")
    return read_grid(grid, dataset, trust_code=trust_code)


def _chosen(runs: "list[PlannedTraining]", only: Sequence[str]) -> "list[PlannedTraining]":
    """Return the runs that a pattern names; all of them without patterns."""
    for pattern in only:
        if not any(fnmatchcase(run.name, pattern) for run in runs):
            raise BadInputError(
                "--only", "a run of the grid", repr(pattern), near_names(pattern, [r.name for r in runs])
            )
    return [run for run in runs if not only or any(fnmatchcase(run.name, pattern) for pattern in only)]


def _print_plan(runs: "Sequence[PlannedTraining]") -> None:
    """List the runs and count their checkpoints."""
    for run in runs:
        say(f"{run.name}  {' '.join(run.checkpoints)}")
    say(f"{len(runs)} runs, {sum(len(run.checkpoints) for run in runs)} checkpoints")


class _Watcher:
    """Prints progress with the time left on stderr: a line per run of a grid, or per epoch of a single run.

    Where stderr is not a terminal, a training of less than ``QUIET_SECONDS`` prints nothing.
    """

    def __init__(self) -> None:
        self.started, self.n_here = time.monotonic(), 0

    def run_ended(self, outcome: "TrainingOutcome", n_ended: int, n_runs: int) -> None:
        """Print which run ended and how long the others will take at this pace."""
        line = f"{n_ended}/{n_runs} {outcome.name}: {outcome.status} after {outcome.seconds:.0f} s"
        self._say(line, n_runs - n_ended)

    def epoch_ended(self, progress: "Progress", epochs: int) -> None:
        """Print which epoch ended, its accuracies where they were measured, and how long the others will take."""
        line, last = f"epoch {progress.epoch}/{epochs}", progress.curves[-1] if progress.curves else None
        if last and last["epoch"] == progress.epoch:
            line += f": loss {last['loss']:.3f}, validation accuracy {last['validation_clean_accuracy']:.3f} clean"
            line += f" and {last['validation_pgd_accuracy']:.3f} under PGD"
        self._say(line, epochs - progress.epoch)

    def _say(self, line: str, n_more: int) -> None:
        """Print a line with how long ``n_more`` steps will take if each takes as long as those so far."""
        self.n_here += 1
        elapsed = time.monotonic() - self.started
        if sys.stderr.isatty() or elapsed >= QUIET_SECONDS:
            say(f"{line}, about {duration(elapsed / self.n_here * n_more)} left", err=True)
