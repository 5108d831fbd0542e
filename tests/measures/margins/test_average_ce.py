import pytest
import torch

from measurebench.measures.registry import find_measure
from tests.measures.cases import context, linear_fixture


def test_cross_entropy_of_the_linear_fixture() -> None:
    net, images, labels, attacked = linear_fixture()
    here = context(net, images, labels, adversarial=attacked)
    assert find_measure("average_ce")(here).value == pytest.approx(2.031728682282, abs=1e-11)
    assert find_measure("average_ce_pgd")(here).value == pytest.approx(2.142145345468, abs=1e-11)


def test_huge_logits_do_not_overflow() -> None:
    net, images, labels, _ = linear_fixture()
    net.weight.data *= 1e6
    logits = net(images)
    # exp(1e6) overflows; log-sum-exp of such logits is their maximum
    expected = (logits.amax(1) - logits.gather(1, labels[:, None])[:, 0]).mean()
    assert find_measure("average_ce")(context(net, images, labels)).value == pytest.approx(float(expected), rel=1e-12)


def test_uniform_predictions_cost_the_logarithm_of_the_number_of_classes() -> None:
    net, images, labels, _ = linear_fixture()
    net.weight.data.zero_()
    net.bias.data.zero_()
    found = find_measure("average_ce")(context(net, images, labels))
    assert found.value == pytest.approx(float(torch.log(torch.tensor(3.0, dtype=torch.float64))), rel=1e-14)
    assert found.standard_error == pytest.approx(0, abs=1e-15)
