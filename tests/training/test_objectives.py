"""The four losses against slow references in plain Python arithmetic, in value and in gradient."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.core.errors import BadInputError
from measurebench.training.objectives import (
    AT,
    MART,
    TRADES,
    Standard,
    boosted_cross_entropy,
    mart_loss,
    objective_for,
    trades_loss,
)

Rows = list[list[float]]


def _probabilities(logits: list[float]) -> list[float]:
    powers = [math.exp(z) for z in logits]
    return [power / sum(powers) for power in powers]


def _kl(clean: list[float], adversarial: list[float]) -> float:
    p, q = _probabilities(clean), _probabilities(adversarial)
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def _slow_trades(clean: Rows, adversarial: Rows, labels: list[int], beta: float) -> float:
    """Zhang et al. 2019, eq. 5, word for word."""
    total = 0.0
    for z, z_adv, y in zip(clean, adversarial, labels, strict=True):
        total += -math.log(_probabilities(z)[y]) + beta * _kl(z, z_adv)
    return total / len(labels)


def _slow_mart(clean: Rows, adversarial: Rows, labels: list[int], beta: float) -> float:
    """Wang et al. 2020, eq. 11, word for word."""
    total = 0.0
    for z, z_adv, y in zip(clean, adversarial, labels, strict=True):
        p, p_adv = _probabilities(z), _probabilities(z_adv)
        rival = max(q for k, q in enumerate(p_adv) if k != y)
        total += -math.log(p_adv[y]) - math.log(1 - rival) + beta * _kl(z, z_adv) * (1 - p[y])
    return total / len(labels)


def _numeric_gradient(loss: Callable[[Rows], float], rows: Rows, step: float = 1e-6) -> Tensor:
    """Central differences: error of order step^2 from curvature and 1e-16 / step from rounding, below 1e-9."""
    gradient = torch.zeros(len(rows), len(rows[0]), dtype=torch.float64)
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            row[j] = value + step
            above = loss(rows)
            row[j] = value - step
            below = loss(rows)
            row[j] = value
            gradient[i, j] = (above - below) / (2 * step)
    return gradient


@pytest.fixture
def logits() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    clean = 2 * torch.randn(6, 4, generator=generator, dtype=torch.float64)
    adversarial = clean + torch.randn(6, 4, generator=generator, dtype=torch.float64)
    return clean, adversarial, torch.tensor([0, 1, 2, 3, 0, 1])


CASES = [(trades_loss, _slow_trades, 6.0), (mart_loss, _slow_mart, 5.0)]


@pytest.mark.parametrize(("fast", "slow", "beta"), CASES, ids=["TRADES", "MART"])
class TestAgainstTheSlowReference:
    def test_values_agree(self, logits, fast, slow, beta) -> None:
        clean, adversarial, labels = logits
        expected = slow(clean.tolist(), adversarial.tolist(), labels.tolist(), beta)
        assert float(fast(clean, adversarial, labels, beta)) == pytest.approx(expected, rel=1e-13)

    def test_gradients_through_both_logits_agree(self, logits, fast, slow, beta) -> None:
        clean, adversarial, labels = (logits[0].requires_grad_(), logits[1].requires_grad_(), logits[2])
        fast(clean, adversarial, labels, beta).backward()
        z, z_adv, y = clean.tolist(), adversarial.tolist(), labels.tolist()
        torch.testing.assert_close(
            clean.grad, _numeric_gradient(lambda rows: slow(rows, z_adv, y, beta), z), atol=1e-8, rtol=0
        )
        torch.testing.assert_close(
            adversarial.grad, _numeric_gradient(lambda rows: slow(z, rows, y, beta), z_adv), atol=1e-8, rtol=0
        )

    def test_float32_agrees_within_rounding(self, logits, fast, slow, beta) -> None:
        clean, adversarial, labels = logits
        narrow = fast(clean.float(), adversarial.float(), labels, beta)
        assert float(narrow) == pytest.approx(float(fast(clean, adversarial, labels, beta)), rel=1e-5)

    def test_a_larger_beta_gives_a_larger_loss(self, logits, fast, slow, beta) -> None:
        assert fast(*logits, 2 * beta) > fast(*logits, beta)


def test_equal_logits_leave_trades_with_the_cross_entropy_alone(logits) -> None:
    clean, _, labels = logits
    assert float(trades_loss(clean, clean, labels, 6.0)) == pytest.approx(float(F.cross_entropy(clean, labels)))


def test_boosted_cross_entropy_of_two_classes_is_twice_the_cross_entropy() -> None:
    """With two classes 1 - p_rival = p_y, so both terms are -log p_y."""
    logits, labels = torch.randn(5, 2, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    expected = 2 * F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(boosted_cross_entropy(logits, labels), expected)


@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_mart_stays_finite_where_a_wrong_class_has_all_the_probability(scale: float) -> None:
    """1 - p_rival rounds to 0 in float32; the exact value is about twice the logit difference."""
    clean = torch.tensor([[0.0, scale, 0.0]], requires_grad=True)
    adversarial = torch.tensor([[0.0, scale, 0.0]], requires_grad=True)
    loss = mart_loss(clean, adversarial, torch.tensor([0]), 5.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2 * scale, rel=1e-2)
    assert torch.isfinite(clean.grad).all()
    assert torch.isfinite(adversarial.grad).all()


def test_mart_agrees_with_its_authors_small_constants_where_probabilities_are_moderate(logits) -> None:
    """Their code computes log(1.0001 - p + 1e-12): off by at most 1e-4 / (1 - p), here below 1e-2."""
    _, adversarial, labels = logits
    p = adversarial.softmax(1)
    rival = p.masked_fill(F.one_hot(labels, 4).bool(), 0).amax(1)
    theirs = F.cross_entropy(adversarial, labels, reduction="none") - torch.log(1.0001 - rival + 1e-12)
    torch.testing.assert_close(boosted_cross_entropy(adversarial, labels), theirs, atol=1e-2, rtol=0)


class _Doubling(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return 2 * images.flatten(1)


def test_standard_reads_clean_images_and_at_the_adversarial_ones() -> None:
    images, adversarial, labels = torch.rand(4, 3), torch.rand(4, 3), torch.tensor([0, 1, 2, 0])
    network = _Doubling()
    assert float(Standard().loss(network, images, adversarial, labels)) == float(F.cross_entropy(2 * images, labels))
    assert float(AT().loss(network, images, adversarial, labels)) == float(F.cross_entropy(2 * adversarial, labels))


def test_trades_attacks_the_divergence_which_is_zero_at_the_image_itself() -> None:
    images, labels = torch.rand(4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    attack_loss = TRADES(6.0).attack_loss(_Doubling(), images)
    assert float(attack_loss(2 * images, labels)) == pytest.approx(0, abs=1e-12)
    expected = sum(_kl((2 * row).tolist(), (3 * row).tolist()) for row in images)
    assert float(attack_loss(3 * images, labels)) == pytest.approx(expected, rel=1e-12)


def test_mart_attacks_the_summed_cross_entropy() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    value = MART(5.0).attack_loss(_Doubling(), logits)(logits, labels)
    assert float(value) == float(F.cross_entropy(logits, labels, reduction="sum"))


@pytest.mark.parametrize(
    ("defense", "beta", "message"),
    [
        ("TRADE", None, "did you mean 'TRADES'"),
        ("TRADES", None, "beta of TRADES: expected a positive number"),
        ("AT", 6.0, "only TRADES and MART have one"),
    ],
)
def test_a_defense_that_makes_no_sense_is_refused_in_words(defense, beta, message) -> None:
    with pytest.raises(BadInputError, match=message):
        objective_for(defense, beta)
