"""Submits a run as a job array: several jobs measure one study, each on a machine of its own."""

import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.core.foreign import for_terminal
from measurebench.core.option_fields import option, validate
from measurebench.core.option_kinds import Kind, text, whole
from measurebench.core.processes import end_with

__all__ = ["ArrayJob", "JobOptions", "Submitted", "System", "submit"]

System = Literal["slurm", "local"]

_INTERRUPTED = 130
_GENTLY_SECONDS = 20.0  # submitit asks Slurm for a signal 90 s before the end
_UNITS = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}


def _minutes(value: Any) -> int:
    """Return a time limit in minutes: ``90`` minutes, or a number with a unit, such as ``12h`` or ``2d``."""
    word = str(value).strip()
    number, unit = (word[:-1], word[-1]) if word[-1:] in _UNITS else (word, "m")
    minutes = float(number) * _UNITS[unit]
    if isinstance(value, bool) or not 0 < minutes < 10**6:
        raise ValueError(value)
    return math.ceil(minutes)


_TIME = Kind("minutes, or a number with a unit, such as 12h or 2d", _minutes, "TIME")


@dataclass(frozen=True)
class JobOptions:
    """What is asked of the cluster for each job. Raises BadInputError for a value that an option does not accept.

    >>> JobOptions(time="12h").time
    720
    """

    jobs: int = option(1, whole(1), "Jobs of the array; they share the work among themselves.")
    at_once: int | None = option(None, whole(1), "Jobs that may run at the same time.", note="all")
    time: int = option(
        240,
        _TIME,
        "Time limit of a job, in minutes or such as 12h or 2d; a job that reaches it is put back into the queue.",
    )
    gpus: int = option(1, whole(0), "GPUs of each job; 0 for CPUs alone.")
    cpus: int = option(4, whole(1), "CPU cores of each job.")
    memory: int | None = option(None, whole(1), "Memory of each job in GB.", note="the cluster's own")
    partition: str | None = option(None, text("a partition", "NAME"), "Partition.", note="the cluster's own")
    account: str | None = option(None, text("an account", "NAME"), "Account to charge.", note="your own")

    qos: str | None = option(
        None, text("a quality of service", "NAME"), "Quality of service.", note="the cluster's own"
    )
    constraint: str | None = option(
        None, text("a feature of nodes", "NAME"), "Feature that nodes must have.", note="none"
    )
    requeues: int = option(100, whole(0), "How often a job may reach its time limit before it is given up.")

    def __post_init__(self) -> None:
        validate(self)

    def for_slurm(self) -> dict[str, Any]:
        """Return the options as submitit names them."""
        asked = {
            "slurm_array_parallelism": self.at_once or self.jobs,
            "timeout_min": self.time,
            "gpus_per_node": self.gpus,
            "cpus_per_task": self.cpus,
            "mem_gb": self.memory,
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "slurm_qos": self.qos,
            "slurm_constraint": self.constraint,
        }
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True)
class ArrayJob:
    """One job of the array: measures what no other job has begun, and goes on where it stopped when it is put back.

    ``options`` are those of ``measurebench.run``, as plain values.
    """

    models: Sequence[str]
    dataset: str
    out: str
    options: Mapping[str, Any]

    def __call__(self) -> int:
        """Measure, and return the exit status of ``measurebench run``.

        A process of its own measures. Where the job is preempted, submitit raises SystemExit in this one, at whatever
        place it is; inside a measure that would be taken for a failure of the measure.
        """
        from measurebench.engine.executors.local import without_main

        process = multiprocessing.get_context("spawn").Process(target=_work, args=(self, os.getpid()))
        with without_main():
            process.start()
        try:
            process.join()
        finally:
            _end(process)
        return process.exitcode or 0

    def measure(self) -> int:
        """Measure in this process, and return the exit status of ``measurebench run``."""
        from measurebench.engine.from_python import run

        try:
            return run(list(self.models), self.dataset, self.out, **self.options).exit_status
        except MeasurebenchError as error:
            print(f"measurebench: {for_terminal(str(error))}", file=sys.stderr, flush=True)
            return error.exit_status

    def checkpoint(self) -> Any:
        """Return what submitit runs after a preemption or at the time limit: the same again, since a run resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _work(job: ArrayJob, parent: int) -> None:  # pragma: no cover - runs in a process of its own
    """Measure, until the job is told to end: by Ctrl-C of its parent, which lets it give back what it has claimed."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # Slurm's word for the parent reaches every process of the job
        signal.signal(number, signal.SIG_IGN)
    end_with(parent)
    with suppress(KeyboardInterrupt):
        sys.exit(job.measure())
    sys.exit(_INTERRUPTED)


def _end(process: BaseProcess) -> None:
    """End a process that still measures, gently at first."""
    if process.is_alive() and process.pid:
        os.kill(process.pid, signal.SIGINT)
        process.join(_GENTLY_SECONDS)
    if process.is_alive():
        process.terminate()
        process.join()


@dataclass(frozen=True)
class Submitted:
    """What was submitted: the jobs as submitit has them, the results folder, and the folder of their logs."""

    handles: tuple[Any, ...]
    out: Path
    logs: Path

    @property
    def jobs(self) -> tuple[str, ...]:
        """The ids of the jobs."""
        return tuple(str(handle.job_id) for handle in self.handles)

    def wait(self) -> int:
        """Wait until all jobs are done and return the highest of their exit statuses, 1 for one that was killed."""
        return max(_status(handle) for handle in self.handles)


def submit(
    models: Sequence[str],
    dataset: str,
    out: Path,
    options: Mapping[str, Any],
    job: JobOptions,
    system: System = "slurm",
) -> Submitted:
    """Submit a job array that measures models, and return its ids.

    Everything about the models and the options that can be wrong is found here, before anything is queued. With the
    system ``local`` the jobs are processes of this machine, which try out what would be submitted. Raises
    BadInputError for options that cannot be met, and where submitit or Slurm is not installed.
    """
    from measurebench.engine.from_python import check_run

    check_run(models, dataset, options)
    out = out.absolute()
    item = ArrayJob(tuple(models), dataset, str(out), {**options, "shared": True})
    logs = out.with_name(f"{out.name}-jobs")  # beside the results: a results folder holds nothing else
    executor = _executor(system, logs, job)
    with executor.batch():
        handles = [executor.submit(item) for _ in range(job.jobs)]
    return Submitted(tuple(handles), out, logs)


def _status(handle: Any) -> int:
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return int(handle.result())
    except (FailedJobError, UncompletedJobError):
        return 1


def _executor(system: System, logs: Path, job: JobOptions) -> Any:
    """Return submitit's executor, ready to submit. Raises BadInputError where it or the system is missing."""
    if find_spec("submitit") is None:
        hint = 'install it with: pip install "measurebench[slurm]"'
        raise BadInputError("submit", "the package submitit", "an environment without it", hint)
    import submitit

    executor: Any = {"slurm": submitit.SlurmExecutor, "local": submitit.LocalExecutor}[system]
    if executor.affinity() < 0:
        hint = "call it on a machine from which sbatch and srun can be called, or try it with --local"
        raise BadInputError("--slurm", "a machine of a Slurm cluster", "one without srun", hint)
    made = submitit.AutoExecutor(folder=logs, cluster=system, slurm_max_num_timeout=job.requeues)
    asked = job.for_slurm() if system == "slurm" else {"timeout_min": job.time}
    made.update_parameters(name="measurebench", **asked)
    return made
