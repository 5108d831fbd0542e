"""Speed of the statistics beside plain loops, and the coverage of their intervals; writes results/statistics.md.

Run as ``python -m benchmarks.statistics``; stop it at any time: what was timed is kept in ``--records`` and the same
command goes on from there. ``--page`` writes the page of what is known. With ``--keep-coverage`` the page keeps its
figures of coverage by run and by row; ``benchmarks.coverage`` has those of all intervals.
"""

import argparse
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from benchmarks.machine import processor
from measurebench.stats import analyze
from measurebench.stats.resampling.draws import bootstrap_weights, exchanges, percentile_interval, permutation_p
from measurebench.stats.resampling.pair_counts import Drawn, pair_counts, point_counts
from measurebench.stats.statistics.matching import matching

RESULT = Path(__file__).parent / "results" / "statistics.md"
REPETITIONS = 400
DRAWS = 500
MEASURES = 20
GROWTH = (
    (1344, 20, 2000),
    (1344, 20, 500),
    (1344, 5, 2000),
    (1344, 132, 2000),
    (2688, 5, 2000),
    (5376, 5, 2000),
    (20, 1000, 2000),
    (20, 10000, 2000),
    (10000, 20, 2000),
)
"""Models, measures and bootstrap draws of the analyses whose growth is shown."""


def study_grid(seed: int = 0) -> pd.DataFrame:
    """Return 1,344 simulated models of the study's eight settings, two checkpoints to a run, 20 measures."""
    rng = np.random.default_rng(seed)
    methods = [("Standard", 0), *itertools.product(("AT", "TRADES", "MART"), (1, 10))]
    rows = []
    for architecture, (defense, steps), awp, batch, aug, extra, stop in itertools.product(
        ("RN18", "W28", "W34"), methods, (0, 1), (32, 64, 128, 256), (0, 1), (0, 1), ("best", "last")
    ):
        run = f"{architecture}-{defense}-{steps}-{awp}-{batch}-{aug}-{extra}"
        settings = {"steps": steps, "awp": awp, "batch_size": batch, "aug": aug, "extra": extra, "stop": stop}
        rows.append(
            {"model_id": f"{run}-{stop}", "architecture": architecture, "defense": defense, "run": run}
            | {f"setting_{name}": value for name, value in settings.items()}
        )
    table = pd.DataFrame(rows)
    latent = rng.normal(size=len(table)) + (table["setting_stop"] == "last")
    train, test = np.clip(0.55 + 0.1 * latent, 0.2, 0.98), np.clip(0.48 + 0.02 * latent, 0, 1)
    table["n_train"] = table["n_test"] = 1000
    table["pgd_accuracy_train"] = rng.binomial(1000, train) / 1000
    table["pgd_accuracy_test"] = rng.binomial(1000, test) / 1000
    table["robust_gap_pgd"] = table["pgd_accuracy_train"] - table["pgd_accuracy_test"]
    for k in range(MEASURES):
        name = "average_ce_pgd" if k == 0 else f"measure_{k}"
        table[name] = latent * k / MEASURES + rng.normal(size=len(table))
    return table


def larger_grid(n_models: int, n_measures: int) -> pd.DataFrame:
    """Return the grid again and again, with other seeds, until it has so many models, and so many measures."""
    grid, rng = study_grid(), np.random.default_rng(0)
    seed = np.arange(n_models) // len(grid)
    table = grid.iloc[np.arange(n_models) % len(grid)].reset_index(drop=True)
    table["run"] += "-" + pd.Series(seed).astype(str)
    table["model_id"] += "-" + pd.Series(seed).astype(str)
    if seed.any():
        table["setting_seed"] = seed
    gap = table["robust_gap_pgd"] + 0.1 * table["robust_gap_pgd"].std() * rng.normal(size=n_models) * (seed > 0)
    table["robust_gap_pgd"] = gap
    measures = {f"measure_{k}": gap * (k % 5) / 5 + gap.std() * rng.normal(size=n_models) for k in range(n_measures)}
    others = table.drop(columns=[name for name in table if str(name).startswith("measure_")])
    return pd.concat([others, pd.DataFrame(measures)], axis=1)


def time_growth(path: Path) -> None:
    """Time the analyses that ``path`` lacks, each in a process of its own, and append what was found."""
    known = {tuple(size) for size, _ in _records(path)}
    path.parent.mkdir(parents=True, exist_ok=True)
    for size in GROWTH:
        if size not in known:
            command = [sys.executable, "-m", "benchmarks.statistics", "--one", *map(str, size)]
            found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([size, found.split()]) + "\n")


def _records(path: Path) -> list[Any]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def growth_rows(path: Path) -> list[str]:
    """Return a row for each size, and "not run" for those that were not timed."""
    known = {tuple(size): found for size, found in _records(path)}
    return [growth_row(size, known[size]) if size in known else _not_run(size) for size in GROWTH]


def _not_run(size: tuple[int, int, int]) -> str:
    return f"| {size[0]:,} | {size[1]:,} | {size[2]:,} | not run | | |"


def growth_row(size: tuple[int, int, int], found: list[str]) -> str:
    models, measures, draws = size
    time_taken, memory, load = map(float, found)
    return f"| {models:,} | {measures:,} | {draws:,} | {time_taken:.1f} | {memory:.2f} | {load:.1f} |"


def one_analysis(n_models: int, n_measures: int, draws: int) -> str:
    """Return processor seconds, gigabytes at most and the load average of one analysis."""
    table = larger_grid(n_models, n_measures)
    analyze(table.head(60), bootstrap=20, permutations=19)  # imports
    taken = seconds(lambda: analyze(table, bootstrap=draws))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return f"{taken:.1f} {memory:.2f} {os.getloadavg()[0]:.1f}"


def seconds(function: Callable[[], object]) -> float:
    """Return the processor time of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def speed_rows(table: pd.DataFrame) -> list[str]:
    """Time the vectorised statistics and straightforward loops on the same data."""
    x, y = table["measure_9"].to_numpy(), table["robust_gap_pgd"].to_numpy()
    units = np.unique(table["run"], return_inverse=True)[1]
    weights = bootstrap_weights(int(units.max()) + 1, 2000, 0)
    seconds(lambda: pair_counts(x, y, Drawn.of(units, weights)))
    ours = seconds(lambda: pair_counts(x, y, Drawn.of(units, weights)).tau_b)
    members = [np.flatnonzero(units == u) for u in range(units.max() + 1)]

    def loop() -> None:
        for draw in weights[:20].astype(int):
            rows = np.concatenate([np.tile(members[u], k) for u, k in enumerate(draw) if k])
            kendalltau(x[rows], y[rows])

    plain = seconds(loop) * 100
    axes = [c for c in table if c.startswith("setting_")] + ["architecture", "defense"]
    levels = {axis: table[axis].astype(str).tolist() for axis in axes}

    def psi() -> float:
        match = matching("setting_batch_size", levels, units)
        return float(np.mean(np.sign(x[match.i] - x[match.j]) * np.sign(y[match.i] - y[match.j])))

    def psi_loop() -> float:
        taus = [
            np.mean(
                [
                    np.sign(a.measure_9 - b.measure_9) * np.sign(a.robust_gap_pgd - b.robust_gap_pgd)
                    for a, b in itertools.combinations(group.itertuples(), 2)
                ]
            )
            for _, group in table.groupby([a for a in axes if a != "setting_batch_size"])
        ]
        return float(np.mean(taus))

    assert abs(psi() - psi_loop()) < 1e-12
    psi_ours, psi_plain = seconds(psi), seconds(psi_loop)
    return [
        f"| tau_b of one measure, 2,000 draws | {ours:.2f} | {plain:.0f} (from 20 draws) | {plain / ours:.0f} |",
        f"| psi of one setting | {psi_ours:.3f} | {psi_plain:.2f} | {psi_plain / psi_ours:.0f} |",
    ]


def simulate(rng: np.random.Generator, n_runs: int, rho: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw runs of two checkpoints, correlated 0.9 within the run, measure and gap correlated ``rho``."""
    shared = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], n_runs)
    own = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], (n_runs, 2))
    both = np.sqrt(0.9) * shared[:, None, :] + np.sqrt(0.1) * own
    return both[..., 0].ravel(), both[..., 1].ravel(), np.repeat(np.arange(n_runs), 2)


def coverage_rows() -> list[str]:
    """Return how often the 95 % intervals hold the true tau, by runs and, wrongly, by rows."""
    rows = []
    for n_runs, rho in itertools.product((12, 24, 48, 96), (0.0, 0.5, 0.8)):
        rng = np.random.default_rng(n_runs)
        truth = np.mean([point_counts(*simulate(rng, 2000, rho)[:2]).tau_b[0] for _ in range(2)])
        hits = np.zeros(2)
        for k in range(REPETITIONS):
            x, y, runs = simulate(rng, n_runs, rho)
            for way, units in enumerate((runs, np.arange(len(x)))):
                weights = bootstrap_weights(int(units.max()) + 1, DRAWS, k)
                low, high = percentile_interval(pair_counts(x, y, Drawn.of(units, weights)).tau_b)
                hits[way] += low <= truth <= high
        by_run, by_row = hits / REPETITIONS
        rows.append(f"| {n_runs} | {2 * n_runs} | {truth:+.2f} | {by_run:.1%} | {by_row:.1%} |")
    return rows


def error_rows() -> list[str]:
    """Return how often a permutation test at 5 % rejects where measure and gap are independent."""
    rows = []
    for n_runs in (12, 48):
        rng = np.random.default_rng(100 + n_runs)
        rejected = np.zeros(2)
        for k in range(REPETITIONS):
            x, y, runs = simulate(rng, n_runs, 0.0)
            sx, sy = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
            for way, units in enumerate((runs, np.arange(len(x)))):
                moves = exchanges(np.zeros(len(x), np.int64), units, 199, k)
                permuted = np.array([(sx * sy[np.ix_(m, m)]).sum() for m in moves])
                rejected[way] += permutation_p(float((sx * sy).sum()), permuted) <= 0.05
        by_run, by_row = rejected / REPETITIONS
        rows.append(f"| {n_runs} | {by_run:.1%} | {by_row:.1%} |")
    return rows


def coverage() -> list[str]:
    """Return the sections on coverage and on errors of the first kind."""
    return [
        "## Coverage",
        "",
        f"Share of 95 % intervals that hold the true tau_b; {REPETITIONS} tables, {DRAWS} draws",
        "each; two checkpoints to a run, correlated 0.9. The shares are known to within 2.2 percentage points.",
        "",
        "| runs | models | true tau_b | resampled by run | resampled by row |",
        "|---|---|---|---|---|",
        *coverage_rows(),
        "",
        f"## Permutation tests at 5 % where nothing is there ({REPETITIONS} tables, 199 permutations)",
        "",
        "| runs | exchanged by run | exchanged by row |",
        "|---|---|---|",
        *error_rows(),
        "",
    ]


def kept_coverage() -> list[str]:
    """Return the same sections as they stand on the page."""
    page = RESULT.read_text(encoding="utf-8")
    return [*page[page.index("## Coverage") :].splitlines(), ""]


def main() -> None:
    """Run all parts and write the page of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int, nargs=3, metavar=("MODELS", "MEASURES", "DRAWS"))
    parser.add_argument("--keep-coverage", action="store_true")
    parser.add_argument("--records", type=Path, default=Path("build") / "statistics.jsonl", help="what was timed")
    parser.add_argument("--page", action="store_true", help="time no more analyses; write the page of what is known")
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(one_analysis(*options.one))
        return
    if not options.page:
        time_growth(options.records)
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "scipy", "pandas", "statsmodels"))
    lines = [
        "# The statistics: speed and coverage",
        "",
        f"Python {platform.python_version()}, {versions}; {processor()}, one thread. Times are processor seconds;",
        "other jobs may have shared the machine, so the ratios say more than the seconds.",
        "",
        "| statistic | here (s) | plain loop (s) | ratio |",
        "|---|---|---|---|",
        *speed_rows(study_grid()),
        "",
        "## Growth",
        "",
        "Whole analyses of the grid of 1,344 models, repeated with other seeds (a ninth setting) where there are more,",
        "without start-up; each in a process of its own. The load average is that of the machine's",
        f"{os.cpu_count()} cores at the end; a loaded machine takes more processor time for the same work.",
        "",
        "| models | measures | draws | processor seconds | GB at most | load |",
        "|---|---|---|---|---|---|",
        *growth_rows(options.records),
        "",
        *(kept_coverage() if options.keep_coverage else coverage()),
    ]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines), encoding="utf-8")
    sys.stdout.write(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
