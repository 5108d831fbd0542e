"""How often simultaneous intervals hold all measures at once, and the best one is kept; writes results/together.md.

Run as ``python -m benchmarks.together``; it takes some minutes.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.machine import processor
from measurebench.stats.judging.stability import stability
from measurebench.stats.resampling.draws import bootstrap_weights
from measurebench.stats.resampling.pair_counts import Drawn, pair_counts, point_counts

RESULT = Path(__file__).parent / "results" / "together.md"
MEASURES, DRAWS = 18, 800
TABLES = {12: 400, 24: 400, 96: 200}  # by runs
WITHIN = 0.1  # share of the variance that lies between the two checkpoints of a run

CASES = {
    "correlations from 0 to 0.8": np.linspace(0.0, 0.8, MEASURES),
    "the best 0.40, all others 0.35": np.r_[0.40, np.full(MEASURES - 1, 0.35)],
}


def both_checkpoints(runs: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Return [2 runs, columns], the two checkpoints of a run one after the other."""
    between = np.repeat(rng.normal(size=(runs, columns)), 2, axis=0)
    return np.asarray(np.sqrt(1 - WITHIN) * between + np.sqrt(WITHIN) * rng.normal(size=(2 * runs, columns)))


def held(runs: int, table: int, rho: np.ndarray, shared: float) -> tuple[bool, bool, bool]:
    """Say of one table whether the intervals hold every true tau, whether plain ones do, and whether the best is kept.

    The plain ones are the same on the scale of tau itself.
    """
    rng = np.random.default_rng([runs, table, round(100 * shared)])
    y, common = both_checkpoints(runs, 1, rng), both_checkpoints(runs, 1, rng)
    noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * both_checkpoints(runs, MEASURES, rng)
    x, target = rho * y + np.sqrt(1 - rho**2) * noise, y[:, 0]
    drawn = Drawn.of(np.repeat(np.arange(runs), 2), bootstrap_weights(runs, DRAWS, table))
    taus = {str(k): float(point_counts(x[:, k], target).tau_b[0]) for k in range(MEASURES)}
    draws = {name: pair_counts(x[:, int(name)], target, drawn).tau_b for name in taus}
    rows = stability(taus, draws)
    truth = 2 / np.pi * np.arcsin(rho)  # tau of normal variables
    inside = [row["simultaneous_low"] <= truth[int(row["measure"])] <= row["simultaneous_high"] for row in rows]
    found, moved = np.array(list(taus.values())), np.stack(list(draws.values()))
    size = np.abs((moved - found[:, None]) / moved.std(axis=1, ddof=1, keepdims=True)).max(axis=0)
    plain = np.abs(found - truth) <= np.quantile(size, 0.95) * moved.std(axis=1, ddof=1)
    best = str(int(np.argmax(rho)))
    return all(inside), bool(plain.all()), next(row["may_be_best"] for row in rows if row["measure"] == best)


def main() -> None:
    """Simulate every case and write the page."""
    lines = [
        "# Statements about all measures at once",
        "",
        f"numpy {version('numpy')}, scipy {version('scipy')}; {processor()}.",
        "",
        f"Tables of {MEASURES} measures of a target, all normal, runs of two checkpoints (correlated {1 - WITHIN:g}),",
        f"{DRAWS} draws of runs. *Noise* is the correlation of what the measures have beyond the target. *All held* is",
        "the share of tables in which every simultaneous interval holds its true tau, *best kept* that in which the",
        "best measure is marked as one that may be the best. A share p is known to within 2 sqrt(p (1 - p) / tables).",
        "*On the scale of tau* are the same intervals without arctanh.",
        "",
        "| measures | noise | runs | tables | all held | on the scale of tau | best kept |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, rho in CASES.items():
        for shared in (0.0, 0.6):
            for runs, tables in TABLES.items():
                found = np.mean([held(runs, table, rho, shared) for table in range(tables)], axis=0)
                lines.append(
                    f"| {case} | {shared:g} | {runs} | {tables} | {found[0]:.1%} | {found[1]:.1%} | {found[2]:.1%} |"
                )
                print(lines[-1], flush=True)
    RESULT.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
