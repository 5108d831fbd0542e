"""Weight perturbations: their size, their direction, and that nothing of them stays."""

import pytest
import torch
from torch import nn

from measurebench.training.awp import GlobalAWP, LayerwiseAWP, kept_buffers, perturbed


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def _gradients(network: nn.Module) -> dict[str, torch.Tensor]:
    parameters = dict(network.named_parameters())
    generator = torch.Generator().manual_seed(1)
    inputs, labels = torch.randn(8, 4, generator=generator), torch.arange(8) % 3
    loss = nn.functional.cross_entropy(network(inputs), labels)
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


def test_layerwise_offset_has_gamma_times_the_norm_of_its_layer(network) -> None:
    gradients, weights = _gradients(network), dict(network.named_parameters())
    offsets = LayerwiseAWP(0.01).offsets(weights, gradients)
    for name, offset in offsets.items():
        assert float(offset.detach().norm()) == pytest.approx(0.01 * float(weights[name].detach().norm()), rel=1e-5)


def test_layerwise_leaves_biases_and_batch_norm_alone(network) -> None:
    offsets = LayerwiseAWP(0.01).offsets(dict(network.named_parameters()), _gradients(network))
    assert set(offsets) == {"0.weight", "3.weight"}


def test_global_offset_has_rho_times_the_norm_of_all_parameters(network) -> None:
    weights = dict(network.named_parameters())
    offsets = GlobalAWP(0.005).offsets(weights, _gradients(network))
    assert set(offsets) == set(weights)
    size = torch.cat([offset.detach().flatten() for offset in offsets.values()]).norm()
    whole = torch.cat([weight.detach().flatten() for weight in weights.values()]).norm()
    assert float(size) == pytest.approx(0.005 * float(whole), rel=1e-5)


@pytest.mark.parametrize("rule", [LayerwiseAWP(0.01), GlobalAWP(0.005)])
def test_offsets_point_along_the_gradient(network, rule) -> None:
    gradients = _gradients(network)
    for name, offset in rule.offsets(dict(network.named_parameters()), gradients).items():
        cosine = torch.cosine_similarity(offset.detach().flatten(), gradients[name].flatten(), dim=0)
        assert float(cosine) == pytest.approx(1.0, abs=1e-5)


def test_the_two_rules_differ(network) -> None:
    weights, gradients = dict(network.named_parameters()), _gradients(network)
    one, other = LayerwiseAWP(0.01).offsets(weights, gradients), GlobalAWP(0.01).offsets(weights, gradients)
    assert not torch.allclose(one["0.weight"], other["0.weight"])


def test_weights_move_inside_the_block_and_return_to_the_same_bits(network) -> None:
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    with perturbed(network, GlobalAWP(0.1), _gradients(network)):
        assert all(not torch.equal(p, before[name]) for name, p in network.named_parameters() if "weight" in name)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_weights_return_even_when_the_block_fails(network) -> None:
    before = {name: p.detach().clone() for name, p in network.named_parameters()}

    def fail() -> None:
        with perturbed(network, GlobalAWP(0.1), _gradients(network)):
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_the_perturbation_raises_the_loss_it_was_made_for(network) -> None:
    network.eval()
    generator = torch.Generator().manual_seed(1)
    inputs, labels = torch.randn(8, 4, generator=generator), torch.arange(8) % 3
    gradients = _gradients(network)
    before = float(nn.functional.cross_entropy(network(inputs), labels).detach())
    with perturbed(network, LayerwiseAWP(0.01), gradients):
        assert float(nn.functional.cross_entropy(network(inputs), labels).detach()) > before


def test_batch_statistics_are_kept(network) -> None:
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with kept_buffers(network):
        _gradients(network)
        assert not torch.equal(network[1].running_mean, before["1.running_mean"])
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
