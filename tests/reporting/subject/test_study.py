"""What the statistics do not rest on stays out of headline and charts, and is listed with the reason."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from measurebench.core.infos import measure_infos
from measurebench.core.origins import Origin
from measurebench.reporting.charts import accuracies, gap, scatter
from measurebench.reporting.study.finding import finding
from measurebench.reporting.study.study_page import study_page
from measurebench.reporting.subject.study import Study, load_study
from measurebench.stats import analyze
from measurebench.store.recorded_infos import add_infos, write_infos_beside
from tests.reporting.study.test_study_page import data_of
from tests.reporting.synthetic import study_table

QUICK: dict[str, Any] = {"bootstrap": 20, "permutations": 19, "measures": ["x_grad_norm_pgd", "local_lip"]}


@pytest.fixture(scope="module")
def only_at() -> Study:
    table = study_table(36)
    table.loc[0, ["robust_gap_pgd", "reason"]] = [float("nan"), "OutOfMemoryError"]
    return Study.of("filtered", table, analyze(table, where='defense == "AT"', **QUICK))


def test_a_filter_leaves_its_models_out_of_headline_and_charts(only_at: Study) -> None:
    n = only_at.analysis.n_models
    assert n == 12
    assert len(only_at.measured) == n
    assert f"over {n} models" in finding(only_at).lead
    assert only_at.defenses == ("all models",)
    assert "TRADES" not in gap.figure(only_at).title + gap.figure(only_at).summary
    shown = accuracies.figure(only_at)
    assert shown
    assert f"of {n} models" in shown.title
    assert int(scatter.figure(only_at, "local_lip").data["models"]["_target"].notna().sum()) == n


def test_the_page_holds_no_target_for_a_model_that_a_filter_left_out(only_at: Study) -> None:
    models = data_of(study_page(only_at))["datasets"]["models"]
    assert "_target" not in models.get("aliases", {})
    assert sum(value is not None for value in models["columns"]["_target"]) == 12
    assert sum(value is not None for value in models["columns"]["robust_gap_pgd"]) == 35


def test_the_reason_of_a_filter_wins_over_the_one_in_the_table(only_at: Study) -> None:
    told = only_at.left_out
    assert len(told) == 24
    assert set(told.values()) == {'does not meet defense == "AT"'}


def test_models_without_an_attack_in_training_can_be_left_out() -> None:
    table = study_table(36)
    study = Study.of("x", table, analyze(table, exclude_standard=True, **QUICK))
    assert study.defenses == ("AT", "TRADES")
    assert len(study.measured) == study.analysis.n_models == 20


def test_a_row_that_came_twice_counts_once() -> None:
    table = study_table(24)
    table = pd.concat([table, table.iloc[[3]]], ignore_index=True)
    study = Study.of("x", table, analyze(table, **QUICK))
    assert len(study.measured) == study.analysis.n_models == 24
    assert study.table["_target"].notna().tolist() == [True] * 24 + [False]


def test_rows_are_named_as_the_analysis_names_them() -> None:
    table = study_table(24).rename(columns={"model_id": "name"})
    study = Study.of("x", table, analyze(table, where='defense != "AT"', **QUICK))
    assert len(study.measured) == study.analysis.n_models == 16


def test_rare_defenses_are_counted_among_the_models_that_are_kept() -> None:
    table = study_table(36)
    table["defense"] = ["AT"] * 12 + ["TRADES"] * 12 + [f"other{i}" for i in range(12)]
    kept = 'defense == "AT" or defense == "TRADES"'
    study = Study.of("x", table, analyze(table, where=kept, **QUICK))
    assert study.defenses == ("AT", "TRADES")


def test_a_written_page_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from measurebench.core.errors import BadInputError
    from measurebench.reporting.html.shell import write_text

    path = write_text(tmp_path / "page" / "index.html", "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BadInputError, match="No space left"):
        write_text(path, "new and longer")
    assert path.read_text() == "old"
    assert [each.name for each in path.parent.iterdir()] == ["index.html"]


def test_a_third_party_measure_is_called_by_its_title_without_its_package(tmp_path: Path) -> None:
    table = study_table(24).rename(columns={"local_lip": "mine"})
    table.to_csv(tmp_path / "models.csv", index=False)
    (tmp_path / "records").mkdir()
    info = replace(measure_infos()["local_lip"], id="mine", title="Mine", variants={})
    add_infos(tmp_path / "records", [(info, Origin("other-package", "1.0"))])
    write_infos_beside(tmp_path / "models.csv", [tmp_path / "records"])
    study = load_study(tmp_path / "models.csv", options=QUICK | {"measures": ["mine", "x_grad_norm_pgd"]})
    assert study.infos["mine"] == info
    assert set(study.infos) > {"mine", "x_grad_norm_pgd"}


def test_a_radius_of_a_table_is_shown_as_a_fraction() -> None:
    table = study_table(24, 3).assign(radius=2 / 255)
    study = Study.of("x", table, analyze(table, bootstrap=20, permutations=19))
    page = study_page(study)
    assert "radius 2/255" in page
    assert "0.00784" not in page
