import pytest
import torch

from measurebench.attacks.audit import audit
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
    assert bool(outcome.robust[0])


def test_another_shape_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"adversarial images: expected shape \(4, 1, 2, 2\), got \(3, 1, 2, 2\)"):
        audit(IMAGES, LABELS, IMAGES[:3], RIGHT, WRONG, THREAT)
