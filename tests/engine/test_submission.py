"""Submission of job arrays: what Slurm is asked for, read from a pretended sbatch, and what each job does."""

import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from measurebench import read_records, run
from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.engine.submission import ArrayJob, JobOptions, submit

submitit = pytest.importorskip("submitit", reason="needs the extra slurm")

STUDY: dict[str, Any] = {"measures": "average_ce", "attacks": "pgd", "pgd_steps": 2, "workers": 1}
SBATCH = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/arguments"
cp "$1" "$(dirname "$0")/script"
echo "Submitted batch job 4242"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a pretended Slurm first on PATH; return the folder in which it keeps what it was asked."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": "#!/bin/sh\n", "squeue": "#!/bin/sh\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def asked(slurm: Path) -> set[str]:
    """Return the #SBATCH lines that were submitted."""
    lines = (slurm / "script").read_text().splitlines()
    return {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")}


def values(folder: Path) -> dict[Any, Any]:
    """Return status, value and reason of each record."""
    return {r.key: (r.status, r.value, r.reason) for r in read_records(folder)}


def test_slurm_is_asked_for_an_array_that_comes_back_after_a_signal(slurm: Path, tmp_path: Path) -> None:
    command = ["submit", "digits:*", "--slurm", "--dataset", "digits", "--out", str(tmp_path / "out"), "--jobs", "8"]
    resources = [
        "--at-once",
        "3",
        "--time",
        "12h",
        "--gpus",
        "2",
        "--cpus",
        "6",
        "--memory",
        "40",
        "--partition",
        "gpu",
    ]
    assert run_command_line([*command, *resources, "--account", "lab", "--attacks", "pgd"]) == 0
    lines = asked(slurm)
    assert {"--array=0-7%3", "--time=720", "--gpus-per-node=2", "--cpus-per-task=6", "--mem=40GB"} <= lines
    assert {"--partition=gpu", "--account=lab", "--open-mode=append", "--job-name=measurebench"} <= lines
    (signal,) = (line for line in lines if line.startswith("--signal="))
    assert signal.split("=")[1].partition("@")[0] in ("USR1", "USR2")
    assert len((slurm / "arguments").read_text().splitlines()) == 1


def test_what_is_not_asked_for_is_left_to_the_cluster(slurm: Path, tmp_path: Path) -> None:
    submit(["digits:*"], "digits", tmp_path / "out", STUDY, JobOptions(jobs=2))
    named = {line.partition("=")[0] for line in asked(slurm)}
    assert not named & {"--partition", "--account", "--qos", "--constraint", "--mem"}


def test_all_jobs_share_the_work_and_the_folder(slurm: Path, tmp_path: Path) -> None:
    submitted = submit(["digits:*"], "digits", tmp_path / "out", STUDY, JobOptions(jobs=3))
    assert submitted.jobs == ("4242_0", "4242_1", "4242_2")
    files = sorted(submitted.logs.glob("4242_*_submitted.pkl"))
    jobs = [pickle.loads(file.read_bytes()).function for file in files]
    assert jobs == [ArrayJob(("digits:*",), "digits", str(tmp_path / "out"), STUDY | {"shared": True})] * 3


def test_a_job_measures_what_run_measures(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    dataset, reference = f"arrays:{images_file}", str(manifest)
    run(reference, dataset, tmp_path / "whole", **STUDY)
    job = ArrayJob((reference,), dataset, str(tmp_path / "out"), STUDY | {"shared": True})
    assert job.measure() == 0
    assert values(tmp_path / "out") == values(tmp_path / "whole")
    again = job.checkpoint()
    assert isinstance(again, submitit.helpers.DelayedSubmission)
    assert again.function == job


def test_a_job_that_cannot_begin_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ArrayJob(("digits:no-such-model",), "digits", str(tmp_path / "out"), STUDY).measure() == 2
    assert "no-such-model" in capsys.readouterr().err


# As submitit does: its handler of the signal raises SystemExit wherever the job is.
PREEMPTED = """
import pickle, signal, sys
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(77))
sys.exit(pickle.load(open(sys.argv[1], "rb"))())
"""


@pytest.mark.slow
def test_a_job_that_is_preempted_records_no_failure_and_goes_on(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    dataset, reference, out = f"arrays:{images_file}", str(manifest), tmp_path / "out"
    options = STUDY | {"pgd_steps": 100}
    run(reference, dataset, tmp_path / "whole", **options)
    job = ArrayJob((reference,), dataset, str(out), options | {"shared": True, "trust_code": True})
    (tmp_path / "job.pkl").write_bytes(pickle.dumps(job))
    begun = subprocess.Popen([sys.executable, "-c", PREEMPTED, str(tmp_path / "job.pkl")])
    while not (out / "measurebench.json").is_file() or not read_records(out):
        assert begun.poll() is None
        time.sleep(0.05)
    begun.send_signal(signal.SIGUSR2)
    assert begun.wait(60) == 77
    on_record = values(out)
    assert on_record.items() <= values(tmp_path / "whole").items()
    assert job() == 0
    assert values(out) == values(tmp_path / "whole")


@pytest.mark.slow
def test_jobs_of_this_machine_measure_all_models_among_them(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    dataset = f"arrays:{images_file}"
    options = ["--measures", "average_ce", "--attacks", "none", "--workers", "1", "--trust-code"]
    command = ["submit", str(manifest), "--local", "--jobs", "2", "--dataset", dataset, "--out", str(tmp_path / "out")]
    assert run_command_line([*command, *options]) == 0
    assert sorted({r.model_id for r in read_records(tmp_path / "out")}) == ["net0", "net1", "net2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measures": "no_such_measure"}, "no_such_measure"),
        ({"radius": "large"}, "radius: expected a number"),
        ({"colour": "red"}, "run: colour: expected the name of an option"),
    ],
)
def test_bad_input_is_found_before_anything_is_queued(
    slurm: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        submit(["digits:*"], "digits", tmp_path / "out", STUDY | change, JobOptions())
    with pytest.raises(BadInputError, match="no-such-model"):
        submit(["digits:no-such-model"], "digits", tmp_path / "out", STUDY, JobOptions())
    assert not (slurm / "script").exists()


def test_without_slurm_the_message_says_where_to_call_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInputError, match="--slurm: expected a machine of a Slurm cluster, got one without srun"):
        submit(["digits:*"], "digits", tmp_path / "out", STUDY, JobOptions())


def test_without_submitit_the_message_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("measurebench.engine.submission.find_spec", lambda _name: None)
    with pytest.raises(BadInputError, match=r'pip install "measurebench\[slurm\]"'):
        submit(["digits:*"], "digits", tmp_path / "out", STUDY, JobOptions())


@pytest.mark.parametrize(
    ("given", "minutes"), [("90", 90), (90, 90), ("90m", 90), ("12h", 720), ("2d", 2880), ("90s", 2), ("0.5h", 30)]
)
def test_a_time_limit_is_read_in_minutes_or_with_a_unit(given: str | int, minutes: int) -> None:
    assert JobOptions(time=given).time == minutes  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["0", "-1h", "soon", "", "1e9d", "nan", "inf", True])
def test_a_time_limit_that_is_none_is_refused(given: str | bool) -> None:
    with pytest.raises(BadInputError, match="time: expected minutes, or a number with a unit"):
        JobOptions(time=given)  # type: ignore[arg-type]


@pytest.mark.parametrize("flags", [[], ["--slurm", "--local"]])
def test_the_system_is_named_exactly_once(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["submit", "digits:*", "--dataset", "digits", "--out", "out", *flags]) == 2
    assert "submit: expected --slurm or --local, got" in capsys.readouterr().err
