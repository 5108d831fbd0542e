import pytest
import torch
from torch import nn
from torch.func import functional_call

from measurebench.core.errors import BadInputError
from measurebench.measures.network.folding import check_mode, folded_state, scale_and_shift
from measurebench.measures.network.structure import trace
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import examples, network


@pytest.mark.parametrize("kind", ["residual", "preactivation"])
def test_folding_leaves_the_function_as_it_is(kind: str) -> None:
    net = network(kind)
    images, _ = examples(net)
    structure = trace(net, images[:1])
    assert structure.folds
    folded = functional_call(net, folded_state(net, structure), (images,))
    # a dozen layers of float64: 1e-12 leaves room for thousands of roundings of 1e-16
    assert torch.allclose(folded, net(images), rtol=1e-12, atol=1e-12)


def joined(bias: bool, affine: bool, transposed: bool = False) -> nn.Module:
    torch.manual_seed(1)
    conv = nn.ConvTranspose2d(2, 4, 3, groups=2, bias=bias) if transposed else nn.Conv2d(2, 4, 3, bias=bias)
    norm = nn.BatchNorm2d(4, affine=affine)
    norm.running_mean, norm.running_var = torch.randn(4), torch.rand(4) + 0.5
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return nn.Sequential(conv, norm).double().eval().requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_biases_and_norms_of_every_make_fold(bias: bool, affine: bool, transposed: bool) -> None:
    net = joined(bias, affine, transposed)
    images = torch.rand(3, 2, 6, 6, dtype=torch.float64)
    state = folded_state(net, trace(net, images[:1]))
    assert torch.allclose(functional_call(net, state, (images,)), net(images), rtol=1e-12, atol=1e-12)
    norm = net[1]
    gamma = norm.weight if affine else torch.ones(4)
    scale = (gamma / (norm.running_var + norm.eps).sqrt()).double()
    width = net[0].weight.shape[1] if transposed else 4
    first = net[0].weight[0, 0] if transposed else net[0].weight[0]
    assert width in (2, 4)
    assert torch.allclose(state["0.weight"][0, 0] if transposed else state["0.weight"][0], first * scale[0])


def test_two_convolutions_of_one_norm_keep_their_biases_apart() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.norm = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
            self.norm.running_mean = torch.tensor([0.3, -0.2])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.a(x)) + self.norm(self.b(x)).relu()

    net = Shared().double().eval().requires_grad_(False)
    images = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    structure = trace(net, images[:1])
    assert structure.folds == {"norm": ("a", "b")}
    assert torch.allclose(functional_call(net, folded_state(net, structure), (images,)), net(images), atol=1e-12)


def test_scale_and_shift_are_what_the_norm_does() -> None:
    norm = joined(False, True)[1]
    values = torch.rand(2, 4, 3, 3, dtype=torch.float64)
    scale, shift = scale_and_shift(norm)
    assert torch.allclose(scale.reshape(-1, 1, 1) * values + shift.reshape(-1, 1, 1), norm(values), atol=1e-13)


def test_a_norm_without_running_statistics_is_no_layer() -> None:
    with pytest.raises(UndefinedMeasureError, match="running statistics"):
        scale_and_shift(nn.BatchNorm2d(2, track_running_stats=False))


def test_an_unknown_treatment_is_named() -> None:
    with pytest.raises(BadInputError, match="bn: expected ignore, fold or layer, got 'drop'"):
        check_mode("drop")
