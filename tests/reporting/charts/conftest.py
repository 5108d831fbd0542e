"""A study in which every chart has something to draw, and a small leaderboard written by hand."""

import numpy as np
import pandas as pd
import pytest

from measurebench.reporting.leaderboard.leaderboard_page import prepared
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.conftest import KEPT
from tests.reporting.synthetic import MEASURES, infos, study_table

SETTINGS = ("setting_augmentation", "setting_batch_size", "architecture", "defense")


def wide_table() -> pd.DataFrame:
    """Return 72 models, three in every cell of the grid of settings, with six measures.

    The numbers of images are left out, so that every pair of models counts in the sign error.
    """
    table = study_table(72)
    unused = [name for name in MEASURES if name not in KEPT]
    return table.drop(columns=[*unused, "n_train", "n_test"])


@pytest.fixture(scope="package")
def wide() -> Study:
    """Return the study of that table."""
    table = wide_table()
    return Study.of("wide", table, analyze(table, bootstrap=60, permutations=4999, infos=infos()), infos=infos())


ENTRIES = (
    # id, paper, clean, AutoAttack, reported, best known, data, parameters, venue, kind, year
    ("Alpha_L", "A", 0.95, 0.70, 0.71, 0.70, "synthetic images", 200e6, "ICML", "conference or journal", 2024),
    ("Alpha_S", "A", 0.92, 0.66, 0.66, 0.66, "synthetic images", 11e6, "ICML", "conference or journal", 2024),
    ("Beta", "B", 0.89, 0.66, 0.69, 0.60, "extra real images", 36e6, "arXiv", "preprint", 2023),
    ("Gamma", "C", 0.96, 0.60, 0.68, 0.59, "extra real images", 50e6, "ICLR", "conference or journal", 2022),
    ("Delta", "D", 0.85, 0.55, 0.50, 0.55, "CIFAR-10 only", 11e6, "ICLR", "conference or journal", 2020),
    ("Epsilon", "E", 0.83, 0.50, None, 0.50, "CIFAR-10 only", None, "arXiv", "preprint", 2021),
    ("Zeta", "F", 0.94, 0.05, 0.55, 0.01, "not stated", 36e6, "ICML", "conference or journal", 2019),
)
NAMES = (
    *("model_id", "paper", "clean_accuracy", "autoattack_accuracy", "reported_accuracy", "best_known_accuracy"),
    *("training_data", "n_parameters", "venue_name", "published_in", "year"),
)


@pytest.fixture(scope="package")
def board() -> pd.DataFrame:
    """Return seven entries of six papers as the leaderboard's charts take them."""
    table = pd.DataFrame(ENTRIES, columns=list(NAMES))
    for name in ("reported_accuracy", "n_parameters"):
        table[name] = pd.to_numeric(table[name])
    table = table.assign(
        paper_key=table["paper"],
        venue=table["venue_name"],
        unreliable=None,
        in_zoo=True,
        dataset="cifar10",
        norm="Linf",
        robust_accuracy=table["best_known_accuracy"],
        architecture="WRN",
        x_grad_norm_pgd=[1.0, 2.0, 3.0, 5.0, 4.0, np.nan, 8.0],
    )
    return prepared(table)
