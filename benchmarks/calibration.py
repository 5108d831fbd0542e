"""How often the judgements are right on simulated tables whose truth is known; writes results/calibration.md.

Run as ``python -m benchmarks.calibration``; stop it at any time. What was found is kept in ``--records`` and the same
command goes on from there. ``--models 24 48 --tables 2000 500`` runs other sizes; ``--page`` only writes the page, with
the verdicts that the present rules give.
"""

import argparse
import itertools
import json
import os
import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.machine import processor
from measurebench.stats.analysis import TABLES, tidy
from measurebench.stats.judging.adjustment import adjusted
from measurebench.stats.judging.significance import with_tests
from measurebench.stats.judging.verdict import Evidence, verdict
from measurebench.stats.population.axes import usable_settings
from measurebench.stats.population.population import read_population
from measurebench.stats.regressions.added import added, added_rows
from measurebench.stats.statistics.cohorts import find
from measurebench.stats.statistics.estimates import Draws
from measurebench.stats.statistics.registry import Question

RESULT = Path(__file__).parent / "results" / "calibration.md"
SIZES = (24, 48, 336, 1344)
BOOTSTRAP, PERMUTATIONS = 500, 1000
GAIN = ("gain", "ci_low", "ci_high")
COMBINATIONS = list(itertools.product(range(3), range(2), range(2)))  # of defense, architecture and batch size
EVIDENCE = ["level", "estimate", "ci_low", "ci_high", "p_value", "p_adjusted"]
EVIDENCE += ["tau_stratified", "stratified_low", "stratified_high"]
DEFENSES, ARCHITECTURES, BATCHES = ("AT", "MART", "TRADES"), ("plain", "wide"), (64, 128)
WITHIN = 0.1  # share of the variance that lies between the two checkpoints of a run

CELLS = {
    "null": "the measure is independent of the gap and of the settings",
    "settings proxy": "the measure is the settings' effect on the gap, and noise of a tenth of its variance",
    "planted 0.3": "tau of 0.3 between measure and gap",
    "planted 0.5": "tau of 0.5 between measure and gap",
    "reversal": "tau of 0.5 inside two defenses, of -0.5 inside the third",
}
ASSOCIATED = {"within_defenses_only", "turns_with_defense", "explained_by_train_accuracy", "tells_settings"}
ASSOCIATED |= {"untested_beside_settings"}
HOLDS = {"holds_everywhere", "holds_overall", "holds_undivided", "holds_untested_inside", "between_defenses_only"}
FALSE = {
    "null": HOLDS | ASSOCIATED,
    "settings proxy": HOLDS | {"turns_with_defense"},
    "planted 0.3": {"small", "turns_with_defense", "between_defenses_only", "tells_settings"},
    "planted 0.5": {"small", "turns_with_defense", "between_defenses_only", "tells_settings"},
    "reversal": {"holds_everywhere", "small"},
}
RIGHT = {
    "null": {"small"},
    "settings proxy": {"tells_settings"},
    "planted 0.3": HOLDS,
    "planted 0.5": HOLDS,
    "reversal": {"turns_with_defense"},
}


def simulated(cell: str, n_models: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return a table of runs of two checkpoints; half of the gap's variance between runs is that of the settings."""
    n_runs = n_models // 2
    codes = np.array([COMBINATIONS[k % len(COMBINATIONS)] for k in range(n_runs)])
    effects = [rng.normal(size=k) for k in (3, 2, 2)]
    by_settings = standard(sum(effect[codes[:, k]] for k, effect in enumerate(effects)))
    run = np.repeat(np.arange(n_runs), 2)
    settings = by_settings[run]
    gap = standard(np.sqrt(0.5) * settings + np.sqrt(0.5) * both_checkpoints(n_runs, rng))
    noise = both_checkpoints(n_runs, rng)
    if cell == "null":
        measure = noise
    elif cell == "settings proxy":
        measure = settings + np.sqrt(0.1) * noise
    else:
        rho = np.sin(np.pi / 2 * (0.3 if cell == "planted 0.3" else 0.5))  # tau of normal variables
        way = np.where(codes[run, 0] == 2, -1.0, 1.0) if cell == "reversal" else 1.0
        measure = way * rho * gap + np.sqrt(1 - rho**2) * noise
    defense = np.array(DEFENSES)[codes[run, 0]]
    table = {"model_id": [f"m{i}" for i in range(n_models)], "run": run, "gap": gap, "m": measure, "defense": defense}
    table |= {
        "architecture": np.array(ARCHITECTURES)[codes[run, 1]],
        "setting_batch_size": np.array(BATCHES)[codes[run, 2]],
    }
    return pd.DataFrame(table | {"setting_stop": np.tile(["best", "last"], n_runs)})


def both_checkpoints(n_runs: int, rng: np.random.Generator) -> np.ndarray:
    between = np.repeat(rng.normal(size=n_runs), 2)
    return np.asarray(np.sqrt(1 - WITHIN) * between + np.sqrt(WITHIN) * rng.normal(size=2 * n_runs))


def standard(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.mean()) / max(1e-12, float(values.std())))


def evidence_of(table: pd.DataFrame, seed: int) -> list[list[Any]]:
    """Return what the verdict of the one measure rests on, by the parts of ``analyze``.

    tau over all models and inside each defense (level, estimate, interval, p, adjusted p, stratified tau and its
    interval), then the gain and its interval.
    """
    names: dict[str, Any] = {"defense": "defense", "run": "run", "cluster": "cluster"}
    population = usable_settings(read_population(table, target="gap", measures=["m"], settings=None, **names))
    draws = Draws.of(population, BOOTSTRAP, PERMUTATIONS, seed)
    found = find(population, draws, Question({}, None, {}, {}), only=("overall", "conditional", "tau_stratified"))
    rows = adjusted(tidy([row.row("m", "gap") for row in found.rows["m"]], TABLES["correlations"]), "defense")
    rows = with_tests(rows, tidy(found.tests(), TABLES["tests"]))
    gains = added_rows(added(population, draws, levels=False))
    inside = (rows["statistic"] == "tau_within") & (rows["axis"] == "defense")
    kept = rows.loc[inside | (rows["statistic"] == "tau_b"), EVIDENCE].round(5).astype(object)
    kept = kept.where(kept.notna(), None)
    gain = [round(float(gains["m"][name]), 5) for name in GAIN]
    return [*kept.to_numpy(dtype=object).tolist(), gain]


def judged(n_models: int, evidence: list[list[Any]]) -> str:
    """Return the verdict on evidence, by the rules of the judgements."""
    *found, gain = evidence
    units = {"": n_models // 2}
    for k in range(n_models // 2):
        defense = DEFENSES[COMBINATIONS[k % len(COMBINATIONS)][0]]
        units[defense] = units.get(defense, 0) + 1
    rows = [dict(zip(EVIDENCE, map(_number, row), strict=True)) | {"n_models": 2 * units[row[0]]} for row in found]
    return verdict(Evidence(rows[0], rows[1:], None, dict(zip(GAIN, gain, strict=True)), units))[0]


def _number(value: Any) -> Any:
    return float("nan") if value is None else value


def keep(path: Path, tables: Mapping[int, int]) -> None:
    """Analyse the tables of every size that ``path`` lacks, a round over all cells at a time, and append the evidence.

    The tables of each cell have a stream of their own, so that it does not matter in which order they are done.
    """
    known = {(cell, n, k) for cell, n, k, *_ in _records(path)}
    wanted = ((n, k, cell) for n, count in tables.items() for k in range(count) for cell in CELLS)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for n, k, cell in wanted:
            if (cell, n, k) not in known:
                start, rng = time.process_time(), np.random.default_rng([zlib.crc32(cell.encode()), n, k])
                evidence = evidence_of(simulated(cell, n, rng), k)
                file.write(json.dumps([cell, n, k, round(time.process_time() - start, 4), evidence]) + "\n")
                file.flush()


def _records(path: Path) -> list[list[Any]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def row_of(cell: str, n_models: int, verdicts: Counter[str]) -> str:
    """Return a row of the table: shares of false and of right verdicts, and the commonest."""
    n = sum(verdicts.values())
    false, right = (sum(verdicts[v] for v in group[cell]) / n for group in (FALSE, RIGHT))
    shown = sum(verdicts[v] for v in HOLDS | ASSOCIATED) / n
    common = ", ".join(f"{name} {count / n:.0%}" for name, count in verdicts.most_common(4))
    return f"| {cell} | {n_models:,} | {n:,} | {false:.1%} | {right:.1%} | {shown:.1%} | {common} |"


def main() -> None:
    """Analyse what is missing and write the page of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, nargs="+", default=[2000], help="tables per cell; one number per size")
    parser.add_argument("--models", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--records", type=Path, default=Path("build") / "calibration.jsonl", help="what was found")
    parser.add_argument("--page", action="store_true", help="analyse nothing more; write the page of what is known")
    options = parser.parse_args()
    counts = options.tables * len(options.models) if len(options.tables) == 1 else options.tables
    if not options.page:
        keep(options.records, dict(zip(options.models, counts, strict=True)))
    write(_records(options.records))


def write(records: list[list[Any]]) -> None:
    """Write the page of all that is known, smallest tables first."""
    cells: defaultdict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for cell, n, _, _, evidence in records:
        cells[n, cell][judged(n, evidence)] += 1
    order = list(CELLS)
    rows = [row_of(cell, n, cells[n, cell]) for n, cell in sorted(cells, key=lambda key: (key[0], order.index(key[1])))]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join([*_head(sum(r[3] for r in records)), *rows, ""]), encoding="utf-8")
    sys.stdout.write("\n".join([*rows, ""]))


def _head(seconds: float) -> list[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "pandas"))
    return [
        "# Calibration of the judgements",
        "",
        f"{versions}; {processor()}; {seconds:,.0f} processor seconds, on {os.cpu_count()} cores shared with others.",
        "",
        "Each table has runs of two checkpoints (correlated 0.9), three defenses, two architectures, two batch sizes;",
        "half of the variance of the gap between runs is that of the settings. One measure is judged, with",
        f"{BOOTSTRAP} bootstrap draws and {PERMUTATIONS} permutations. The column *tables* says how many tables a row",
        "rests on: a share p is known to within 2 sqrt(p (1 - p) / tables).",
        "",
        *(f"- {name}: {told}" for name, told in CELLS.items()),
        "",
        "*False* are verdicts that say something untrue of the cell (null: any association; settings proxy: that it",
        "holds, or turns; planted: that the association is small, turns, lies between defenses only, or tells what the",
        "settings tell; reversal: that it holds in every defense, or is small). *Right* are: null, small; settings",
        "proxy, tells what the settings tell; planted, holds; reversal, turns. *Shown* are all verdicts that say that",
        "there is an association. What is neither false nor right says that something could not be decided.",
        "",
        "| cell | models | tables | false | right | shown | commonest verdicts |",
        "|---|---|---|---|---|---|---|",
    ]


if __name__ == "__main__":
    main()
