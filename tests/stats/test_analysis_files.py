"""An analysis on disk and back."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from measurebench.core.errors import BadInputError
from measurebench.stats import Analysis, FilterStep, analyze, read_analysis, write_analysis
from measurebench.stats.analysis import TABLES
from measurebench.stats.analysis_files import FORMAT, to_json
from tests.stats.tables import grid


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    table = grid()
    table.loc[0, "robust_gap_pgd"] = np.nan
    return analyze(table, bootstrap=20, permutations=19, model="AT-plain-False-64-last")


def test_every_part_comes_back(analysis: Analysis, tmp_path: Path) -> None:
    write_analysis(analysis, tmp_path)
    again = read_analysis(tmp_path)
    for each in fields(Analysis):
        before, after = getattr(analysis, each.name), getattr(again, each.name)
        if isinstance(before, pd.DataFrame):
            pd.testing.assert_frame_equal(after, before, check_dtype=False)
        else:
            assert after == before, each.name


def test_numbers_come_back_as_numbers_and_truth_values_as_such(analysis: Analysis, tmp_path: Path) -> None:
    write_analysis(analysis, tmp_path)
    again = read_analysis(tmp_path)
    for name in ("estimate", "ci_low", "p_adjusted", "n_models"):
        assert pd.api.types.is_numeric_dtype(again.correlations[name].dtype)
    assert set(again.environments["kept"]) <= {True, False}
    assert again.standing["model_id"].unique().tolist() == ["AT-plain-False-64-last"]


def test_the_csv_files_hold_the_tables_with_empty_fields_for_missing_numbers(
    analysis: Analysis, tmp_path: Path
) -> None:
    paths = write_analysis(analysis, tmp_path / "made" / "here")
    assert [path.name for path in paths] == ["correlations.csv", "regressions.csv", "analysis.json"]
    text = pd.read_csv(paths[0], keep_default_na=False, dtype=str)
    assert tuple(text.columns) == (*TABLES["correlations"], "control")
    text = text[text["control"] == "False"]
    missing = analysis.correlations["p_value"].isna()
    assert (text.loc[missing.to_numpy(), "p_value"] == "").all()
    # Every digit: a number read back is the same number.
    known = ~missing
    assert (text.loc[known, "p_value"].astype(float) == analysis.correlations.loc[known, "p_value"]).all()
    assert b"\r" not in paths[0].read_bytes()


def test_missing_and_infinite_numbers_are_null(analysis: Analysis) -> None:
    odd = {"a": float("nan"), "b": [np.inf, np.float32(1.5)], "c": (pd.NA, np.bool_(True)), 4: None}
    plain = to_json(replace(analysis, gap_error=odd))["gap_error"]
    assert plain == {"a": None, "b": [None, 1.5], "c": [None, True], "4": None}
    json.dumps(plain, allow_nan=False)


def test_filters_are_written_with_the_models_that_they_left_out(analysis: Analysis, tmp_path: Path) -> None:
    write_analysis(analysis, tmp_path)
    step = read_analysis(tmp_path).filters[1]
    assert step == FilterStep("no target", 48, 47, (("AT-plain-False-64-best", "no robust_gap_pgd"),))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "an analysis as JSON"),
        ("[]", f"an analysis of format {FORMAT}, got 'list'; another version wrote it"),
        ('{"format": 99}', f"an analysis of format {FORMAT}, got 99"),
        (f'{{"format": {FORMAT}}}', "every part of an analysis, got KeyError: 'target'"),
    ],
)
def test_what_is_no_analysis_is_refused_in_words(content: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "analysis.json").write_text(content)
    with pytest.raises(BadInputError, match="analysis.json") as caught:
        read_analysis(tmp_path)
    assert expected in str(caught.value)


def test_a_damaged_table_is_refused(analysis: Analysis, tmp_path: Path) -> None:
    plain = to_json(analysis)
    plain["correlations"][0]["estimate"] = "much"
    (tmp_path / "analysis.json").write_text(json.dumps(plain))
    with pytest.raises(BadInputError, match="every part of an analysis, got ValueError"):
        read_analysis(tmp_path)


def test_a_folder_without_an_analysis_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such file; run `measurebench analyze` first"):
        read_analysis(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(analysis: Analysis, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="a folder that can be written"):
        write_analysis(analysis, tmp_path / "file")


def test_an_analysis_made_of_nothing_has_empty_tables_with_their_columns() -> None:
    empty = Analysis("gap", (), (), None, "model_id", 0, 0)
    for name, columns in TABLES.items():
        table = getattr(empty, name)
        assert tuple(table.columns) == columns
        assert table.empty


def test_rows_are_selected_by_statistic_axis_and_level(analysis: Analysis) -> None:
    assert analysis.select("tau_within", "defense", "AT")["level"].unique().tolist() == ["AT"]
    assert len(analysis.select("tau_within", "defense")) == 9
    assert analysis.select("tau_b")["axis"].unique().tolist() == [""]
    inside = analysis.select_within("signal", "defense")
    assert inside["level"].tolist() == ["AT", "MART", "TRADES"]
    assert len(analysis.select_within("signal")) > len(inside)
    ranked = analysis.ranking()["estimate"].abs()
    assert ranked.is_monotonic_decreasing


def test_the_json_is_that_of_the_standard_encoder_with_an_indent_of_one(analysis: Analysis, tmp_path: Path) -> None:
    write_analysis(analysis, tmp_path)
    text = (tmp_path / "analysis.json").read_text(encoding="utf-8")
    assert text == json.dumps(to_json(analysis), indent=1) + "\n"
