"""``measurebench submit``: submits a run to a cluster as a job array."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.cli.declared import takes
from measurebench.cli.printing import say
from measurebench.core.errors import BadInputError
from measurebench.core.option_fields import options_of
from measurebench.engine.options import RunOptions

if TYPE_CHECKING:
    from measurebench.engine.submission import Submitted, System

__all__ = ["submit"]

# What divides the work among machines is the array's own business here.
_OWN = ("measure_settings", "shard", "shared", "executor", "address", "gpus_per_worker")
_NAMES = [name for name in options_of(RunOptions) if name not in _OWN]


def _with_job_options(command: Any) -> Any:
    from measurebench.engine.submission import JobOptions

    return takes(*options_of(JobOptions), of=JobOptions)(command)


@_with_job_options
@takes(*_NAMES, dataset="required, here or in --config")
def submit(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL", help="digits:*, robustbench:Linf/ID, a manifest, DIR#ID, or a checkpoint."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Results folder, on storage that all nodes share.")],
    slurm: Annotated[bool, typer.Option("--slurm", help="Submit to Slurm.")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Run the jobs as processes of this machine, to try out what Slurm would do.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file that sets options of the run, as for `measurebench run`."),
    ] = None,
    **given: Any,
) -> int:
    """Submit a run as a job array. The jobs share the work and the results folder.

    Name --slurm or --local. A job that is preempted or reaches its time limit is put back into the queue and goes on
    where it stopped. The options from --dataset to --retry-failed are those of `measurebench run`, those from --jobs on
    are those of the jobs. Exit status: 0 if the jobs are queued, 2 for bad input; with --local that of the run, for
    whose end the command waits.
    """
    from measurebench.engine.config_file import read_config
    from measurebench.engine.submission import JobOptions
    from measurebench.engine.submission import submit as submit_run

    system = _system(slurm, local)
    job = JobOptions(**{name: given.pop(name) for name in options_of(JobOptions) if name in given})
    in_file = {} if config is None else read_config(config, overridden=given, trust_code=given.get("trust_code", False))
    options = in_file | given
    submitted = submit_run(models, _dataset(options), out, options, job, system)
    _tell(submitted)
    return 0 if slurm else submitted.wait()


def _system(slurm: bool, local: bool) -> "System":
    """Return where to submit to; raises BadInputError unless exactly one is named."""
    if slurm == local:
        raise BadInputError("submit", "--slurm or --local", "both" if slurm else "neither")
    return "slurm" if slurm else "local"


def _dataset(options: dict[str, Any]) -> str:
    """Take the data set out of the options; raises BadInputError where it is not among them."""
    if (dataset := options.pop("dataset", None)) is None:
        raise BadInputError("--dataset", options_of(RunOptions)["dataset"].kind.expected, "none")
    return str(dataset)


def _tell(submitted: "Submitted") -> None:
    """Print what was queued and how to watch it."""
    n, first = len(submitted.jobs), submitted.jobs[0]
    say(f"submitted {n} job{'s' if n > 1 else ''}: {first}{f' to {submitted.jobs[-1]}' if n > 1 else ''}")
    say(f"logs: {submitted.logs}")
    say(f"results: {submitted.out}; measurebench status shows how far they are")
