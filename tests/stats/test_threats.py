"""Threat models are never mixed, and of several configurations of a model the latest counts."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.reporting.study.study_page import sections, study_page
from measurebench.reporting.subject.study import Study, load_study
from measurebench.stats import Analysis, analyze
from measurebench.stats.population.threats import of_radius, radii_in, superseded
from tests.reporting.synthetic import study_table

QUICK: dict[str, Any] = {"bootstrap": 20, "permutations": 19}


def two_radii() -> pd.DataFrame:
    """Return 24 models at 2/255 and at 8/255, where every accuracy on test images under attack is 0.2 lower."""
    near = study_table(24, 3).assign(radius=2 / 255, config_digest="near")
    far = near.assign(radius=8 / 255, config_digest="far", pgd_accuracy_test=near["pgd_accuracy_test"] - 0.2)
    far["robust_gap_pgd"] = far["pgd_accuracy_train"] - far["pgd_accuracy_test"]
    return pd.concat([far, near]).sort_values("model_id", kind="stable", ignore_index=True)


def correlations(analysis: Analysis) -> str:
    return str(analysis.correlations.to_csv())


def test_several_threat_models_are_refused_with_their_names_and_what_to_do() -> None:
    with pytest.raises(BadInputError) as caught:
        analyze(two_radii(), **QUICK)
    told = str(caught.value)
    assert "expected models of one radius, got 8/255 for 24 models, 2/255 for 24 models" in told
    assert "--radius" in told
    mixed = study_table(24, 3)
    mixed.loc[:3, "norm"] = "L2"
    with pytest.raises(BadInputError, match="expected models of one norm, got Linf for 20 models, L2 for 4 models"):
        analyze(mixed, **QUICK)
    assert analyze(mixed, where='norm == "Linf"', **QUICK).n_models == 20


@pytest.mark.parametrize("radius", ["8/255", 8 / 255, "0.03137254901960784"])
def test_a_radius_leaves_the_analysis_of_its_rows_alone(radius: str | float) -> None:
    whole = two_radii()
    alone = whole[whole["config_digest"] == "far"].reset_index(drop=True)
    found, expected = analyze(whole, radius=radius, **QUICK), analyze(alone, **QUICK)
    assert correlations(found) == correlations(expected)
    (step,) = [step for step in found.filters if step.name == "radius"]
    assert (step.n_before, step.n_after) == (48, 24)


def test_a_radius_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInputError, match="expected one of the table's radii: 2/255, 8/255, got '4/255'"):
        analyze(two_radii(), radius="4/255", **QUICK)
    with pytest.raises(BadInputError, match="expected a table with a column radius"):
        of_radius(pd.DataFrame({"model_id": ["a"]}), "8/255")


def test_of_several_configurations_at_one_radius_the_first_row_counts() -> None:
    latest = study_table(24, 3).assign(config_digest="new")
    earlier = latest.assign(config_digest="old", robust_gap_pgd=latest["robust_gap_pgd"] + 0.3)
    table = pd.concat([latest, earlier]).sort_values("model_id", kind="stable", ignore_index=True)
    assert len(superseded(table)) == 24
    found = analyze(table, **QUICK)
    assert correlations(found) == correlations(analyze(latest, **QUICK))
    study = Study.of("x", table, found)
    assert set(study.table["config_digest"]) == {"new"}
    assert len(study.measured) == 24
    assert study.left_out == {}


def test_radii_of_a_table_are_ordered_and_each_named_once() -> None:
    found = radii_in(pd.DataFrame({"radius": ["8/255", 8 / 255, 0.5, None, "2/255", "none"]}))
    assert found == ["2/255", "8/255", "0.5"]
    assert radii_in(pd.DataFrame({"model_id": ["a"]})) == []


def test_a_radius_and_its_rounded_decimal_are_one_radius_and_0_031_is_another() -> None:
    table = study_table(24, 3).assign(radius=[8 / 255, 0.0314] * 12)
    assert analyze(table, **QUICK).n_models == 24
    with pytest.raises(BadInputError, match=r"got (0.031|8/255) for 12 models, (8/255|0.031) for 12 models"):
        analyze(table.replace({"radius": {0.0314: 0.031}}), **QUICK)


def test_the_page_of_one_radius_shows_its_rows_and_the_curve_over_all() -> None:
    table = two_radii()
    study = load_study(table, options={"radius": "2/255", **QUICK})
    assert len(study.table) == len(study.measured) == 24
    assert study.left_out == {}
    assert set(study.table["radius"]) == {"2/255"}
    (figure,) = [figure for section in sections(study) for figure in section.figures if figure.id == "radius"]
    rows = figure.data["radii"]
    one = rows[rows["model_id"] == rows["model_id"].iloc[0]]
    assert one["radius"].tolist() == ["0", "2/255", "8/255"]
    assert one["_radius"].tolist() == [0, 2 / 255, 8 / 255]
    own = table[table["model_id"] == one["model_id"].iloc[0]].set_index("config_digest")["pgd_accuracy_test"]
    assert one["accuracy"].tolist() == pytest.approx([0.95, own["near"], own["far"]])
    assert "From radius 2/255 to 8/255 median robust accuracy falls" in figure.title
    page = study_page(study)
    assert 'id="radii"' in page
    assert "The rest of this page is about radius 2/255." in page


def test_a_page_of_one_radius_has_no_curve() -> None:
    study = load_study(study_table(24, 3), options=QUICK)
    assert study.sweep is None
    assert "radii" not in {section.id for section in sections(study)}


def test_by_radius_writes_an_analysis_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two_radii().to_csv(tmp_path / "t.csv", index=False)
    arguments = ["analyze", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out"), "--bootstrap", "20"]
    assert run_command_line(arguments) == 2
    assert "analyse each with --by radius" in capsys.readouterr().err
    assert run_command_line([*arguments, "--by", "radius"]) == 0
    for name, radius in (("radius-2-255", "2/255"), ("radius-8-255", "8/255")):
        told = json.loads((tmp_path / "out" / name / "analysis.json").read_text())
        assert told["provenance"]["radius"] == radius
        assert told["n_models"] == 24
    assert run_command_line([*arguments, "--radius", "8/255"]) == 0
    assert (tmp_path / "out" / "analysis.json").exists()
    assert run_command_line([*arguments, "--by", "norm"]) == 2
    assert run_command_line([*arguments, "--by", "radius", "--radius", "8/255"]) == 2
