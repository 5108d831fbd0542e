"""Seconds and memory that results folders of many models take to read; writes results/folders.md.

Run as ``python -m benchmarks.folders``. A folder of 10,000 models with 134 records each is generated (about 0.6 GB,
kept in ``--folder`` for the next time). Then ``status``, ``export`` and the beginning of a resuming ``run`` are timed,
each in a process of its own, from its start. ``--before FILE`` names figures of another version, as printed by
``--json``.
"""

import argparse
import json
import os
import platform
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.machine import processor

RESULT = Path(__file__).parent / "results" / "folders.md"
MODELS, RECORDS = 10_000, 134
SIDE_BY_SIDE = 8  # models whose records alternate in the journal, as those of so many workers do
ZOO = Path(__file__).parents[1] / "data" / "digits" / "weights" / "plain-at-10-b64-s0-last.safetensors"
COMMANDS = ("status", "export", "resume")
GOALS = {"status": 5, "export": 15, "resume": 10}
"""Seconds at 10,000 models; 1 GB of memory each."""


def manifest(folder: Path, n_models: int) -> Path:
    """Write a manifest of so many models, which share one file of weights."""
    shutil.copy(ZOO, folder / "weights.safetensors")
    entry = """[[model]]
id = "model-{n:05}"
file = "weights.safetensors"
architecture = "digits-plain"
architecture_kwargs = {{ n_classes = 10, in_channels = 1 }}
normalization = "none"
dataset = "digits"
defense = "AT"
norm = "Linf"
radius = "3/20"
run = "run-{n:05}"
[model.settings]
steps = {steps}
batch_size = {batch}
"""
    text = "\n".join(entry.format(n=n, steps=n % 3, batch=2 ** (5 + n % 4)) for n in range(n_models))
    (folder / "models.toml").write_text(text)
    return folder / "models.toml"


def options_of_run() -> Any:
    """Return the options of the run whose records are generated: ``RECORDS`` pairs of measure and split."""
    from measurebench.engine.options import RunOptions
    from measurebench.engine.plan import chosen_measures, pairs_of

    def options(measures: str) -> RunOptions:
        return RunOptions(
            dataset="digits", measures=measures, attacks="pgd", train_examples=64, test_examples=64, workers=1
        )

    known = [item.info.id for item in chosen_measures(options("all")) if item.info.tier != "accuracy"]
    for k in range(len(known), 0, -1):
        asked = options(",".join(known[:k]))
        if len(pairs_of(chosen_measures(asked), asked)) == RECORDS:
            return asked
    raise RuntimeError(f"no choice of measures gives {RECORDS} records")


def records(model: str, digest: str, config: str, pairs: list[Any], draw: random.Random) -> Iterator[dict[str, Any]]:
    """Yield the records of a model: most of them measured, 3 % undefined and 0.5 % failed."""
    for item, split in pairs:
        chance = draw.random()
        status = "failed" if chance < 0.005 else "undefined" if chance < 0.035 else "measured"
        accuracy = item.info.tier == "accuracy"
        told = {"wilson_high": draw.random(), "wilson_low": draw.random(), "flags": ""} if accuracy else {}
        yield {
            "model_id": model,
            "model_digest": digest,
            "measure": item.info.id,
            "measure_version": item.info.version,
            "split": split,
            "config_digest": config,
            "status": "measured" if accuracy else status,
            "value": draw.random() if accuracy or status == "measured" else None,
            "standard_error": draw.random() if accuracy or status == "measured" else None,
            "n": 64,
            "seconds": draw.random(),
            "peak_memory_bytes": 612_745_216 + 4096 * draw.randrange(1000),
            "seed": 0,
            "environment_digest": "97c5c21fffaa7fe3",
            "time": f"2026-11-26T10:{draw.randrange(60):02}:{draw.randrange(60):02}.{draw.randrange(1000):03}+00:00",
            "reason": "" if accuracy or status == "measured" else "the network has no layer of this kind",
            "diagnostics": {"batch_size": 256} | told,
        }


def generate(folder: Path, n_models: int) -> None:
    """Write a results folder in which all is measured but the last model, which has no record."""
    from measurebench.core.threat import ThreatModel
    from measurebench.datasets import load_dataset
    from measurebench.engine.plan import chosen_measures, config_for, pairs_of
    from measurebench.models.identity import model_digest
    from measurebench.models.references import resolve
    from measurebench.store.checked_lines import checked_line

    folder.mkdir(parents=True)
    options, specs = options_of_run(), resolve([str(manifest(folder, n_models))])
    images = load_dataset("digits").reduced(64, 64)
    pairs = pairs_of(chosen_measures(options), options)
    digests: Any = {split: images.split(split).first(64).digest() for split in ("train", "test")}
    config = config_for(options, images, ThreatModel.parse("Linf", "3/20"), digests)
    results, draw = folder / "results", random.Random(0)
    results.mkdir()
    (results / "measurebench.json").write_text(json.dumps({"format": 1, "version": version("measurebench")}) + "\n")
    (results / "configs.jsonl").write_bytes(checked_line({"digest": config.digest(), **config.to_json()}) + b"\n")
    (results / "environments.jsonl").write_bytes(checked_line({"digest": "97c5c21fffaa7fe3"}) + b"\n")
    known = {"source": "local", "architecture": "digits-plain", "n_parameters": 19610, "defense": "AT"}
    known |= {"dataset": "digits", "norm": "Linf", "radius": 0.15, "radius_text": "3/20", "n_train": 64, "n_test": 64}
    known |= {"file_sha256": "0" * 64, "failure": "", "notes": ["format: safetensors file"], "cluster": None}
    with (results / "records.jsonl").open("wb") as journal, (results / "models.jsonl").open("wb") as catalogue:
        for start in range(0, len(specs) - 1, SIDE_BY_SIDE):
            some = specs[start : min(start + SIDE_BY_SIDE, len(specs) - 1)]
            told = {spec.id: model_digest(spec) for spec in some}
            for spec in some:
                entry = {"model_id": spec.id, "model_digest": told[spec.id], "config_digest": config.digest()}
                entry |= {"reference": spec.reference, "run": spec.run, "settings": dict(spec.settings)}
                entry |= {"measurebench_version": version("measurebench")}
                catalogue.write(checked_line(known | entry) + b"\n")
            lines = [records(spec.id, told[spec.id], config.digest(), pairs, draw) for spec in some]
            for group in zip(*lines, strict=True):
                journal.writelines(checked_line(value) + b"\n" for value in group)


def child(command: str, folder: Path) -> None:
    """Do one thing, then print what it took; ends the process."""
    results = folder / "results"
    if command == "resume":
        from measurebench import run
        from measurebench.engine.runner import Quiet

        class UntilTheFirst(Quiet):
            def started(self, model_id: str) -> None:  # noqa: ARG002 - Progress
                tell()

        asked = options_of_run()
        names = ("measures", "attacks", "train_examples", "test_examples", "workers")
        run(
            str(folder / "models.toml"),
            "digits",
            results,
            progress=UntilTheFirst(),
            **{name: getattr(asked, name) for name in names},
        )
        raise RuntimeError("nothing was open")
    from measurebench.cli.app import run_command_line

    out = ["--out", str(folder / "models.csv")] if command == "export" else []
    with Path(os.devnull).open("w") as nowhere:
        stdout = os.dup(1)
        os.dup2(nowhere.fileno(), 1)
        run_command_line([command, str(results), *out])
        sys.stdout.flush()
        os.dup2(stdout, 1)
    tell()


def tell() -> None:
    """Print the time of day, the processor time and the memory of this process so far, and end it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Not ru_maxrss, which counts the parent's memory at the moment of the fork.
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    found = {"at": time.time(), "processor": used.ru_utime + used.ru_stime, "memory": peak / 1e6}
    print(json.dumps(found), flush=True)
    os._exit(0)


def measured(command: str, folder: Path) -> dict[str, float]:
    """Return seconds, processor seconds and peak memory in GB of a command in a process of its own."""
    start = time.time()
    call = [sys.executable, "-m", "benchmarks.folders", "--child", command, "--folder", str(folder)]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {"seconds": found["at"] - start, "processor": found["processor"], "memory": found["memory"]}


def page(figures: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]], size: float) -> str:
    """Return the page of results."""

    def cells(row: Mapping[str, float] | None) -> str:
        return f"{row['processor']:.1f} | {row['memory']:.2f}" if row else "not measured | "

    rows = []
    for name, row in figures.items():
        command = name.partition(",")[0]
        earlier = f"{cells(before.get(command))} | " if before else ""
        rows.append(f"| {name} | {earlier}{cells(row)} | {GOALS[command]} |")
    heads = "before: processor s | GB | now: " if before else ""
    return "\n".join(
        [
            "# Large results folders",
            "",
            f"A folder of {MODELS:,} models with {RECORDS} records each: {size:.2f} GB of lines. Written by",
            "`python -m benchmarks.folders`. Each row is one process from its start (imports count); `resume` is a",
            "`run` command up to the loading of the first model that is not measured yet. The goal for memory is 1 GB.",
            "",
            f"| command | {heads}processor s | GB | goal: s |",
            "|---|" + "---:|" * (5 if before else 3),
            *rows,
            "",
            "The first row of a command is with a snapshot that is up to date. Without one, the lines are read one by",
            "one and the snapshot is written for the next command.",
            "",
            f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}. Processor seconds are given,",
            f"since the machine had other work ({os.getloadavg()[2]:.0f} processes for its cores), which makes the",
            "work itself slower too.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("build/folders"))
    parser.add_argument("--models", type=int, default=MODELS)
    parser.add_argument("--child", choices=COMMANDS)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--now", type=Path, help="Write the page from figures that were measured one by one.")
    parser.add_argument("--json", action="store_true", help="Print figures and write no page.")
    given = parser.parse_args()
    if given.child:
        child(given.child, given.folder)
    if not given.folder.exists():
        generate(given.folder, given.models)
    figures = json.loads(given.now.read_text()) if given.now else {}
    for command in () if given.now else COMMANDS:
        shutil.rmtree(given.folder / "results" / "snapshot", ignore_errors=True)
        without = measured(command, given.folder)
        if given.json:
            figures[command] = without
            continue
        figures[command] = measured(command, given.folder)
        figures[f"{command}, no snapshot"] = without
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    before = json.loads(given.before.read_text()) if given.before else {}
    size = (given.folder / "results" / "records.jsonl").stat().st_size / 1e9
    RESULT.write_text(page(figures, before, size))
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
