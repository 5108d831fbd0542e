"""Write the digits study's published files beside this one: python data/digits-study/collect.py STUDY.

STUDY is what `measurebench train` filled, with its results folder in records/. Everything but the data card is
written: models.parquet, models.csv, autoattack.csv, runs.csv, curves.parquet, claims.csv, fragility.csv and the chosen
runs with their weights.
"""

import sys
from pathlib import Path

from measurebench.studies import Publication, publish_study
from measurebench.training.grid import PlannedTraining, read_grid

HERE = Path(__file__).parent
GRID = HERE.parent / "digits" / "study.toml"


def chosen(run: PlannedTraining) -> bool:
    """Say whether a run's weights are published: one batch size, 10 attack steps, no augmentation, no extra data."""
    config = run.config
    plain = config.batch_size == 64 and not config.augmentation and not config.extra_data
    return plain and (config.defense == "Standard" or config.steps == 10)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    publish_study(Publication(HERE, read_grid(GRID, "digits"), chosen), Path(sys.argv[1]))
