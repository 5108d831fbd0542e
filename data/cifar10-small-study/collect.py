"""Write all files of the small CIFAR-10 study beside this one, from what was trained and measured.

python data/cifar10-small-study/collect.py TRAINED --data-dir DIR [--records DIR]. TRAINED is what `measurebench train
--grid` filled, with the results folder of `measurebench run` in records/ (or where --records says); DIR holds the
images that both read. Written are models.parquet, models.csv, autoattack.csv, verdicts.parquet, runs.csv,
curves.parquet, images.csv, claims.csv, fragility.csv, compared.csv, the chosen runs with their weights, the data card
and its Croissant metadata.
"""

import argparse
import runpy
from pathlib import Path

from measurebench.datasets import load_dataset
from measurebench.store.formats.croissant import write_croissant
from measurebench.studies import Publication, publish_study
from measurebench.studies.collect import write_comparison_table, write_image_counts, write_test_verdicts
from measurebench.training.grid import PlannedTraining, read_grid
from measurebench.training.trainer import fitting_and_validation

HERE = Path(__file__).parent
GRID = HERE / "study.toml"
DIGITS = HERE.parent / "digits-study" / "models.parquet"


def chosen(run: PlannedTraining) -> bool:
    """Say whether a run's weights are published: those of the residual network without augmentation."""
    return run.config.architecture.startswith("resnet") and not run.config.augmentation


def main(trained: Path, records: Path | None, data_dir: Path | None, dataset: str) -> None:
    """Write every file of the study."""
    planned = read_grid(GRID, dataset)
    records = records or trained / "records"
    publish_study(Publication(HERE, planned, chosen), trained, records)
    write_test_verdicts(records, HERE)
    images = load_dataset(dataset, data_dir=data_dir)
    fitted, _ = fitting_and_validation(images, planned[0].config)
    write_image_counts(HERE, images, len(images.train) - len(fitted))
    write_comparison_table(DIGITS, HERE)
    runpy.run_path(str(HERE / "card.py"), run_name="__main__")
    write_croissant(HERE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trained", type=Path, help="what `measurebench train` filled")
    parser.add_argument("--records", type=Path, help="the results folder (default: TRAINED/records)")
    parser.add_argument("--data-dir", type=Path, help="folder of the images")
    given = parser.parse_args()
    main(given.trained, given.records, given.data_dir, "cifar10")
