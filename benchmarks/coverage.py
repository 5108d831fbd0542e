"""How often the 95 % intervals that an analysis prints hold the truth; writes results/coverage.md.

Run as ``python -m benchmarks.coverage``; stop it at any time: what was found is kept in ``--records`` and the same
command goes on from there. ``--page`` only writes the page of what is known.
"""

import argparse
import itertools
import json
import os
import sys
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.machine import processor
from measurebench.stats.judging.stability import simultaneous
from measurebench.stats.population.axes import usable_settings
from measurebench.stats.population.population import Population, read_population
from measurebench.stats.population.target_error import target_error
from measurebench.stats.regressions.added import added
from measurebench.stats.regressions.linear import Regressions
from measurebench.stats.regressions.mixed import mixed
from measurebench.stats.statistics.cohorts import find
from measurebench.stats.statistics.estimates import Draws
from measurebench.stats.statistics.registry import Question

RESULT = Path(__file__).parent / "results" / "coverage.md"
SIZES = {24: 400, 48: 400, 192: 400}
"""Models in a table (two checkpoints to a run), and tables."""

BOOTSTRAP, PERMUTATIONS, IMAGES = 500, 19, 1000
LARGE, LARGE_TABLES = 1536, 8
"""The truth is the mean estimate of so many tables of so many models: for all sizes of table the same quantity."""

BY_SIZE = ("psi", "psi_mean", "sign_error_mean", "sign_error_max", "weighted_tau", "gain, runs held out")
"""Quantities that depend on the size of the table: on how many runs share their settings, how many are at the top, or
on how many runs a prediction is fitted. Their truth is the mean estimate of the tables of this size."""

_SLOPE = ("slope", "slope_ci_low", "slope_ci_high")

MEASURES = {"weak": 0.25, "strong": 0.8}
"""Two measures and their correlation with the latent gap beside the settings."""


def simulated(n_models: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return runs of two checkpoints under three settings with fixed effects; accuracies of 1,000 images each."""
    codes = np.array(list(itertools.product(range(3), range(2), range(2))))
    codes = codes[np.arange(n_models // 2) % len(codes)]
    run = np.repeat(np.arange(n_models // 2), 2)
    effect = codes @ np.array([0.4, 0.5, -0.6])
    latent = effect[run] + _both(n_models, rng)
    train = np.clip(0.6 + 0.06 * latent, 0.01, 0.99)
    test = np.full(n_models, 0.45)
    table: dict[str, Any] = {"model_id": [f"m{i}" for i in range(n_models)], "run": run}
    table |= {"defense": np.array(["AT", "MART", "TRADES"])[codes[run, 0]]}
    table |= {"architecture": np.array(["plain", "wide"])[codes[run, 1]], "setting_batch": codes[run, 2]}
    table |= {"setting_stop": np.tile(["best", "last"], n_models // 2), "n_train": IMAGES, "n_test": IMAGES}
    table["pgd_accuracy_train"] = rng.binomial(IMAGES, train) / IMAGES
    table["pgd_accuracy_test"] = rng.binomial(IMAGES, test) / IMAGES
    table["robust_gap_pgd"] = table["pgd_accuracy_train"] - table["pgd_accuracy_test"]
    table["average_ce_pgd"] = -latent + 0.7 * _both(n_models, rng)
    for name, rho in MEASURES.items():
        table[name] = rho * latent + np.sqrt(1 - rho**2) * _both(n_models, rng)
    return pd.DataFrame(table)


def _both(n_models: int, rng: np.random.Generator) -> np.ndarray:
    """Draw values whose two checkpoints correlate 0.9."""
    between = np.repeat(rng.normal(size=n_models // 2), 2)
    return np.asarray(np.sqrt(0.9) * between + np.sqrt(0.1) * rng.normal(size=n_models))


def intervals(table: pd.DataFrame, seed: int, draws: int = BOOTSTRAP) -> list[tuple[str, str, float, float, float]]:
    """Return every estimate with its interval: statistic, measure, estimate, low, high."""
    names: dict[str, Any] = {"defense": "defense", "run": "run", "cluster": "cluster"}
    population = usable_settings(
        read_population(table, target="robust_gap_pgd", measures=list(MEASURES), settings=None, **names)
    )
    all_draws = Draws.of(population, draws, PERMUTATIONS, seed)
    control = {"average_ce_pgd": table["average_ce_pgd"].to_numpy()}
    found = find(population, all_draws, Question(control, target_error(population), {}, {}))
    rows = [
        (_label(row.statistic, row.axis), name, row.estimate, row.low, row.high)
        for name in population.measures
        for row in [*found.rows[name], *found.supplement[name]]
        if row.statistic != "tau_b_gap_noise"  # the range of the estimate for the same models, not of the truth
    ]
    rows += [
        (f"gain, {row['variant']} held out", row["measure"], row["gain"], row["ci_low"], row["ci_high"])
        for row in added(population, all_draws, levels=False)
    ]
    return [*rows, *_lines(population), *_together(population, found.tau_draws)]


def _label(statistic: str, axis: str) -> str:
    """Name a statistic as the table of results does; levels and settings of one kind together."""
    kind = "inside a quarter of the control" if axis == "average_ce_pgd" else "inside a level of a setting"
    return f"{statistic}, {kind}" if statistic in {"tau_within", "tau_a"} and axis else statistic


def _lines(population: Population) -> list[tuple[str, str, float, float, float]]:
    """Return the slopes of the regressions and of the mixed model, per unit of the measure.

    The analysis gives them per standard deviation in the table at hand, which differs from table to table.
    """
    regressions = Regressions(population)
    rows: list[tuple[str, str, float, float, float]] = []
    defenses = np.array(population.levels["defense"])
    for name, x in population.measures.items():
        for row in regressions.of(name):
            if row["model"] != "slope_interaction":
                label = f"slope, {row['model']}{', one defense' if row['level'] else ''}"
                here = x[defenses == row["level"]] if row["level"] else x
                rows.append((label, name, *(row[key] / here.std(ddof=1) for key in _SLOPE)))
        row = mixed(population, name)
        rows.append((f"slope, {row['method']}", name, *(row[key] / x.std(ddof=1) for key in _SLOPE)))
    return rows


def _together(population: Population, draws: dict[str, Any]) -> list[tuple[str, str, float, float, float]]:
    """Return the simultaneous intervals, the first measure's; both must hold, which the page counts."""
    from scipy.stats import kendalltau

    names = list(population.measures)
    taus = np.array([kendalltau(population.measures[name], population.y).statistic for name in names])
    low, high = simultaneous(taus, np.stack([draws[name] for name in names]))
    return [("tau_b, simultaneous", name, taus[k], low[k], high[k]) for k, name in enumerate(names)]


def keep(path: Path) -> None:
    """Find the truth and the intervals of every table that ``path`` lacks, and append them."""
    known = {(line[0], line[1]) for line in _records(path)}
    wanted = [(LARGE, k) for k in range(LARGE_TABLES)]
    most = max(SIZES.values())
    wanted += [(n, k) for k in range(most) for n, count in SIZES.items() if k < count]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for n, k in wanted:
            if (n, k) not in known:
                start = time.process_time()
                rows = intervals(simulated(n, np.random.default_rng([n, k])), k, 20 if n == LARGE else BOOTSTRAP)
                values = [[*row[:2], *(None if np.isnan(v) else round(float(v), 6) for v in row[2:])] for row in rows]
                file.write(json.dumps([n, k, round(time.process_time() - start, 3), values]) + "\n")
                file.flush()


def _records(path: Path) -> list[list[Any]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def covered(records: list[list[Any]]) -> dict[tuple[str, str], dict[int, tuple[int, int, int]]]:
    """Return by statistic and measure, and number of models: intervals given, of how many, and how many hold the truth.

    An estimate is told from others of its name by its place in the table, which is the same in all.
    """
    sums: defaultdict[tuple[str, str, int, int], list[float]] = defaultdict(list)
    for n, _, _, values in records:
        for key, row in _placed(values):
            if row[2] is not None and (n != LARGE or row[0] not in BY_SIZE):
                sums[*key, n].append(row[2])
    counts: dict[tuple[str, str], dict[int, tuple[int, int, int]]] = defaultdict(dict)
    for n, _, _, values in records:
        for (statistic, measure, place), row in _placed(values) if n != LARGE else ():
            size = n if statistic in BY_SIZE else LARGE
            if (statistic, measure, place, size) in sums:
                truth = np.mean(sums[statistic, measure, place, size])
                given, of, held = counts[statistic, measure].get(n, (0, 0, 0))
                here = row[3] is not None and row[4] is not None
                holds = here and row[3] - 1e-9 <= truth <= row[4] + 1e-9
                counts[statistic, measure][n] = (given + here, of + 1, held + holds)
    return counts


def _placed(values: list[list[Any]]) -> list[tuple[tuple[str, str, int], list[Any]]]:
    """Number the rows of one statistic and measure: levels and settings come in the same order in every table."""
    seen: defaultdict[tuple[str, str], int] = defaultdict(int)
    result = []
    for row in values:
        key = (row[0], row[1])
        result.append(((*key, seen[key]), row))
        seen[key] += 1
    return result


def write(records: list[list[Any]]) -> None:
    """Write the page of all that is known."""
    counts = covered(records)
    tables = {n: sum(1 for line in records if line[0] == n) for n in SIZES}
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "pandas", "statsmodels"))
    spent = sum(line[2] for line in records)
    heads = " | ".join(f"{n} models, {tables[n]} tables" for n in SIZES)
    lines = [
        "# Coverage of the intervals",
        "",
        f"{versions}; {processor()}; {spent:,.0f} processor seconds, on {os.cpu_count()} cores shared with others.",
        "",
        "Share of 95 % intervals that hold the truth, in simulated tables of runs of two checkpoints (correlated 0.9),",
        f"three defenses, two architectures and two batch sizes; {BOOTSTRAP} bootstrap draws. *weak* and *strong* are",
        f"two measures of the gap. The truth is the mean estimate of {LARGE_TABLES} tables of {LARGE:,} models; of the",
        f"quantities that depend on the size of the table ({', '.join(BY_SIZE)}) it is the mean of all",
        "tables of this size. In brackets the share of tables that have the interval, where it is not all of them.",
        "A share p is known to within 2 sqrt(p (1 - p) / tables); levels and settings of one kind count together.",
        "",
        f"| interval | measure | {heads} |",
        "|---|---|" + "---|" * len(SIZES),
    ]
    for (statistic, measure), by_size in counts.items():
        if any(given for given, _, _ in by_size.values()):
            cells = " | ".join(_cell(by_size.get(n)) for n in SIZES)
            lines.append(f"| {statistic} | {measure} | {cells} |")
    RESULT.write_text("\n".join([*lines, ""]), encoding="utf-8")
    sys.stdout.write(RESULT.read_text(encoding="utf-8"))


def _cell(counts: tuple[int, int, int] | None) -> str:
    if counts is None or not counts[0]:
        return "none given"
    given, of, held = counts
    return f"{held / given:.1%}" + ("" if given == of else f" ({given / of:.0%})")


def main() -> None:
    """Find what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=Path("build") / "coverage.jsonl", help="what was found")
    parser.add_argument("--page", action="store_true", help="simulate nothing more; write the page of what is known")
    options = parser.parse_args()
    if not options.page:
        keep(options.records)
    write(_records(options.records))


if __name__ == "__main__":
    main()
