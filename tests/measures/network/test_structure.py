import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.measures.network.structure import trace
from tests.measures.cases import network

IMAGE = torch.rand(1, 1, 8, 8, dtype=torch.float64)


class Custom(nn.Module):
    """A convolution and a batch norm, joined as each test says."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(2)


class Direct(Custom):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Functional(Custom):
    def forward(self, x: Tensor) -> Tensor:
        made = F.conv2d(x, self.conv.weight, padding=1)
        norm = self.bn
        return F.batch_norm(made, norm.running_mean, norm.running_var, norm.weight, norm.bias)


class ReadTwice(Custom):
    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(x)
        return self.bn(made) + made


class ReluBetween(Custom):
    def forward(self, x: Tensor) -> Tensor:
        return self.bn(F.relu(self.conv(x)))


class InPlace(Custom):
    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(x)
        made += 1
        return self.bn(made)


class NormAlsoReadsInput(Custom):
    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)) + self.bn(torch.cat([x, x], 1))


class Returned(Custom):
    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(x)
        self.bn(made)
        return made


def eval_double(module: nn.Module) -> nn.Module:
    return module.double().eval()


@pytest.mark.parametrize("kind", [Direct, Functional])
def test_a_norm_that_alone_reads_a_convolution_can_be_folded(kind: type[nn.Module]) -> None:
    assert trace(eval_double(kind()), IMAGE).folds == {"bn": ("conv",)}


@pytest.mark.parametrize("kind", [ReadTwice, ReluBetween, InPlace, NormAlsoReadsInput, Returned])
def test_a_norm_is_not_folded_where_others_read_or_change_what_it_reads(kind: type[nn.Module]) -> None:
    found = trace(eval_double(kind()), IMAGE)
    assert found.folds == {}
    assert found.own_norms == ["bn"]


def test_a_residual_network_folds_all_and_a_preactivation_network_what_it_can() -> None:
    residual, before = trace(network("residual"), IMAGE), trace(network("preactivation"), IMAGE)
    assert residual.own_norms == []
    assert residual.folds["block1.shortcut.1"] == ("block1.shortcut.0",)
    # block1.bn1 reads the stem's output, which the shortcut does not: the stem feeds it alone, as conv1 feeds bn2.
    assert before.folds == {"block1.bn1": ("conv1",), "block1.bn2": ("block1.conv1",)}
    assert before.own_norms == ["bn"]


def test_a_weight_shared_by_two_convolutions_needs_the_same_norm_after_both() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 2, 3, bias=False), nn.Conv2d(1, 2, 3, bias=False)
            self.b.weight = self.a.weight
            self.norm_a, self.norm_b = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
            self.same = False

        def forward(self, x: Tensor) -> Tensor:
            return self.norm_a(self.a(x)) + (self.norm_a if self.same else self.norm_b)(self.b(x))

    tied = eval_double(Tied())
    assert trace(tied, IMAGE).folds == {}
    tied.same = True
    assert trace(tied, IMAGE).folds == {"norm_a": ("a",)}


def test_every_layer_has_the_size_it_was_given() -> None:
    shapes = trace(network("residual"), IMAGE).input_shapes
    assert shapes["conv1"] == ((1, 8, 8),)
    assert shapes["block1.conv2"] == ((6, 4, 4),)
    assert shapes["linear"] == ((24,),)


def test_hooks_are_gone_when_the_network_raises() -> None:
    direct = eval_double(Direct())
    with pytest.raises(RuntimeError):
        trace(direct, torch.rand(1, 3, 8, 8, dtype=torch.float64))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in direct.modules())
