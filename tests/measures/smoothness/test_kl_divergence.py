import pytest
import torch

from measurebench.measures.registry import find_measure
from measurebench.measures.smoothness.kl_divergence import divergence
from tests.measures.cases import context, examples, linear_fixture, network


def test_divergence_of_the_linear_fixture_in_both_directions() -> None:
    net, images, labels, attacked = linear_fixture()
    here = context(net, images, labels, adversarial=attacked)
    assert find_measure("kl_divergence_pgd")(here).value == pytest.approx(0.003018116430, abs=1e-11)
    assert find_measure("kl_divergence_pgd:reverse")(here).value == pytest.approx(0.003002690210, abs=1e-11)


def test_divergence_of_equal_predictions_is_zero() -> None:
    net, images, labels, _ = linear_fixture()
    assert find_measure("kl_divergence_pgd")(context(net, images, labels, adversarial=images)).value == 0


def test_divergence_of_two_coins() -> None:
    p, q = (torch.tensor([[a, 1 - a]], dtype=torch.float64).log() for a in (0.5, 0.25))
    # 1/2 ln(1/2 / 1/4) + 1/2 ln(1/2 / 3/4) = ln 2 - 1/2 ln 3
    assert float(divergence(p, q)) == pytest.approx(0.5 * float(torch.log(torch.tensor(4 / 3, dtype=torch.float64))))


def test_examples_that_maximise_the_divergence_raise_it_above_those_for_the_loss() -> None:
    net = network("convolutional")
    images, _ = examples(net)
    labels = (net(images).argmax(1) + 1) % 10  # wrong everywhere: the loss's attack cannot gain much
    here = context(net, images, labels)
    assert find_measure("kl_divergence_tpgd")(here).value > find_measure("kl_divergence_pgd")(here).value > 0
