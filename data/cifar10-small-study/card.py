"""Write the tables and figures of the small CIFAR-10 study's data card (README.md) from the files beside it.

python data/cifar10-small-study/card.py
"""

from pathlib import Path

import pandas as pd

from measurebench.studies import Card, Change
from measurebench.studies.figures import (
    carried,
    images,
    measured_on,
    software,
    told_apart,
    training_time,
    typical_gaps,
)

HERE = Path(__file__).parent
DIGITS = HERE.parent / "digits-study" / "models.parquet"


def both_gaps() -> str:
    """Return the median gap of AT without augmentation and AWP here and on digits."""
    digits = pd.read_parquet(DIGITS)
    here, there = typical_gaps(CARD.models), typical_gaps(digits)
    return (
        f"the median gap of AT without augmentation, AWP and extra data, at the last epoch, is {here:+.3f} here, "
        f"and {there:+.3f} in the digits study ({digits['n_train'].max():.0f} training images)"
    )


def repeated() -> str:
    """Return how many rows hold the same weights as an earlier row."""
    return f"{int(CARD.models['file_sha256'].duplicated().sum())}"


CARD = Card(
    HERE,
    settings=(
        "architecture",
        "defense",
        "setting_optimizer",
        "setting_augmentation",
        "setting_early_stopping",
    ),
    changes=(
        Change("setting_optimizer", "SGD", "AWP", "AWP instead of SGD"),
        Change("setting_early_stopping", False, True, "best checkpoint instead of the last"),
        Change("setting_augmentation", False, True, "with augmentation"),
        Change("architecture", "cnn-small", "resnet-8-stride2", "residual network instead of the plain one"),
    ),
    more={
        "images": lambda: images(HERE),
        "measured_on": lambda: measured_on(CARD.models),
        "gaps": both_gaps,
        "training_time": lambda: training_time(HERE),
        "software": lambda: software(HERE),
        "repeated": repeated,
        "told_apart": lambda: told_apart(HERE / "verdicts.parquet"),
        "carried": lambda: carried(HERE),
    },
)

if __name__ == "__main__":
    CARD.write()
