"""Print which checkpoints of the digits study AutoAttack is run on, one id a line: python data/digits-study/sample.py.

A stratified tenth, drawn without a look at what was measured: of the 64 checkpoints of each architecture, objective and
number of attack steps, the seven whose id has the smallest SHA-256.
"""

from collections import defaultdict
from hashlib import sha256

from measurebench.core.paths import data_folder
from measurebench.training.grid import read_grid

PER_CELL = 7


def sample() -> list[str]:
    """Return the ids of the sampled checkpoints, in the order of their names."""
    cells: defaultdict[tuple[str, str, int], list[str]] = defaultdict(list)
    for run in read_grid(data_folder("digits", "study.toml"), "digits"):
        cell = run.config.architecture, run.config.defense, 0 if run.config.defense == "Standard" else run.config.steps
        cells[cell] += [f"{run.name}-{checkpoint}" for checkpoint in run.checkpoints]
    return sorted(name for ids in cells.values() for name in sorted(ids, key=_drawn)[:PER_CELL])


def _drawn(model_id: str) -> str:
    return sha256(model_id.encode()).hexdigest()


if __name__ == "__main__":
    print("\n".join(sample()))
