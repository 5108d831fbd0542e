"""``check_model`` from Python: findings are data, bad references are errors."""

import inspect
from pathlib import Path

import pytest

import measurebench
from measurebench.checks import CheckLine, ModelCheck, check_model, check_models
from measurebench.core.errors import BadInputError
from measurebench.core.option_fields import options_of
from measurebench.engine.options import RunOptions
from measurebench.models import resolve


def test_a_sound_model_has_facts_and_nothing_wrong(manifest: Path, images_file: Path) -> None:
    check = measurebench.check_model(f"{manifest.parent}#net0", f"arrays:{images_file}", attack_examples=4)
    assert check.is_sound
    assert check.wrong == ()
    assert [line.subject for line in check.lines if line.verdict == "ok"][-4:] == [
        "clean accuracy",
        "threat model",
        "robustness",
        "gradient masking",
    ]
    (spec,) = resolve([f"{manifest.parent}#net0"])
    assert check_model(spec, f"arrays:{images_file}", attack_examples=4) == check


def test_what_is_wrong_with_a_model_is_no_exception(manifest: Path) -> None:
    check = check_model(f"{manifest.parent}#net0", "digits", attack_examples=0)
    assert not check.is_sound
    assert check.wrong == (check.lines[-1],)
    assert "expected 10 classes, got 5" in check.lines[-1].text


def test_a_reference_to_several_models_is_for_check_models(manifest: Path, images_file: Path) -> None:
    with pytest.raises(BadInputError, match="expected a reference to one model, got 3; check_models checks several"):
        check_model(str(manifest))
    checks = list(check_models(str(manifest), f"arrays:{images_file}", attack_examples=0))
    assert [check.id for check in checks] == ["net0", "net1", "net2"]


def test_results_of_the_models_before_are_known_before_the_next_is_loaded(manifest: Path, images_file: Path) -> None:
    checks = check_models(str(manifest), f"arrays:{images_file}", attack_examples=0)
    assert next(checks).id == "net0"


def test_a_reference_that_names_nothing_is_an_error() -> None:
    with pytest.raises(BadInputError, match="no such file or folder"):
        check_model("nothing.pt")


def test_json_keeps_order_and_verdicts() -> None:
    lines = (CheckLine("ok", "file", "zip"), CheckLine("WRONG", "images", "none"))
    assert ModelCheck("r", "i", lines).to_json() == {
        "reference": "r",
        "id": "i",
        "lines": [
            {"verdict": "ok", "subject": "file", "text": "zip"},
            {"verdict": "WRONG", "subject": "images", "text": "none"},
        ],
    }


def test_options_that_a_run_has_too_have_its_defaults() -> None:
    declared = options_of(RunOptions)
    shared = [item for name, item in inspect.signature(check_model).parameters.items() if name in declared]
    assert len(shared) == 12
    for item in shared:
        assert item.name == "dataset" or item.default == declared[item.name].default
