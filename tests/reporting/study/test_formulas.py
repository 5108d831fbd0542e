"""The section on methods states what was done and where the numbers come from, and nothing that is not known."""

from typing import Any

import pandas as pd
import pytest

from measurebench.reporting.study.methods import glossary, limits, methods, provenance, terms
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.conftest import KEPT
from tests.reporting.synthetic import study_table

QUICK: dict[str, Any] = {"bootstrap": 20, "permutations": 19, "measures": ["local_lip"]}


def study_of(table: pd.DataFrame, **options: Any) -> Study:
    return Study.of("x", table, analyze(table, **(QUICK | options)))


def test_data_threat_model_and_numbers_of_images_are_stated(study: Study) -> None:
    told = dict(methods(study))
    assert told["training images"] == "500"
    assert told["test images"] == "500"
    assert told["measures"] == "6 measures"
    assert {"digits", "Linf", "1/8"} <= set(told.values())
    assert told["bootstrap draws"] == "60"
    assert told["permutations"] == "199"


def test_numbers_of_images_that_differ_are_a_range() -> None:
    table = study_table(12).assign(n_test=[500] * 6 + [1000] * 6)
    assert dict(methods(study_of(table)))["test images"] == "500 to 1,000"


def test_a_filter_is_told_with_the_models_before_and_after() -> None:
    told = methods(study_of(study_table(24), where='defense != "AT"'))
    assert ("filter", 'defense != "AT"') in told
    assert any("24 → 16 models" in value for _, value in told)


def test_terms_speak_of_what_is_predicted(study: Study) -> None:
    assert "tell how large its gap is" in dict(terms(study))["Measure"]
    accuracy = study_of(study_table(24), target="pgd_accuracy_test")
    assert "its PGD test accuracy is" in dict(terms(accuracy))["Measure"]


def test_the_word_shown_is_explained(study: Study) -> None:
    assert "95 % interval excludes 0 and its adjusted p is at most 0.05" in dict(terms(study))["Shown"]


def test_limits_of_a_gap_are_told_of_a_gap_only(study: Study) -> None:
    assert any("train robust accuracy" in text for text in limits(study))
    other = limits(study_of(study_table(24), target="pgd_accuracy_test"))
    assert not any("train robust accuracy" in text for text in other)
    assert len(other) == len(limits(study)) - 2


def test_the_glossary_has_every_measure_with_its_direction(study: Study) -> None:
    found = {entry["id"]: entry for entry in glossary(study)}
    assert set(found) == set(KEPT)
    for name, entry in found.items():
        sign = {"+": "+ (larger value, larger gap)", "-": "\u2212 (larger value, smaller gap)"}
        assert entry["expected"] == sign[study.infos[name].hypothesis]
        assert entry["formula"] == "sum over images / n"


def test_a_table_without_records_says_so(study: Study) -> None:
    rows, commands = provenance(study)
    assert commands == []
    assert rows == [("source", "a table without records; see the columns above")]


def test_several_machines_are_told_with_what_each_measured(study: Study) -> None:
    places = [
        {"host": "node-1", "hardware": "NVIDIA H100", "n_records": 1200, "n_models": 9},
        {"host": "node-2", "hardware": "NVIDIA H100", "n_records": 1, "n_models": 1},
    ]
    known = {"environments": [{"host": "node-2", "device": "NVIDIA H100"}], "machines": places}
    rows, _ = provenance(Study(study.name, study.table, study.analysis, study.infos, known))
    assert rows[-2:] == [
        ("machine node-1", "NVIDIA H100: 1,200 values of 9 models"),
        ("machine node-2", "NVIDIA H100: 1 value of 1 model"),
    ]


def test_the_name_of_a_single_machine_is_not_published(study: Study) -> None:
    alone = [{"host": "my-laptop", "hardware": "a processor", "n_records": 3, "n_models": 1}]
    known = {"environments": [{"host": "my-laptop", "cpu": "a processor"}], "machines": alone}
    rows, _ = provenance(Study(study.name, study.table, study.analysis, study.infos, known))
    assert ("cpu", "a processor") in rows
    assert not [row for row in rows if "my-laptop" in row]


@pytest.mark.parametrize("argv", [["measurebench", "run", "digits:*"], "measurebench run digits:*"])
def test_commands_are_told_once_however_they_were_recorded(study: Study, argv: Any) -> None:
    known = {"runs": [{"argv": argv}, {"argv": argv}], "environments": [{"torch": "2.15.0", "gpu": None}]}
    rows, commands = provenance(Study(study.name, study.table, study.analysis, study.infos, known))
    assert commands == ["measurebench run digits:*"]
    assert ("torch", "2.15.0") in rows
    assert not [name for name, _ in rows if name == "gpu"]
