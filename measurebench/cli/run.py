"""``measurebench run``: measures models on a data set, and resumes where an earlier run stopped."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.cli.declared import takes
from measurebench.cli.printing import say
from measurebench.core.errors import BadInputError
from measurebench.core.option_fields import options_of
from measurebench.engine.options import RunOptions

if TYPE_CHECKING:
    from measurebench.engine.runner import RunSummary

__all__ = ["run"]

# All options but tables of parameters, which have no place on a command line.
_NAMES = [name for name in options_of(RunOptions) if name != "measure_settings"]


@takes(*_NAMES, dataset="required, here or in --config")
def run(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL", help="digits:*, robustbench:Linf/ID, a manifest, DIR#ID, or a checkpoint."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Results folder; one that exists is resumed.")],
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TOML file that sets these options, and parameters of measures in tables [measure.ID]. "
            "An option on the command line goes before the file.",
        ),
    ] = None,
    **given: Any,
) -> int:
    """Measure models: clean, PGD and AutoAttack accuracy, and every measure asked for.

    Each value is written to the results folder as soon as it is measured. After an interruption, run the same command
    again to resume. Exit status: 0 if all is measured, 1 if a model or a measure failed, 2 for bad input.
    """
    from measurebench.cli.progress import terminal_progress
    from measurebench.engine.config_file import read_config
    from measurebench.engine.from_python import run as run_study

    trusted = given.get("trust_code", False)
    in_file = {} if config is None else read_config(config, overridden=given, trust_code=trusted)
    options = _with_dataset(in_file | given)
    with terminal_progress() as progress:
        summary = run_study(models, out=out, progress=progress, **options)
    _tell(summary, bool(options.get("retry_failed")))
    return summary.exit_status


def _with_dataset(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options; ``dataset`` must be among them, from whichever source."""
    if "dataset" not in options:
        raise BadInputError("--dataset", options_of(RunOptions)["dataset"].kind.expected, "none")
    return options


def _tell(summary: "RunSummary", retried: bool) -> None:
    """Print what failed and how much was measured."""
    for model_id, measure, reason in dict.fromkeys(summary.failures):  # a measure may fail alike on both splits
        say(f"measurebench: {model_id}: {measure} failed: {reason}", err=True)
    n_good = summary.n_models - len({model_id for model_id, _, _ in summary.failures})
    again = "; add --retry-failed to measure again what failed" if summary.failures and not retried else ""
    say(
        f"{n_good} of {summary.n_models} models measured: {summary.n_recorded} new records and {summary.n_resumed}"
        f" from earlier runs, in {summary.seconds:.0f} s: {summary.out}{again}"
    )
