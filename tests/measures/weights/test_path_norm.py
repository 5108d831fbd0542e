import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from measurebench.core.specs import Normalization
from measurebench.measures.registry import find_measure
from measurebench.measures.value import UndefinedMeasureError
from measurebench.measures.weights.path_norm import PathNorm
from measurebench.models.normalized import Normalized
from tests.measures.cases import context, examples, network

LABELS = torch.tensor([0, 1])


def value(net: nn.Module, shape: tuple[int, ...] = (3,), measure: PathNorm | None = None) -> float:
    here = context(net.double().eval().requires_grad_(False), torch.rand(2, *shape).double(), LABELS)
    return (measure or PathNorm())(here).value


def mlp(*activations: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5, bias=False), *activations, nn.Linear(5, 2, bias=False)).double()


def by_hand(net: nn.Sequential) -> float:
    """1' (W2 o W2)(W1 o W1) 1."""
    return float((net[-1].weight.square() @ net[0].weight.square()).sum().detach())


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(), nn.SiLU(), nn.Tanh(), nn.Sigmoid()]
)
def test_path_norm_is_the_product_of_squared_matrices(activation: nn.Module) -> None:
    net = mlp(activation)
    assert value(net) == pytest.approx(by_hand(net), rel=1e-13)


def test_biases_are_paths_too() -> None:
    net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2))
    net[0].weight.data, net[0].bias.data = torch.tensor([[1.0, -2.0]]), torch.tensor([3.0])
    net[2].weight.data, net[2].bias.data = torch.tensor([[2.0], [-1.0]]), torch.tensor([0.0, -5.0])
    # (1 + 4 + 9) * (4 + 1) + 25
    assert value(net, (2,)) == pytest.approx(95, rel=1e-14)


def test_input_normalisation_is_left_out_however_it_is_written() -> None:
    class Wrapped(nn.Module):
        def __init__(self, inner: nn.Module, kind: str) -> None:
            super().__init__()
            self.inner, self.kind = inner, kind

        def forward(self, x: Tensor) -> Tensor:
            if self.kind == "reversed":
                return self.inner(2 * (0.5 - x))
            if self.kind == "in place":
                return self.inner(x.clone().sub_(0.3).div_(0.2))
            return self.inner(torch.stack([(x[:, c] - 0.4) / 0.2 for c in range(3)], 1))

    net = mlp(nn.ReLU())
    expected = by_hand(net)
    for kind in ("reversed", "in place", "by channel"):
        assert value(Wrapped(net, kind)) == pytest.approx(expected, rel=1e-13)
    torch.manual_seed(1)
    conv = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(8, 2))
    plain = value(conv, (3, 2, 2))
    wrapped = Normalized(conv, Normalization(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1)))
    assert value(wrapped, (3, 2, 2)) == pytest.approx(plain, rel=1e-13)


def test_paths_of_a_residual_block_add_up() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.branch, self.last = (nn.Linear(2, 2, bias=False) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(self.first(x))
            return self.last(h + F.relu(self.branch(h)))

    torch.manual_seed(0)
    net = Residual().double()
    a, b, c = (layer.weight.square() for layer in (net.first, net.branch, net.last))
    assert value(net, (2,)) == pytest.approx(float((c @ (torch.eye(2) + b) @ a).sum().detach()), rel=1e-13)


def test_batch_norm_is_folded_or_a_squared_layer() -> None:
    torch.manual_seed(2)
    norm = nn.BatchNorm1d(3)
    norm.running_mean, norm.running_var = torch.randn(3), torch.rand(3) + 0.5
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    net = nn.Sequential(nn.Linear(2, 3), norm, nn.ReLU(), nn.Linear(3, 2)).double()
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - scale * norm.running_mean
    w, b, v, c = net[0].weight, net[0].bias, net[3].weight, net[3].bias
    folded = v.square() @ ((scale[:, None] * w).square().sum(1) + (shift + scale * b).square()) + c.square()
    layered = v.square() @ (scale.square() * (w.square().sum(1) + b.square()) + shift.square()) + c.square()
    assert value(net, (2,)) == pytest.approx(float(folded.sum().detach()), rel=1e-12)
    assert value(net, (2,), PathNorm(bn="layer")) == pytest.approx(float(layered.sum().detach()), rel=1e-12)


def test_without_biases_a_folded_norm_is_a_squared_layer() -> None:
    # (scale W)^2 = scale^2 W^2, and there is no bias whose square could mix with that of the shift
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(1, 3, 2, bias=False), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)).double()
    norm = net[1]
    norm.running_mean, norm.running_var = torch.randn(3).double(), torch.rand(3).double() + 0.5
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - scale * norm.running_mean
    hidden = (scale.square() * net[0].weight.square().sum((1, 2, 3)) + shift.square()).repeat_interleave(4)
    expected = net[3].weight.square() @ hidden + net[3].bias.square()
    folded, layered = value(net, (1, 3, 3)), value(net, (1, 3, 3), PathNorm(bn="layer"))
    assert folded == pytest.approx(float(expected.sum().detach()), rel=1e-13)
    assert folded == layered
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_a_norm_without_weights_folds_as_well() -> None:
    torch.manual_seed(2)
    norm = nn.BatchNorm1d(3, affine=False)
    norm.running_mean, norm.running_var = torch.randn(3), torch.rand(3) + 0.5
    net = nn.Sequential(nn.Linear(2, 3), norm, nn.ReLU(), nn.Linear(3, 2, bias=False)).double()
    scale = (norm.running_var + norm.eps) ** -0.5
    w, b, v = net[0].weight, net[0].bias, net[3].weight
    hidden = (scale[:, None] * w).square().sum(1) + (scale * (b - norm.running_mean)).square()
    assert value(net, (2,)) == pytest.approx(float((v.square() @ hidden).sum().detach()), rel=1e-10)


def test_rescaling_layers_leaves_path_norm_as_it_is() -> None:
    net = mlp(nn.ReLU())
    before = value(net)
    net[0].weight.data *= 10
    net[2].weight.data /= 10
    assert value(net) == pytest.approx(before, rel=1e-13)


def test_its_logarithm_is_that_of_the_norm() -> None:
    net = mlp(nn.ReLU())
    assert value(net, measure=PathNorm(log=True)) == pytest.approx(math.log(by_hand(net)), rel=1e-13)


class Gated(nn.Module):
    def __init__(self, own: bool) -> None:
        super().__init__()
        self.inner, self.gate, self.last, self.own = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2), own

    def forward(self, x: Tensor) -> Tensor:
        h = self.inner(x)
        return self.last(h * torch.sigmoid(h if self.own else self.gate(h)))


def test_a_gate_of_an_activation_by_itself_is_an_activation() -> None:
    torch.manual_seed(0)
    gated = Gated(own=True).double()
    plain = nn.Sequential(gated.inner, nn.ReLU(), gated.last)
    assert value(gated) == pytest.approx(value(plain), rel=1e-13)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attend(x, x, x, need_weights=False)[0].mean(1))


class Drawn(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight * torch.rand_like(weight)


def test_a_weight_that_weight_norm_computes_counts_as_it_acts() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2, bias=False).double()
    expected = float(layer.weight.square().sum().detach())
    assert value(nn.Sequential(nn.utils.parametrizations.weight_norm(layer))) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("build", "shape", "reason"),
    [
        (partial(Gated, own=False), (3,), "activations are multiplied"),
        (partial(mlp, nn.LayerNorm(5)), (3,), "layer_norm"),
        (partial(mlp, nn.Softmax(1)), (3,), "softmax"),
        (Attention, (3, 4), "attention"),
        (
            lambda: nn.Sequential(parametrize.register_parametrization(nn.Linear(3, 2), "weight", Drawn())),
            (3,),
            "is computed",
        ),
    ],
)
def test_networks_that_mix_paths_otherwise_have_no_path_norm(
    build: object, shape: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(UndefinedMeasureError, match=reason):
        value(build(), shape)


@pytest.mark.parametrize("kind", ["convolutional", "residual", "preactivation", "wide"])
def test_the_network_is_unchanged_afterwards(kind: str) -> None:
    net = network(kind)
    images, labels = examples(net)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert find_measure("path_norm")(context(net, images, labels)).value > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
