"""Write the tables and figures of the digits study's data card (README.md) from the files beside it.

python data/digits-study/card.py
"""

from pathlib import Path

from measurebench.studies import Card, Change

CARD = Card(
    Path(__file__).parent,
    settings=(
        "architecture",
        "defense",
        "setting_steps",
        "setting_optimizer",
        "setting_batch_size",
        "setting_augmentation",
        "setting_extra_data",
        "setting_early_stopping",
    ),
    changes=(
        Change("setting_optimizer", "SGD", "AWP", "AWP instead of SGD"),
        Change("setting_early_stopping", False, True, "best checkpoint instead of the last"),
        Change("setting_augmentation", False, True, "with augmentation"),
        Change("setting_extra_data", False, True, "with extra data"),
        Change("setting_steps", 1, 10, "10 attack steps instead of 1"),
        Change("setting_batch_size", 32, 128, "batches of 128 instead of 32"),
    ),
)

if __name__ == "__main__":
    CARD.write()
