import math

import pytest
import torch

from measurebench.measures.api import measure
from tests.golden import flatness_reference as reference
from tests.measures.flatness.nets import examples, network
from tests.measures.flatness.test_pacbayes_flat import FOLDS


def flat(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("kind", ["convolutional", "residual"])
def test_bounds_follow_their_formula_at_the_noise_level_found(kind):
    net, initial = network(kind), network(kind)
    for p in initial.parameters():
        p.data = p + 0.1 * torch.sin(9 * p)
    images, labels = examples(net, 30)
    ids = [
        "pacbayes_flat",
        "pacbayes_init",
        "pacbayes_orig",
        "pacbayes_mag_flat",
        "pacbayes_mag_init",
        "pacbayes_mag_orig",
    ]
    found = measure(net, images, labels, ids, initial_network=initial)
    w, w0 = (flat(reference.folded(twin, FOLDS[kind])) for twin in (net, initial))
    s = found["pacbayes_flat"].diagnostics["sigma"]
    rest = math.log(30 / s) + 10
    for name, v in (("pacbayes_init", w - w0), ("pacbayes_orig", w)):
        assert found[name].value == pytest.approx(float(v @ v) / (4 * s**2) + rest, rel=1e-9)
    s, omega, e2 = found["pacbayes_mag_flat"].diagnostics["sigma"], len(w), 1e-6
    rest = math.log(30 / s) + 10
    for name, v in (("pacbayes_mag_init", w - w0), ("pacbayes_mag_orig", w)):
        terms = torch.log((e2 + (s**2 + 1) * (v @ v) / omega) / (e2 + s**2 * (w - w0) ** 2))
        assert found[name].value == pytest.approx(float(terms.sum()) / 4 + rest, rel=1e-9)
        assert found[name].standard_error > 0


def test_the_error_of_the_bound_follows_that_of_the_noise_level():
    # d/dlog s of a/s^2 - log s is -2a/s^2 - 1
    net = network("wide")
    images, labels = examples(net, 40)
    found = measure(net, images, labels, ["pacbayes_flat", "pacbayes_orig"])
    s, relative = (found["pacbayes_flat"].diagnostics[k] for k in ("sigma", "sigma_relative_error"))
    a = float(flat(net) @ flat(net)) / 4
    assert found["pacbayes_orig"].standard_error == pytest.approx(relative * (2 * a / s**2 + 1), rel=0.01)


def test_without_initial_weights_only_the_bound_from_zero_is_defined():
    net = network("wide")
    images, labels = examples(net, 40)
    found = measure(net, images, labels, ["pacbayes_init", "pacbayes_orig", "pacbayes_mag_init", "pacbayes_mag_orig"])
    assert [name for name, item in found.items() if item.value is not None] == ["pacbayes_orig"]
    assert "initialisation" in found["pacbayes_init"].reason
