from dataclasses import replace

import pytest
import torch

from measurebench.measures.api import measure
from measurebench.measures.flatness.hess_lmax import EffectiveDimension, LargestEigenvalue
from tests.golden import flatness_reference as reference
from tests.measures.flatness.nets import KINDS, examples, linear_fixture, network


def value(item, net, images, labels, **options):
    (found,) = measure(net, images, labels, [item], **options).values()
    return found


def test_the_linear_fixture_has_its_known_spectrum():
    fixture = linear_fixture()
    found = value(LargestEigenvalue(weights_only=True), *fixture)
    assert found.value == pytest.approx(0.298383499939, abs=1e-9)
    for z, expected in ((0.1, 1.858100291360), (0.01, 3.942901230003)):
        item = EffectiveDimension(weights_only=True, z=z)
        assert value(item, *fixture).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS[:3])
def test_eigenvalue_and_dimension_agree_with_the_dense_hessian(kind):
    net = network(kind, 1)
    images, labels = examples(net, 6)
    dense = reference.dense_hessian(net, images, labels, [name for name, _ in net.named_parameters()])
    eigenvalues = torch.linalg.eigvalsh(dense)
    largest = value("hess_lmax", net, images, labels)
    assert largest.value == pytest.approx(float(eigenvalues[-1]), rel=1e-6)
    assert largest.diagnostics["residual"] < 1e-3 * largest.value
    positive = eigenvalues.clamp_min(0)
    exact = float((positive / (positive + 1)).sum())
    few, many = (value(EffectiveDimension(n_steps=k), net, images, labels).value for k in (5, 100))
    assert few < many <= exact + 1e-9
    assert many == pytest.approx(exact, rel=1e-3)


def test_doubling_a_networks_last_weights_does_not_leave_the_eigenvalue():
    net = network("wide")
    images, labels = examples(net, 10)
    first = value("hess_lmax", net, images, labels).value
    net[3].weight.data *= 2
    assert abs(value("hess_lmax", net, images, labels).value / first - 1) > 0.1


def test_errors_over_examples_shrink_with_their_number():
    net = network("wide")
    images, labels = examples(net, 256)
    for item in (LargestEigenvalue(), EffectiveDimension()):
        few, many = (value(replace(item, n_examples=n), net, images, labels) for n in (16, 256))
        assert 0 < many.standard_error < few.standard_error
