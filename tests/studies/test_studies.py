"""Publishing a study: a small one on digits, from training to the card, with numbers that can be counted by hand."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

import measurebench
from measurebench.core.errors import BadInputError
from measurebench.datasets import load_dataset
from measurebench.store.formats.croissant import croissant
from measurebench.studies import Card, Change, Publication, publish_study
from measurebench.studies.card import paired
from measurebench.studies.collect import write_comparison_table, write_image_counts, write_test_verdicts
from measurebench.studies.figures import (
    carried,
    images,
    measured_on,
    ranked_in_pairs,
    software,
    told_apart,
    training_time,
    typical_gaps,
)
from measurebench.training.fleet import Source, train_all
from measurebench.training.grid import expand

GRID = {
    "settings": {"epochs": 1, "steps": 1, "evaluation_examples": 10, "architecture_kwargs": {"width": 4}},
    "axes": {"defense": ["Standard", "AT"], "checkpoint": ["last", "best"]},
    "rules": [{"when": {"defense": "Standard"}, "drop": ["steps"]}],
}
SETTINGS = ("architecture", "defense", "setting_augmentation", "setting_early_stopping")
CHANGE = Change("setting_augmentation", False, True, "with augmentation")
README = """# A tiny study

Two runs of one epoch: <!-- n_models --><!-- end --> checkpoints of <!-- n_runs --><!-- end --> runs.

Images: <!-- images --><!-- end -->. Measured on <!-- measured_on --><!-- end -->.

<!-- methods -->
<!-- end -->
<!-- autoattack -->
<!-- end -->
<!-- changes -->
<!-- end -->
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A study of two runs, trained, measured and published."""
    place = tmp_path_factory.mktemp("made")
    trained, folder = place / "trained", place / "tiny-study"
    planned = expand(GRID, "digits", "grid")
    train_all(planned, Source("digits"), trained)
    measurebench.run(
        [str(trained)],
        "digits",
        trained / "records",
        measures="num_params,average_ce_pgd",
        train_examples=50,
        test_examples=50,
        autoattack_examples=5,
        workers=1,
    )
    folder.mkdir()
    (folder / "README.md").write_text(README)
    publish_study(Publication(folder, planned, lambda run: run.config.defense == "AT"), trained)
    return folder


def card(folder: Path) -> Card:
    found: Card = Card(
        folder,
        SETTINGS,
        (CHANGE,),
        {"images": lambda: images(folder), "measured_on": lambda: measured_on(found.models)},
    )
    return found


def test_every_file_of_the_study_is_written(made: Path) -> None:
    models = pd.read_parquet(made / "models.parquet")
    assert len(models) == 4
    assert len(pd.read_csv(made / "runs.csv")) == 2
    assert set(pd.read_parquet(made / "curves.parquet")["run"]) == set(models["run"])
    counts = pd.read_csv(made / "autoattack.csv").set_index("model_id")
    assert set(counts["n"]) == {5}
    found = counts["autoattack"] / counts["n"]
    np.testing.assert_allclose(found, models.set_index("model_id")["autoattack_accuracy_test"].loc[counts.index])
    assert {"claim", "verdict"} <= set(pd.read_csv(made / "claims.csv").columns)
    assert (made / "fragility.csv").is_file()


def test_only_the_chosen_weights_are_kept_and_they_load(made: Path) -> None:
    rows = measurebench.list_models(str(made))
    assert [row["defense"] for row in rows] == ["AT"] * 2
    assert len(list((made / "weights").glob("*.safetensors"))) == 3


def test_the_card_is_computed_from_the_files(made: Path) -> None:
    data = load_dataset("digits")
    write_image_counts(made, data, held_out=50)
    card(made).write()
    text = (made / "README.md").read_text()
    assert "<!-- n_models -->4<!-- end --> checkpoints of <!-- n_runs -->2<!-- end --> runs" in text
    assert "500 training images, of which 50 are held out to choose the best checkpoint, and 940 test images" in text
    assert "50 training and 50 test images; AutoAttack on 5 test images of 4 models" in text
    assert "| Standard | 2 |" in text
    assert card(made).filled(text) == text
    assert "2 runs took" in training_time(made)
    assert "device cpu" in software(made)


def test_croissant_of_the_study_names_every_table_and_column(made: Path) -> None:
    found = croissant(made)
    assert found["name"] == "tiny-study"
    assert found["description"].startswith("A tiny study. Two runs of one epoch: ")
    models = next(each for each in found["recordSet"] if each["name"] == "models")
    assert [field["name"] for field in models["field"]] == list(pd.read_parquet(made / "models.parquet").columns)


def test_a_study_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    planned = expand(GRID, "digits", "grid")
    with pytest.raises(BadInputError, match="a finished run of the 2 of the grid"):
        publish_study(Publication(tmp_path, planned, lambda _: True), tmp_path)


def test_verdicts_that_are_gone_are_an_error(made: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    shutil.copytree(made.parent / "trained" / "records", records)
    shutil.rmtree(records / "examples")
    planned = expand(GRID, "digits", "grid")
    with pytest.raises(BadInputError, match="verdicts of pgd"):
        publish_study(Publication(tmp_path, planned, lambda _: False), made.parent / "trained", records)


def test_verdicts_are_published_and_rank_the_models(made: Path, tmp_path: Path) -> None:
    table = write_test_verdicts(made.parent / "trained" / "records", tmp_path)
    assert table.groupby("model_id")["robust"].count().tolist() == [5] * 4
    counts = pd.read_csv(made / "autoattack.csv").set_index("model_id")["autoattack"]
    assert table.groupby("model_id")["robust"].sum().to_dict() == counts.to_dict()
    lines = ranked_in_pairs(tmp_path / "verdicts.parquet")
    assert len(lines) == 2 + 4
    best = counts.sort_index().idxmax()
    right = pd.read_csv(made / "autoattack.csv").set_index("model_id").loc[best, "clean"]
    assert lines[2].startswith(f"| 1 | 1 | {best} | {right} | {counts.max()} |")
    assert told_apart(tmp_path / "verdicts.parquet").startswith("on 5 images, 4 models in 1 tier")


def models(gaps: list[float]) -> pd.DataFrame:
    """Two runs with and without augmentation, two checkpoints each; the gaps in this order."""
    rows = [
        {"architecture": run, "setting_augmentation": augmented, "setting_early_stopping": best}
        for run in ("a", "b")
        for augmented in (False, True)
        for best in (False, True)
    ]
    return pd.DataFrame(rows).assign(defense="AT", setting_optimizer="SGD", robust_gap_pgd=gaps)


def test_a_change_is_the_mean_over_runs_of_the_mean_over_checkpoints() -> None:
    """Run a: 0.1 - 0.3 and 0.1 - 0.5 give -0.3; run b: 0.2 - 0.3 twice gives -0.1. Mean -0.2, deviation 0.1414.

    The 97.5 % point of Student's distribution with one degree of freedom (Cauchy's) is tan(0.475 pi) = 12.706.
    """
    table = models([0.3, 0.5, 0.1, 0.1, 0.3, 0.3, 0.2, 0.2])
    told, n = paired(table, SETTINGS, CHANGE, "robust_gap_pgd")
    assert n == 2
    mean, error = map(float, told.split(" ± "))
    assert mean == pytest.approx(-0.2)
    assert error == pytest.approx(np.tan(0.475 * np.pi) * np.sqrt(0.02) / np.sqrt(2), abs=1e-4)


def test_the_interval_of_a_change_of_six_pairs_is_that_of_the_t_test() -> None:
    generator = np.random.default_rng(0)
    rows = [{"architecture": f"run {k}", "setting_augmentation": on} for k in range(6) for on in (False, True)]
    gaps = generator.normal(0.1, 0.05, 12)
    table = pd.DataFrame(rows).assign(robust_gap_pgd=gaps)
    told, n = paired(table, ("architecture", "setting_augmentation"), CHANGE, "robust_gap_pgd")
    low, high = ttest_1samp(gaps[1::2] - gaps[::2], 0).confidence_interval(0.95)
    assert (n, told) == (6, f"{(low + high) / 2:+.4f} ± {(high - low) / 2:.4f}")


def test_a_change_that_no_model_shows_says_so() -> None:
    table = models([0.1] * 8)
    assert paired(table.query("setting_augmentation"), SETTINGS, CHANGE, "robust_gap_pgd") == ("too few pairs", 0)


def test_the_typical_gap_is_that_of_plain_training_at_its_end() -> None:
    assert typical_gaps(models([0.3, 9, 9, 9, 0.1, 9, 9, 9])) == pytest.approx(0.2)


def test_what_carries_over_is_told_measure_by_measure(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gap = rng.normal(size=40)
    first = pd.DataFrame({"model_id": [f"m{i}" for i in range(40)], "robust_gap_pgd": gap, "path_norm": gap})
    first.to_parquet(tmp_path / "first.parquet")
    first.assign(path_norm=-gap).to_parquet(tmp_path / "models.parquet")
    write_comparison_table(tmp_path / "first.parquet", tmp_path)
    told = next(row for row in carried(tmp_path) if "path_norm" in row)
    assert told.endswith("| the sign is the opposite; differs |")
