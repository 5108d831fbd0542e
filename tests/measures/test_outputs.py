import pytest
import torch

from measurebench.measures.outputs import entropies, margins
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, linear_fixture


def test_the_margin_is_to_the_best_other_score() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.5], [0.0, 4.0, 5.0]])
    assert margins(scores, torch.tensor([0, 1])).tolist() == [0.5, -1.0]


def test_a_single_class_has_no_margin() -> None:
    with pytest.raises(UndefinedMeasureError, match="two classes or more, the network has 1"):
        margins(torch.ones(2, 1), torch.zeros(2, dtype=torch.int64))


def test_entropy_of_a_sure_prediction_is_zero() -> None:
    net, images, labels, _ = linear_fixture()
    net.weight.data *= 1e4
    # probabilities below 1e-300 have no logarithm, but they have an entropy: zero
    assert float(entropies(context(net, images, labels), "clean").max()) == 0.0
