"""The small CIFAR-10 study: its scripts fit its grid, and its files fit each other."""

import json
import re
import runpy
from typing import Any

import pandas as pd

from measurebench.core.paths import data_folder
from measurebench.models import resolve
from measurebench.store.formats.croissant import croissant
from measurebench.training.grid import read_grid

FOLDER = data_folder("cifar10-small-study")
PLANNED = read_grid(FOLDER / "study.toml", "cifar10")


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / f"{name}.py"))


def test_the_card_compares_settings_that_the_grid_varies() -> None:
    card = script("card")["CARD"]
    for change in card.changes:
        name = change.setting.removeprefix("setting_")
        if name != "early_stopping":
            assert {change.before, change.after} <= {getattr(run.config, name) for run in PLANNED}
    assert {change.setting for change in card.changes} <= set(card.settings)


def test_every_mark_of_the_card_is_filled_by_a_maker() -> None:
    card = script("card")["CARD"]
    marks = set(re.findall(r"<!-- (\w+) -->", card.file.read_text())) - {"end"}
    known = {"n_models", "n_runs", "methods", "changes", "autoattack", "growth", "claims"}
    assert set(card.more) <= marks
    assert marks <= {*card.more, *known, "failed", "unlearned", "one_error"}


def test_the_weights_of_some_residual_networks_are_published() -> None:
    chosen = [run for run in PLANNED if script("collect")["chosen"](run)]
    assert 0 < len(chosen) < len(PLANNED)
    assert {run.config.architecture for run in chosen} == {"resnet-8-stride2"}


def test_the_rows_are_checkpoints_of_the_grid() -> None:
    table = pd.read_parquet(FOLDER / "models.parquet")
    assert table["model_id"].is_unique
    assert set(table["model_id"]) <= {f"{run.name}-{which}" for run in PLANNED for which in run.checkpoints}
    assert len(table) >= 48
    text = pd.read_csv(FOLDER / "models.csv")
    assert list(text.columns) == list(table.columns)
    assert list(text["model_id"]) == list(table["model_id"])


def test_the_data_card_and_the_metadata_are_those_of_the_files() -> None:
    card = script("card")["CARD"]
    assert card.filled(card.file.read_text()) == card.file.read_text()
    kept = json.loads((FOLDER / "croissant.json").read_text())
    assert {name: value for name, value in kept.items() if name != "datePublished"} == croissant(FOLDER)


def test_the_published_weights_are_those_of_the_table() -> None:
    table = pd.read_parquet(FOLDER / "models.parquet").set_index("model_id")
    for spec in resolve([str(FOLDER)]):
        assert spec.file_sha256 == table.loc[spec.id, "file_sha256"]
