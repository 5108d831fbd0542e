import math

import pytest
import torch
from torch import nn

from measurebench.measures.api import measure
from measurebench.measures.flatness.hess_trace import HessianTrace, WeightCurvatureIndex
from tests.golden import flatness_reference as reference
from tests.measures.flatness.nets import KINDS, examples, linear_fixture, network, relu_pair


def value(item, net, images, labels, **options):
    (found,) = measure(net, images, labels, [item], **options).values()
    return found


def test_the_linear_fixture_has_its_known_traces():
    fixture = linear_fixture()
    assert value("hess_trace", *fixture).value == pytest.approx(0.908526793127, abs=1e-9)
    assert value(HessianTrace(weights_only=True), *fixture).value == pytest.approx(0.511883590917, abs=1e-9)
    assert value("wci", *fixture).value == pytest.approx(3.472718594551, abs=1e-9)


def test_the_trace_of_a_linear_softmax_is_the_mean_of_its_closed_form():
    # Tr H = E[(1 - sum p^2) ||x||^2] for W; 30 x 10 entries are more than the exact diagonal takes
    torch.manual_seed(0)
    net = nn.Linear(30, 10, bias=False).double().requires_grad_(False)
    images = torch.rand(20, 30, dtype=torch.float64)
    p = net(images).softmax(1)
    exact = float(((1 - p.square().sum(1)) * images.square().sum(1)).mean())
    found = value(HessianTrace(n_probes=400), net, images, torch.arange(20) % 10)
    assert abs(found.value - exact) < 4 * found.standard_error
    assert found.standard_error < 0.05 * exact


@pytest.mark.parametrize("kind", KINDS)
def test_curvature_index_agrees_with_dense_blocks_and_the_same_probes(kind):
    net = network(kind, 2 if kind == "preactivation" else 1)
    images, labels = examples(net, 3)
    names = [name for name, _ in net.named_parameters()]
    if kind == "wide":
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 10)).double().requires_grad_(False)
        names = [name for name, _ in net.named_parameters()]
    dense = reference.dense_hessian(net, images, labels, names)
    offsets, start = {}, 0
    for name, p in net.named_parameters():
        offsets[name] = slice(start, start + p.numel())
        start += p.numel()
    probes = []
    for draw in range(30):
        noise = reference.normals(net, names, 0, "hess_trace", draw)
        probes.append(torch.cat([noise[name].flatten() for name in names]).sign())
    total = 0.0
    for name, p in net.named_parameters():
        if p.dim() > 1:
            trace = sum(float(z[offsets[name]] @ (dense @ z)[offsets[name]]) for z in probes) / 30
            total += math.sqrt(max(trace, 0.0)) * float(p.norm())
    found = value("wci", net, images, labels)
    assert found.value == pytest.approx(total, rel=1e-9)
    assert found.standard_error > 0
    mean = sum(float(z @ dense @ z) for z in probes) / 30
    assert value("hess_trace", net, images, labels).value == pytest.approx(mean, rel=1e-9)


def test_curvature_index_survives_rescaling_and_the_trace_does_not():
    images = torch.rand(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(9) % 4
    index, trace = ([value(n, relu_pair(c), images, labels).value for c in (1.0, 10.0)] for n in ("wci", "hess_trace"))
    assert index[1] == pytest.approx(index[0], rel=0.5)  # the shared probe's cross terms do not rescale exactly
    assert trace[1] / trace[0] > 5


def test_more_probes_shrink_the_error_and_index_and_trace_share_them():
    net = network("residual", 2)
    images, labels = examples(net, 10)
    few, many = (value(HessianTrace(n_probes=k), net, images, labels).standard_error for k in (10, 160))
    assert many < few
    assert WeightCurvatureIndex("pgd").info.id == "wci_pgd"
