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


def small(kind):
    if kind == "wide":
        layers = [nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 10)]
        return nn.Sequential(*layers).double().requires_grad_(False)
    return network(kind, 2 if kind == "preactivation" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_trace_and_curvature_index_agree_with_the_dense_hessian_and_the_same_probes(kind):
    net = small(kind)
    images, labels = examples(net, 3)
    weights = dict(net.named_parameters())
    names = list(weights)
    dense = reference.dense_hessian(net, images, labels, names)
    starts = {name: sum(weights[n].numel() for n in names[:i]) for i, name in enumerate(names)}
    probes = [reference.normals(net, names, 0, "hess_trace", draw) for draw in range(30)]
    forms = [float(z @ dense @ z) for z in (torch.cat([p[n].flatten() for n in names]).sign() for p in probes)]
    assert value("hess_trace", net, images, labels).value == pytest.approx(sum(forms) / 30, rel=1e-9)
    layers = [name for name in names if weights[name].dim() > 1]
    total = dict.fromkeys(layers, 0.0)
    for draw in range(30):
        noise = reference.normals(net, layers, 0, "wci", draw)
        z = torch.zeros(len(dense)).double()
        for name in layers:
            z[starts[name] : starts[name] + weights[name].numel()] = weights[name].norm() * noise[name].sign().flatten()
        for name in layers:
            rows = slice(starts[name], starts[name] + weights[name].numel())
            total[name] += float(z[rows] @ (dense @ z)[rows]) / 30
    expected = sum(math.sqrt(max(t, 0.0)) for t in total.values())
    found = value("wci", net, images, labels)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.standard_error > 0


def test_the_index_tends_to_that_of_the_dense_blocks():
    net = small("wide")
    images, labels = examples(net, 6)
    expected = 0.0
    for name in ("1.weight", "3.weight"):
        trace = reference.dense_hessian(net, images, labels, [name]).trace()
        expected += float(net.get_parameter(name).norm() * trace.sqrt())
    found = value(WeightCurvatureIndex(n_probes=400), net, images, labels)
    assert abs(found.value - expected) < 4 * found.standard_error
    assert found.standard_error < 0.2 * expected


def test_curvature_index_survives_rescaling_and_the_trace_does_not():
    images = torch.rand(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(9) % 4
    index, trace = ([value(n, relu_pair(c), images, labels).value for c in (1.0, 10.0)] for n in ("wci", "hess_trace"))
    assert index[1] == pytest.approx(index[0], rel=1e-9)
    assert trace[1] / trace[0] > 5


def test_more_probes_shrink_the_error():
    net = network("residual", 2)
    images, labels = examples(net, 10)
    few, many = (value(HessianTrace(n_probes=k), net, images, labels).standard_error for k in (10, 160))
    assert many < few
    assert WeightCurvatureIndex("pgd").info.id == "wci_pgd"
