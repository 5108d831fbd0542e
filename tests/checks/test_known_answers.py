"""What a check finds of a linear network whose clean and robust accuracy are known by arithmetic."""

import pytest
import torch
from scipy.stats import binomtest

from measurebench.checks.agreement import mcnemar
from measurebench.checks.classification import correct_predictions
from measurebench.checks.masking import robustness_lines
from measurebench.checks.model import check_model
from measurebench.checks.results import CheckLine, Effort, ModelCheck
from measurebench.core.threat import ThreatModel
from tests.checks import quadrants


@pytest.mark.parametrize(
    ("norm", "radius", "left"),
    [
        ("Linf", "0.02", 16),
        ("Linf", "0.03", 12),
        ("Linf", "1/16", 8),
        ("Linf", "0.08", 4),
        ("Linf", "0.1", 0),
        ("L2", "0.1", 16),  # the leads are turned beyond 0.1326, 0.2652, 0.3977, 0.5303
        ("L2", "0.2", 12),
        ("L2", "0.33", 8),
        ("L2", "0.46", 4),
    ],
)
def test_an_image_withstands_exactly_the_radii_below_its_margin(norm, radius, left) -> None:
    images, labels = map(torch.from_numpy, quadrants.images())
    threat = ThreatModel.parse(norm, radius)
    lines = robustness_lines(quadrants.network(), images, labels, threat, 4, Effort())
    ending = "" if left else ": it has no robustness"
    assert lines[0].text == f"{left} of 16 correct images withstand PGD-10 ({norm} {radius}){ending}"
    assert len(lines) == (2 if left else 1)
    assert all(line.verdict == "ok" for line in lines)


def test_a_prediction_is_correct_where_the_label_is_the_brightest_quadrant() -> None:
    images, labels = map(torch.from_numpy, quadrants.images())
    labels[::5] = (labels[::5] + 1) % 4
    correct = correct_predictions(quadrants.network(), images, labels, batch=3)
    assert (~correct).nonzero().flatten().tolist() == [0, 5, 10, 15]


def test_a_check_reports_clean_and_robust_accuracy_of_the_linear_network(tmp_path) -> None:
    check = check_model(quadrants.write_model(tmp_path), quadrants.write_images(tmp_path), device="cpu")
    said = {line.subject: line.text for line in check.lines}
    assert check.is_sound
    assert check.id == "quadrants"
    assert said["clean accuracy"] == "0.8000 (16 of 20 test images); no published figure to compare with"
    assert said["robustness"] == "8 of 16 correct images withstand PGD-10 (Linf 1/16)"
    assert said["network"].endswith("256 parameters")
    assert said["normalization"] == "none"


def test_only_as_many_images_are_tested_and_attacked_as_asked_for(tmp_path) -> None:
    reference, data = quadrants.write_model(tmp_path), quadrants.write_images(tmp_path, wrong=0)
    check = check_model(reference, data, examples=12, attack_examples=10, norm="Linf", radius="0.02", device="cpu")
    said = {line.subject: line.text for line in check.lines}
    assert said["clean accuracy"].startswith("1.0000 (12 of 12 test images)")
    assert said["robustness"] == "10 of 10 correct images withstand PGD-10 (Linf 0.02)"


def test_no_image_is_attacked_where_none_is_asked_for(tmp_path) -> None:
    reference, data = quadrants.write_model(tmp_path), quadrants.write_images(tmp_path)
    check = check_model(reference, data, attack_examples=0, device="cpu")
    assert check.lines[-1].subject == "clean accuracy"


def test_a_network_that_ends_in_a_softmax_is_refused_before_its_accuracy_is_taken(tmp_path) -> None:
    reference, data = quadrants.write_model(tmp_path, "probabilities"), quadrants.write_images(tmp_path)
    check = check_model(reference, data, device="cpu")
    assert not check.is_sound
    assert check.wrong == check.lines[-1:]
    assert check.lines[-1] == CheckLine(
        "WRONG",
        "preflight",
        "output: expected logits, got probabilities (every row is non-negative and sums to 1); "
        "take the softmax out of the network",
    )


def test_a_model_without_a_data_set_is_loaded_and_no_more(tmp_path) -> None:
    check = check_model(quadrants.write_model(tmp_path), device="cpu")
    assert check.is_sound
    assert (check.lines[-1].verdict, check.lines[-1].subject) == ("hint", "images")
    assert "--dataset" in check.lines[-1].text


def test_a_missing_file_of_images_is_wrong_and_no_exception(tmp_path) -> None:
    check = check_model(quadrants.write_model(tmp_path), f"arrays:{tmp_path / 'none.npz'}", device="cpu")
    assert [line.subject for line in check.wrong] == ["images"]
    assert "none.npz" in check.wrong[0].text


def test_mcnemar_s_p_is_that_of_a_fair_coin_for_all_small_tables() -> None:
    for first in range(8):
        for second in range(8):
            if first + second:
                wanted = binomtest(first, first + second, 0.5).pvalue
                assert mcnemar(first, second) == mcnemar(second, first) == pytest.approx(wanted)
    assert mcnemar(10, 0) == pytest.approx(2 / 1024)
    assert mcnemar(1, 9) == pytest.approx(22 / 1024)


def test_hints_do_not_make_a_model_unsound() -> None:
    hint, wrong = CheckLine("hint", "a", "b"), CheckLine("WRONG", "c", "d")
    assert ModelCheck("r", "i", (hint,)).is_sound
    assert ModelCheck("r", "i", (wrong, hint, wrong)).wrong == (wrong, wrong)
