from functools import cache

import pytest
import torch
from torch import nn

from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.measures.perturbation.hessian import (
    LossHessian,
    flattened,
    lanczos,
    quadratic_forms,
    traces,
    unflattened,
)
from tests.golden import flatness_reference as reference
from tests.measures.flatness.nets import KINDS, examples, network


class Attention(nn.Module):
    """Patches, one encoder block and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 4, 4, stride=4)
        self.block = nn.TransformerEncoderLayer(4, 2, 6, activation="gelu", batch_first=True)
        self.head = nn.Linear(4, 10)

    def forward(self, images):
        return self.head(self.block(self.embed(images).flatten(2).transpose(1, 2)).mean(1))


def hessian_of(kind, n=6, batch_size=256):
    net = network(kind, 1)
    images, labels = examples(net, n)
    settings = MeasureSettings(ThreatModel.parse("Linf", "8/255"))
    context = MeasureContext(net, images, labels, settings, batch_size=batch_size)
    names = [name for name in context.parameters if kind != "wide" or name == "3.weight"]
    return LossHessian(context, "clean", names, n)


@cache
def dense_of(kind):
    hessian = hessian_of(kind)
    context = hessian.context
    return reference.dense_hessian(context.network, context.images, context.labels, hessian.names)


@pytest.mark.parametrize("kind", KINDS)
def test_products_traces_and_spectrum_are_those_of_the_dense_hessian(kind):
    hessian, dense = hessian_of(kind), dense_of(kind)
    weights = hessian.weights
    vector = torch.cos(torch.arange(hessian.size, dtype=torch.float64))
    product = flattened(hessian.products([unflattened(vector, weights)])[0])
    assert torch.allclose(product, dense @ vector, rtol=1e-9, atol=1e-12)
    eigenvalues = torch.linalg.eigvalsh(dense)
    spectrum = lanczos(hessian, "lanczos", 60)
    assert float(spectrum.ritz[-1]) == pytest.approx(float(eigenvalues[-1]), rel=1e-9)
    found, exact = spectrum.ritz.flip(0), eigenvalues.flip(0)[: len(spectrum.ritz)]
    assert (found <= exact + 1e-9).all()  # Cauchy's interlacing
    sums = traces(hessian, "hess_trace", 60).sum(1)
    error = float(sums.std()) / len(sums) ** 0.5
    assert abs(float(sums.mean()) - float(dense.trace())) < 4 * error + 1e-9


def test_the_trace_estimate_is_the_quadratic_form_of_its_probes():
    hessian, dense = hessian_of("residual"), dense_of("residual")
    names = list(hessian.names)
    rows = traces(hessian, "hess_trace", 5)
    for draw, row in enumerate(rows):
        noise = reference.normals(hessian.context.network, names, 0, "hess_trace", draw)
        z = torch.cat([noise[name].flatten() for name in names]).sign()
        assert float(row.sum()) == pytest.approx(float(z @ dense @ z), rel=1e-9)


def test_batches_change_no_product():
    whole, parts = hessian_of("convolutional"), hessian_of("convolutional", batch_size=4)
    vector = unflattened(torch.sin(torch.arange(whole.size, dtype=torch.float64)), whole.weights)
    first, second = (flattened(h.products([vector])[0]) for h in (whole, parts))
    assert torch.allclose(first, second, rtol=1e-12, atol=1e-14)
    assert whole._graph is not None
    assert parts._graph is None


@pytest.mark.parametrize("at_call", [1, 2])
def test_memory_that_runs_out_in_the_middle_changes_no_product(monkeypatch, at_call):
    """The graph of the whole is kept after the first product; half the examples must not be given it."""
    hessian, dense = hessian_of("convolutional"), dense_of("convolutional")
    vector = torch.sin(torch.arange(hessian.size, dtype=torch.float64))
    calls, of_gradient = [], LossHessian._of_gradient

    def short(self, weights, gradients, vectors):
        calls.append(1)
        if len(calls) == at_call:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return of_gradient(self, weights, gradients, vectors)

    monkeypatch.setattr(LossHessian, "_of_gradient", short)
    for _ in range(2):
        (product,) = hessian.products([unflattened(vector, hessian.weights)])
        assert torch.allclose(flattened(product), dense @ vector, rtol=1e-9, atol=1e-12)
    assert hessian.context.batches.smallest == 3


def test_groups_of_examples_average_to_the_whole():
    hessian, dense = hessian_of("residual"), dense_of("residual")
    vector = torch.ones(hessian.size, dtype=torch.float64)
    other = torch.cos(torch.arange(hessian.size, dtype=torch.float64))
    both = [unflattened(v, hessian.weights) for v in (vector, other)]
    forms = quadratic_forms(hessian, both, n_groups=3)
    assert forms.shape == (2, 3)
    for v, row in zip((vector, other), forms, strict=True):
        assert float(row.mean()) == pytest.approx(float(v @ dense @ v), rel=1e-9)


def test_as_many_steps_as_rows_give_every_eigenvalue():
    hessian, dense = hessian_of("wide"), dense_of("wide")  # last weight alone: 320 rows, of rank 6 * 9 at most
    spectrum = lanczos(hessian, "lanczos", 120)
    eigenvalues = torch.linalg.eigvalsh(dense)
    positive = eigenvalues[eigenvalues > 1e-9]
    assert torch.allclose(spectrum.ritz[-len(positive) :], positive, rtol=1e-7, atol=1e-10)


def test_products_pass_through_attention():
    torch.manual_seed(0)
    net = Attention().double().eval().requires_grad_(False)
    images, labels = examples(net, 5)
    context = MeasureContext(net, images, labels, MeasureSettings(ThreatModel.parse("Linf", "8/255")))
    hessian = LossHessian(context, "clean", list(context.parameters), 5)
    vector = torch.cos(torch.arange(hessian.size, dtype=torch.float64))
    found = flattened(hessian.products([unflattened(vector, hessian.weights)])[0])
    # H v is the change of the gradient along v: central differences are right to h^2 = 1e-10
    moved = {name: 1e-5 * part for name, part in unflattened(vector, hessian.weights).items()}
    up, down = (
        flattened(reference.weight_gradient(reference.moved(net, {n: s * p for n, p in moved.items()}), images, labels))
        for s in (1, -1)
    )
    assert torch.allclose(found, (up - down) / 2e-5, rtol=1e-6, atol=1e-8)
