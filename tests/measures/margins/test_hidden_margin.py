import pytest
import torch
from torch import nn

from measurebench.measures.margins.hidden_margin import HiddenMargin
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, examples, linear_fixture, network


def test_one_hidden_layer_has_the_margin_over_the_weights_and_the_spread() -> None:
    # the distance in the hidden layer is exact: the logits are linear in it
    net = network("wide")
    images, labels = examples(net)
    hidden = nn.Sequential(*list(net)[:3])(images)
    logits, weight = net(images), net[3].weight
    variation = (hidden - hidden.mean(0)).square().sum(1).mean().sqrt()
    expected = []
    for i in range(len(labels)):
        others = logits[i].clone()
        others[labels[i]] = -torch.inf
        best = int(others.argmax())
        margin = logits[i, labels[i]] - logits[i, best]
        expected.append(margin / (weight[labels[i]] - weight[best]).norm() / variation)
    found = HiddenMargin()(context(net, images, labels, batch_size=7))
    assert torch.allclose(found.per_example, torch.stack(expected), rtol=1e-10)
    assert found.diagnostics["n_layers"] == 1


@pytest.mark.parametrize(("kind", "layers"), [("convolutional", 3), ("residual", 4), ("preactivation", 4)])
def test_every_layer_but_the_first_is_read(kind: str, layers: int) -> None:
    net = network(kind)
    assert HiddenMargin()(context(net, *examples(net))).diagnostics["n_layers"] == layers


def test_an_input_that_is_changed_in_place_is_left_out() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            hidden = self.a(images)
            first = self.b(hidden.clone())
            second = self.c(first)
            return second + first.add_(1.0)

    net = InPlace().double().requires_grad_(False)
    _, images, labels, _ = linear_fixture()
    assert HiddenMargin()(context(net, images, labels)).diagnostics["n_layers"] == 1


def test_a_linear_network_has_no_hidden_layer() -> None:
    net, images, labels, _ = linear_fixture()
    with pytest.raises(UndefinedMeasureError, match="hidden-layer margin"):
        HiddenMargin()(context(net, images, labels))
