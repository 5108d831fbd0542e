"""The steps of ``benchmarks.gpu``: each notes its values as soon as it has them."""

import importlib.metadata
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.machine import processor
from measurebench.compute.batching import Batches, smaller_until_it_fits
from measurebench.compute.numerics import numerics
from measurebench.core.threat import ThreatModel
from measurebench.datasets import Dataset, load_dataset
from measurebench.measures.api import evaluate
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.measures.registry import all_measures
from measurebench.models import load_model, resolve
from measurebench.models.architectures import built_in
from measurebench.training.trainer import TrainingRun
from measurebench.training.training_config import TrainingConfig, recipe

Note = Callable[[str, Any], None]
_TESTS_SECONDS = 85.0
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pyautoattack", "robustbench", "timm", "triton")


class NotHereError(RuntimeError):
    """A step needs what this machine or this version does not have."""


@dataclass(frozen=True)
class Sizes:
    """How much every step does."""

    product: int = 8192
    repeats: int = 10
    networks: int = 3
    measured: int = 64
    measures: int | None = None
    train_seconds: float = 20.0
    attacked: int = 500
    attacked_exactly: int = 250
    seeds: tuple[int, ...] = (0, 1)
    batches: tuple[int, ...] = (128, 250, 500)
    iterations: int | None = None
    wide: str = "wrn-28-10"
    paced: int = 256
    profiled: int = 256
    kill_after: float = 6.0
    killed_models: int = 6
    killed_examples: int = 200
    shared_models: int = 24
    shared_seconds: float = 26.0


TINY = Sizes(
    product=64,
    repeats=1,
    networks=1,
    measured=4,
    measures=20,
    train_seconds=0.0,
    attacked=4,
    attacked_exactly=2,
    batches=(2, 4),
    iterations=2,
    wide="wrn-16-4",
    paced=1,
    profiled=4,
    kill_after=0.5,
    killed_models=1,
    killed_examples=20,
    shared_models=2,
    shared_seconds=3600.0,
)


def _images(place: Path | None) -> Dataset:
    """Load CIFAR-10 from a folder, other images from an .npz file, or the digits."""
    if place is None:
        return load_dataset("digits")
    return load_dataset("cifar10", str(place)) if place.is_dir() else load_dataset(f"arrays:{place}")


@dataclass
class Bench:
    """The machine, the sizes, and what steps leave to later ones."""

    device: str
    sizes: Sizes
    dataset: Dataset
    out: Path
    deadline: float = 0.0
    ceilings: dict[str, float] = field(default_factory=dict)
    network: nn.Module | None = None
    verdicts: dict[str, Tensor] = field(default_factory=dict)
    not_here: type[Exception] = NotHereError

    @classmethod
    def prepared(cls, rehearse: bool, images: Path | None, out: Path) -> "Bench":
        dataset = _images(images)
        if rehearse:
            return cls("cpu", TINY, dataset.reduced(40, 20), out)
        if not torch.cuda.is_available():
            raise SystemExit("no GPU here: --rehearse runs the steps in tiny sizes on the CPU")
        return cls("cuda:0", Sizes(), dataset, out)

    @property
    def threat(self) -> ThreatModel:
        return ThreatModel.parse("Linf", "8/255" if self.dataset.test.images.shape[1] == 3 else "3/20")

    def wait(self) -> float:
        """Return the clock's reading after the device has done all that it was given."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def seconds(self, work: Callable[[], Any], repeats: int | None = None) -> float:
        """Return the seconds of one call, the mean of several after one to warm up."""
        work()
        times, started = repeats or self.sizes.repeats, self.wait()
        for _ in range(times):
            work()
        return max((self.wait() - started) / times, 1e-9)

    def test(self, n: int) -> tuple[Tensor, Tensor]:
        first = self.dataset.test.first(n)
        return torch.from_numpy(first.images).to(self.device), torch.from_numpy(first.labels).to(self.device)

    def trained(self) -> nn.Module:
        """Return the network that was trained, or one of the digits where that step did not run."""
        if self.network is None:
            self.network = load_model(resolve(["digits:*"])[0]).network.to(self.device)
        return self.network.eval().requires_grad_(False)


def machine(bench: Bench, note: Note) -> None:
    """Versions, the card, and how fast it is at best."""
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    note("versions", {name: installed.get(name) for name in PACKAGES})
    note("card", torch.cuda.get_device_name() if bench.device != "cpu" else processor())
    n = bench.sizes.product
    for name, dtype, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("tf32", torch.float32, True),
        ("fp32", torch.float32, False),
    ):
        a, b = (torch.randn(n, n, device=bench.device, dtype=dtype) for _ in range(2))
        with numerics("fast" if tf32 else "exact"):
            bench.ceilings[name] = 2 * n**3 / bench.seconds(lambda a=a, b=b: a @ b)
        note(f"{name} TFLOP/s", bench.ceilings[name] / 1e12)
    source = torch.empty(n, n, 4, device=bench.device)
    target = torch.empty_like(source)
    note("copy TB/s", 2 * source.nbytes / bench.seconds(lambda: target.copy_(source)) / 1e12)


def gpu_tests(bench: Bench, note: Note) -> None:
    """The tests that are marked for a GPU; in a rehearsal they are only collected."""
    alone = ["-c", "tests/gpu/alone.ini", "--rootdir", ".", "--confcutdir", "."]  # without pytest's plugins
    options = ["--collect-only"] if bench.device == "cpu" else ["--durations=10"]
    command = [sys.executable, "-m", "pytest", "-q", *alone, "-m", "gpu", "-p", "no:cacheprovider", "tests/gpu"]
    command += options
    report = bench.out / "gpu-tests.txt"
    with report.open("w", encoding="utf-8") as file:  # as it comes: what ran is known even if a test hangs
        place = Path(__file__).parents[1]
        with subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=place) as process:
            note("exit status", _ended(process, _TESTS_SECONDS if bench.device != "cpu" else None))
    lines = report.read_text(encoding="utf-8").strip().splitlines()
    note("failures", [line[:200] for line in lines if line.startswith(("FAILED", "ERROR"))][:20])
    note("last line", (lines or [""])[-1])


def _ended(process: "subprocess.Popen[Any]", seconds: float | None) -> int | str:
    """Return a process's exit status; one that takes longer is killed."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"killed after {seconds:.0f} s"


def measures(bench: Bench, note: Note) -> None:
    """Every measure on the CPU and on the GPU: the largest relative differences, and how long both took."""
    rows: list[tuple[float, str]] = []
    seconds, n_done = {"cpu": 0.0, bench.device: 0.0}, 0
    chosen = [(name, item) for name, item in all_measures().items() if name != "autoattack_accuracy"]
    for spec in resolve(["digits:*"])[: bench.sizes.networks]:
        contexts = {device: _digits_context(spec, device, bench.sizes.measured) for device in ("cpu", bench.device)}
        for name, item in chosen[: bench.sizes.measures]:
            if time.perf_counter() > bench.deadline and bench.device != "cpu":
                break
            found = {}
            for device, context in contexts.items():
                started = bench.wait()
                with numerics("exact"):
                    found[device] = evaluate(item, context)
                seconds[device] += bench.wait() - started
            rows.append((_difference(found["cpu"].value, found[bench.device].value), f"{spec.id} {name}"))
            n_done += 1
        note("values compared", n_done)
        note("seconds", seconds)
        note("largest relative differences", {name: gap for gap, name in sorted(rows, reverse=True)[:12]})


def _digits_context(spec: Any, device: str, n: int) -> MeasureContext:
    loaded, split = load_model(spec), load_dataset("digits").train.first(n)
    initial = loaded.initial
    return MeasureContext(
        loaded.network.to(device),
        torch.from_numpy(split.images).to(device),
        torch.from_numpy(split.labels).to(device),
        MeasureSettings(spec.threat_model or ThreatModel.parse("Linf", "3/20")),
        initial_network=None if initial is None else initial.to(device),
        keys=torch.from_numpy(split.indices).to(device),
    )


def _difference(plain: float | None, other: float | None) -> float:
    if plain is None or other is None:
        return 0.0 if plain == other else float("inf")
    return abs(plain - other) / max(abs(plain), abs(other), 1e-12)


def training(bench: Bench, note: Note) -> None:
    """Adversarial training with three steps, in bfloat16, for half a minute: a robust network for the attacks."""
    name = "digits" if bench.dataset.test.images.shape[1] == 1 else "cifar10"
    # One large step may end in a network that withstands nothing else.
    settings = {"defense": "AT", "steps": 3, "step_fraction": 0.5, "augmentation": True}
    settings |= {"epochs": 1000, "evaluate_every": 1000, "learning_rate": 0.05}
    precision = {} if bench.device == "cpu" else {"precision": "mixed"}
    run = TrainingRun(
        TrainingConfig.from_mapping(recipe(name) | settings | precision, "gpu"), bench.dataset, bench.device
    )
    started, n = bench.wait(), len(run.train.images)
    with numerics("fast"):
        while True:
            run.epoch()
            taken = bench.wait() - started
            note("epochs", run.progress.epoch)
            note("images per second", n * run.progress.epoch / taken)
            if taken > bench.sizes.train_seconds:
                break
    network = run.network.eval()
    images, labels = bench.test(bench.sizes.attacked)
    with torch.no_grad():
        note("clean accuracy", float((network(images).argmax(1) == labels).double().mean()))
    if bench.device != "cpu" or images.shape[1] == 3:
        bench.network = network


def stock(bench: Bench, note: Note) -> None:
    """The published AutoAttack with its best batch size and two seeds."""
    images, labels = bench.test(bench.sizes.attacked)
    network, pace = bench.trained(), {}
    for size in bench.sizes.batches:
        pace[size] = len(images[:size]) / bench.seconds(
            lambda size=size: _gradient(network, images[:size], labels[:size])
        )
    note("images per second forward and back, by batch size", pace)
    best = max(pace, key=lambda size: pace[size])
    for seed in bench.sizes.seeds:
        if time.perf_counter() > bench.deadline - 40 and bench.device != "cpu":
            raise NotHereError(f"no time was left for seed {seed}")
        started = bench.wait()
        bench.verdicts[f"stock {seed}"], phases = _published(bench, network, images, labels, seed, best)
        note(f"seconds, seed {seed}", bench.wait() - started)
        note(f"seconds by attack, seed {seed}", phases)
        note(f"robust accuracy, seed {seed}", float(bench.verdicts[f"stock {seed}"].double().mean()))
    note("verdicts that differ by seed", _disagreements(bench, "stock 0", "stock 1"))


def _published(
    bench: Bench, network: nn.Module, images: Tensor, labels: Tensor, seed: int, batch_size: int
) -> tuple[Tensor, dict[str, float]]:
    """Run pyautoattack's four attacks, each on what the ones before it left, and time them; verdicts bool [n]."""
    import pyautoattack

    with torch.no_grad():
        robust = network(images).argmax(1) == labels
    phases: dict[str, float] = {}
    for name in ("apgd-ce", "apgd-t", "fab-t", "square"):
        attack = pyautoattack.AutoAttack(
            network, device=bench.device, eps=bench.threat.radius, norm="Linf", seed=seed, version="standard"
        )
        attack.verbose, attack.attacks_to_run = False, [name]
        if (n := bench.sizes.iterations) is not None:
            attack.apgd.n_iter = attack.apgd_targeted.n_iter = attack.fab.n_iter = attack.square.n_queries = n
        left = robust.nonzero()[:, 0]
        started = bench.wait()
        if len(left):
            found, _ = attack.run_standard_evaluation(images[left], labels[left], batch_size=batch_size)
            with torch.no_grad():
                robust[left] = network(found).argmax(1) == labels[left]
        phases[name] = bench.wait() - started
    return robust, phases


def _gradient(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    points = images.detach().requires_grad_(True)
    return torch.autograd.grad(F.cross_entropy(network(points), labels, reduction="sum"), points)[0]


def _disagreements(bench: Bench, one: str, other: str) -> int | None:
    known = bench.verdicts
    if one not in known or other not in known:
        return None
    n = min(len(known[one]), len(known[other]))
    return int((known[one][:n] != known[other][:n]).sum())


def _engine(
    bench: Bench, n: int, backwards: bool, slots: int | None, search: str, network: nn.Module | None = None
) -> tuple[Any, dict[str, float]]:
    """Run our engine and return its result and the seconds of each attack."""
    try:
        from measurebench.attacks.standard.engine import standard_attack
        from measurebench.attacks.standard.evaluation import Evaluation
        from measurebench.attacks.standard.settings import StandardSettings
    except ModuleNotFoundError as error:
        raise NotHereError("the engine is not part of this version") from error
    images, labels = bench.test(n)
    steps = {} if (k := bench.sizes.iterations) is None else {"apgd_steps": k, "fab_steps": k, "square_queries": k}
    order = np.arange(n, dtype=np.int64)
    phases: dict[str, float] = {}
    whole = Evaluation.run

    def timed(self: Any, attack: str, *rest: Any) -> None:
        started = bench.wait()
        whole(self, attack, *rest)
        phases[attack] = bench.wait() - started

    with patch.object(Evaluation, "run", timed):
        found = standard_attack(
            network or bench.trained(),
            images,
            labels,
            bench.threat,
            keys=torch.arange(n, device=bench.device),
            seed=0,
            n_classes=bench.dataset.n_classes,
            settings=StandardSettings(slots=slots, **steps),
            search=search,  # type: ignore[arg-type]
            order=order[::-1].copy() if backwards else order,
        )
    return found, phases


def engine(bench: Bench, note: Note) -> None:
    """Our AutoAttack in two orders and numbers of slots: the same verdicts, and those of the published one."""
    _engine(bench, 8, False, None, "fast")  # libraries choose their kernels
    for backwards, slots in ((False, None), (True, 256)):
        name, started = f"{'backwards' if backwards else 'forwards'}, slots {slots}", bench.wait()
        found, phases = _engine(bench, bench.sizes.attacked, backwards, slots, "fast")
        note(f"seconds, {name}", bench.wait() - started)
        note(f"seconds by attack, {name}", phases)
        bench.verdicts[name] = found.robust
        note(f"robust accuracy, {name}", float(found.robust.double().mean()))
        note(f"diagnostics, {name}", dict(found.diagnostics) | {"flags": list(found.flags)})
        passes = (found.n_forward + found.n_backward)[found.robust].double()
        note(f"passes of a robust image, {name}", float(passes.mean()) if len(passes) else 0.0)
    for name in ("backwards, slots 256", "stock 0"):
        note(f"verdicts that differ: {name}", _disagreements(bench, "forwards, slots None", name))


def profile(bench: Bench, note: Note) -> None:
    """Where the time of the engine goes: the kernels, and how busy they keep the card."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if bench.device != "cpu" else [])
    small = replace(bench.sizes, iterations=bench.sizes.iterations or 20)
    few = replace(bench, sizes=small)
    _engine(few, bench.sizes.profiled, False, None, "fast")
    started = bench.wait()
    with profiled(activities=kinds) as seen:
        _engine(few, bench.sizes.profiled, False, None, "fast")
        taken = bench.wait() - started
    note("seconds", taken)
    events = seen.key_averages()
    busy = sum(event.self_device_time_total for event in events) / 1e6
    note("share of the time in which the card computes", busy / taken)
    by_card = sorted(events, key=lambda event: -event.self_device_time_total)[:15]
    by_host = sorted(events, key=lambda event: -event.self_cpu_time_total)[:25]
    note("milliseconds on the card", {e.key[:70]: round(e.self_device_time_total / 1e3, 1) for e in by_card})
    note(
        "milliseconds and calls on the host",
        {e.key[:60]: [round(e.self_cpu_time_total / 1e3, 1), e.count] for e in by_host},
    )


def engine_exactly(bench: Bench, note: Note) -> None:
    """Our AutoAttack in full precision throughout."""
    started = bench.wait()
    with numerics("exact"):
        found, phases = _engine(bench, bench.sizes.attacked_exactly, False, None, "reference")
    bench.verdicts["exact"] = found.robust
    note("seconds", bench.wait() - started)
    note("seconds by attack", phases)
    note("verdicts that differ from the fast search", _disagreements(bench, "exact", "forwards, slots None"))


def wide(bench: Bench, note: Note) -> None:
    """The pace of a large network: one pass in each precision, PGD and the gradient pass, beside the ceilings."""
    from torch.utils.flop_counter import FlopCounterMode

    network = built_in()[bench.sizes.wide].build(10, 3).to(bench.device).eval().requires_grad_(False)
    n = bench.sizes.paced
    images, labels = torch.rand(n, 3, 32, 32, device=bench.device), torch.arange(n, device=bench.device) % 10
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images[:1])
    flop = counter.get_total_flops()
    note("FLOP per image forward", flop)
    for name, precision in (("fp32", "exact"), ("tf32", "fast"), ("bf16", "fast")):
        half = torch.autocast(torch.device(bench.device).type, torch.bfloat16, enabled=name == "bf16")
        with numerics(precision), half:  # type: ignore[arg-type]
            taken = bench.seconds(lambda: _gradient(network, images, labels), 3)
        note(f"{name} images per second forward and back", n / taken)
        if name in bench.ceilings:
            note(f"{name} share of the ceiling", 2 * flop * n / taken / bench.ceilings[name])
    context = MeasureContext(network, images, labels, MeasureSettings(bench.threat), batch_size=n)
    for name, work in (("PGD-10", lambda: context.adversarial), ("gradient pass", lambda: context.gradients("clean"))):
        started = bench.wait()
        with numerics("exact"):
            work()
        note(f"{name} images per second", n / (bench.wait() - started))


def failures(bench: Bench, note: Note) -> None:
    """A run that is killed and goes on, memory that ends, and a network captured as a graph."""
    note("out of memory: batch sizes tried", _memory_ends(bench))
    with tempfile.TemporaryDirectory() as folder:
        _killed(bench, note, Path(folder) / "killed")
    if bench.device == "cpu":
        note("graph capture", "no GPU")
        return
    network, images = bench.trained(), bench.test(64)[0]
    with numerics("exact"), torch.no_grad():
        expected, graph = network(images), torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                captured = network(images)
            graph.replay()
            note("graph capture: largest difference", float((captured - expected).abs().max()))
        except RuntimeError as error:
            note("graph capture refused", str(error).splitlines()[0])


def _memory_ends(bench: Bench) -> list[int]:
    """Return the sizes that were tried until a batch fitted; a CPU pretends that two rows are too many."""
    sizes: list[int] = []
    free = torch.cuda.mem_get_info()[0] if bench.device != "cpu" else 0

    def work(rows: slice) -> Tensor:
        n = rows.stop - rows.start
        sizes.append(n)
        if bench.device == "cpu" and n > 2:
            raise torch.OutOfMemoryError("pretended")
        per_row = free // 5 if bench.device != "cpu" else 8
        return torch.empty(n, per_row, dtype=torch.uint8, device=bench.device)[:, :1].clone()

    assert len(Batches(8).cat(work, 8)) == 8
    smaller_until_it_fits(lambda size: work(slice(0, size)), 8)
    return sizes


def _run(bench: Bench, n_models: int, n_examples: int, out: Path, *options: str) -> list[str]:
    """Return the command that measures some networks of the digits."""
    models = [spec.reference for spec in resolve(["digits:*"])[:n_models]]
    numbers = [f"--train-examples={n_examples}", f"--test-examples={n_examples}"]
    command = [sys.executable, "-m", "measurebench", "run", *models, "--dataset", "digits", "--out", str(out)]
    command += ["--attacks", "pgd", *numbers, *options]
    return [*command, "--device", "cuda" if bench.device != "cpu" else "cpu"]


def _n_records(out: Path) -> int:
    journal = out / "records.jsonl"
    return len(journal.read_text(encoding="utf-8").splitlines()) if journal.is_file() else 0


def _killed(bench: Bench, note: Note, out: Path) -> None:
    """Start a run of the digits, kill it, and run it again to its end."""
    sizes = bench.sizes
    measured = ["--measures", "average_ce_pgd,x_grad_norm_pgd"]
    command = _run(bench, sizes.killed_models, sizes.killed_examples, out, *measured)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(sizes.kill_after)
            note("killed", "it had ended")
        except subprocess.TimeoutExpired:
            process.kill()
            note("killed", f"after {sizes.kill_after} s")
    note("records before", _n_records(out))
    started = time.perf_counter()
    limit = 120 if bench.device != "cpu" else None
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    note("seconds to the end", time.perf_counter() - started)
    note("exit status", done.returncode)
    note("records after", _n_records(out))


def small_networks(bench: Bench, note: Note) -> None:
    """The digits zoo with one worker on the card and with four: records written in the same time."""
    sizes = bench.sizes
    with tempfile.TemporaryDirectory() as folder:
        for workers in (1, 4):
            out = Path(folder) / str(workers)
            measured = ["--measures", "core" if bench.device != "cpu" else "average_ce_pgd", "--workers", str(workers)]
            command = _run(bench, sizes.shared_models, sizes.measured * 8, out, *measured)
            started = time.perf_counter()
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                note(f"exit status, {workers} workers", _ended(process, sizes.shared_seconds))
            taken = time.perf_counter() - started
            note(f"records, {workers} workers", _n_records(out))
            note(f"seconds, {workers} workers", taken)
            note(f"records per second, {workers} workers", _n_records(out) / taken)


# Each with the seconds that it may take; what does not fit into the time that is left is skipped.
STEPS: dict[str, tuple[float, Callable[[Bench, Note], None]]] = {
    "machine": (10, machine),
    "tests": (90, gpu_tests),
    "training": (30, training),
    "stock": (60, stock),
    "engine": (40, engine),
    "failures": (25, failures),
    "small networks": (60, small_networks),
    "wide network": (20, wide),
    "measures": (45, measures),
    "engine in full precision": (30, engine_exactly),
    "profile": (40, profile),
}
