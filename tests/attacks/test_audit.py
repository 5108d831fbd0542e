import pytest
import torch

from measurebench.attacks.audit import audit, is_correct
from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel

THREAT = ThreatModel.parse("Linf", "8/255")
IMAGES = torch.full((4, 1, 2, 2), 0.5)
LABELS = torch.zeros(4, dtype=torch.int64)
RIGHT, WRONG = torch.tensor([1.0, 0.0]).expand(4, 2), torch.tensor([0.0, 1.0]).expand(4, 2)


def test_a_point_beyond_the_radius_is_a_violation_and_no_success() -> None:
    adversarial = IMAGES.clone()
    adversarial[0] += 0.0320
    adversarial[1] += 8 / 255
    outcome = audit(IMAGES, LABELS, adversarial, RIGHT, WRONG, THREAT)
    assert outcome.violations.tolist() == [True, False, False, False]
    assert outcome.robust.tolist() == [True, False, False, False]
    assert "1 of 4 adversarial images leave the Linf 8/255 ball" in outcome.flags[0]
    assert float(outcome.distances[0]) == pytest.approx(0.032, abs=1e-7)


def test_a_point_outside_the_box_is_a_violation() -> None:
    images = torch.ones(4, 1, 2, 2)
    outcome = audit(images, LABELS, images + 0.01, RIGHT, WRONG, THREAT)
    assert bool(outcome.violations.all())


def test_an_image_misclassified_from_the_start_is_not_robust() -> None:
    outcome = audit(IMAGES, LABELS, IMAGES, WRONG, RIGHT, THREAT)
    assert not bool(outcome.robust.any())
    assert not bool(outcome.correct.any())


def test_pixels_that_are_not_finite_never_count() -> None:
    adversarial = IMAGES.clone()
    adversarial[0, 0, 0, 0] = float("nan")
    outcome = audit(IMAGES, LABELS, adversarial, RIGHT, WRONG, THREAT)
    assert outcome.violations.tolist() == [True, False, False, False]
    assert not bool(outcome.robust[0])
    assert "(largest distance 0; 1 with a pixel that is not finite)" in outcome.flags[0]


def test_another_shape_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"adversarial images: expected shape \(4, 1, 2, 2\), got \(3, 1, 2, 2\)"):
        audit(IMAGES, LABELS, IMAGES[:3], RIGHT, WRONG, THREAT)


def test_an_output_that_is_nan_is_never_right_and_is_told() -> None:
    broken = RIGHT.clone()
    broken[0, 1] = float("nan")
    assert is_correct(broken, LABELS).tolist() == [False, True, True, True]
    before = audit(IMAGES, LABELS, IMAGES, broken, RIGHT, THREAT)
    assert before.robust.tolist() == before.correct.tolist() == [False, True, True, True]
    after = audit(IMAGES, LABELS, IMAGES, RIGHT, broken, THREAT)
    assert after.robust.tolist() == [False, True, True, True]
    assert bool(after.correct.all())
    assert after.flags == ("the network's output is NaN for 1 of 4 images; they count as misclassified",)


def test_infinite_logits_are_numbers() -> None:
    assert is_correct(torch.tensor([[torch.inf, 0.0], [-torch.inf, 0.0]]), torch.tensor([0, 0])).tolist() == [
        True,
        False,
    ]


def test_where_the_output_of_an_attack_is_not_finite_it_failed_and_the_example_is_not_robust() -> None:
    images, labels = torch.full((3, 1, 2, 2), 0.5), torch.zeros(3, dtype=torch.int64)
    found = images.clone()
    found[1, 0, 0, 0] = torch.nan
    found[2, 0, 0, 0] = torch.inf
    right = torch.tensor([[1.0, 0.0]] * 3)
    outcome = audit(images, labels, found, right, right, ThreatModel.parse("Linf", "1/10"))
    assert outcome.robust.tolist() == [True, False, False]
    assert "the attack failed on 2 images with pixels that are not finite; they are not robust" in outcome.flags
