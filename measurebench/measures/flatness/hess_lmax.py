"""Largest eigenvalue and effective dimensionality of the Hessian of the loss in the weights."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.core.digests import seed_from
from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.flatness.average_flat import standard_error
from measurebench.measures.flatness.hess_trace import parameters_of_hessian
from measurebench.measures.perturbation.hessian import LossHessian, lanczos, quadratic_forms, unflattened
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["DIMENSION", "LARGEST", "EffectiveDimension", "LanczosRun", "LargestEigenvalue", "SpectrumOfLoss"]

LARGEST = MeasureInfo(
    id="hess_lmax",
    title="Largest Hessian eigenvalue",
    family="flatness",
    unit="nats / weight^2",
    formula="max_{||v|| = 1} v' (d^2/dw^2 mean_x l(x; w)) v",
    latex=r"\max_{\lVert v \rVert_2 = 1} v^{\top} H v,\quad H = \nabla_w^2 \frac{1}{n} \sum_x \ell(x; w)",
    source="Keskar et al. 2017; Lanczos 1950; Yao et al. 2020 (PyHessian)",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="30 products with H (about 4 (F+B) each) on the first 128 examples",
    version=2,  # since the noise is drawn from a counter
    properties=("logit_shift_invariant",),
    explanation="Curvature of the loss in the sharpest direction of the weights.",
    departures="Lanczos iteration replaces power iteration, which finds the eigenvalue of largest magnitude, possibly a"
    " negative one. The diagnostic residual bounds the distance to an eigenvalue.",
)

DIMENSION = MeasureInfo(
    id="effective_dim",
    title="Effective dimensionality",
    family="flatness",
    unit="1",
    formula="sum_i lambda_i / (lambda_i + z) over positive eigenvalues of the Hessian, z = 1",
    latex=r"\sum_{i:\, \lambda_i > 0} \frac{\lambda_i}{\lambda_i + z},"
    r"\quad \lambda_i\ \text{the eigenvalues of the Hessian},\quad z = 1",
    source="MacKay 1992; Maddox et al. 2020; arXiv 2410.18556 (which does not state z)",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="shared with hess_lmax",
    version=2,  # since the noise is drawn from a counter
    tier="new",
    properties=("logit_shift_invariant",),
    explanation="The number of directions in weight space that the data determine.",
    departures="The value is a lower bound. It is the sum over the 30 Ritz values of Lanczos iteration, each of which"
    " is at most the eigenvalue of its rank.",
)


@dataclass(frozen=True)
class SpectrumOfLoss:
    """``ritz`` values in ascending order, float64 [k], of the Hessian on n examples, and what their errors rest on.

    ``residual`` is that of the largest one. ``largest`` [groups] are the quadratic forms of its vector in groups of
    examples, and ``sums`` [4, groups] those of four signed sums of all vectors.
    """

    ritz: Tensor
    residual: float
    largest: Tensor
    sums: Tensor
    n: int


@dataclass(frozen=True)
class LanczosRun:
    """Parameters of the estimate; ``weights_only`` leaves out biases and normalisation layers.

    The residual among the diagnostics says whether the default of 30 steps suffices.
    """

    examples: Examples = "clean"
    n_steps: int = 30
    n_examples: int = 128
    weights_only: bool = False

    def spectrum(self, context: MeasureContext, z: float = 1.0) -> SpectrumOfLoss:
        """Return what both measures take from one run of Lanczos, computed once for the same parameters."""
        n = min(self.n_examples, context.n)
        key = f"{self.examples} spectrum, {self.n_steps} steps, {n} examples, {self.weights_only}, z = {z}"
        return context.shared(key, lambda: self._spectrum(context, n, z))

    def _spectrum(self, context: MeasureContext, n: int, z: float) -> SpectrumOfLoss:
        """Run Lanczos; its vectors, each as large as the network, are gone afterwards."""
        hessian = LossHessian(context, self.examples, parameters_of_hessian(context, self.weights_only), n)
        spectrum = lanczos(hessian, "lanczos", self.n_steps)
        k = len(spectrum.ritz)
        largest = torch.eye(k, dtype=torch.float64)[-1]
        vector = spectrum.vector(largest)
        residual = float((hessian.product(vector) - spectrum.ritz[-1].item() * vector).norm())
        del vector
        shares = torch.where(spectrum.ritz > 0, math.sqrt(z) / (spectrum.ritz.clamp_min(0) + z), 0.0)
        generator = torch.Generator().manual_seed(seed_from(context.settings.seed, "effective_dim"))
        signs = torch.randint(0, 2, (4, k), generator=generator).double() * 2 - 1
        rows, forms = [largest, *(signs * shares)], []
        for pair in (rows[i : i + 2] for i in range(0, len(rows), 2)):  # two vectors of float64 at a time
            vectors = [unflattened(spectrum.vector(row), hessian.weights) for row in pair]
            forms.append(quadratic_forms(hessian, vectors))
            del vectors
        first, *others = torch.cat(forms)
        return SpectrumOfLoss(spectrum.ritz, residual, first, torch.stack(others), hessian.n)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class LargestEigenvalue(LanczosRun):
    """Largest eigenvalue of the Hessian of the mean loss.

    Its standard error over examples is, to first order, that of y' H y over sixteen groups of examples, where y is the
    eigenvector.
    """

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return LARGEST.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the largest Ritz value; the diagnostics hold its residual and the number of steps."""
        found = self.spectrum(context)
        diagnostics = {"residual": found.residual, "n_steps": len(found.ritz)}
        return MeasureValue(float(found.ritz[-1]), standard_error(found.largest), None, diagnostics, found.n)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class EffectiveDimension(LanczosRun):
    """Lower bound of the sum of lambda / (lambda + z) over the positive eigenvalues.

    Its standard error over examples is, to first order, that of sum_i f'(theta_i) y_i' H y_i over sixteen groups of
    examples. Four vectors of random signs estimate the sum over i.
    """

    z: float = 1.0

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return DIMENSION.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the sum over positive Ritz values; the diagnostics hold their number and the smallest Ritz value."""
        found = self.spectrum(context, self.z)
        positive = found.ritz[found.ritz > 0]
        diagnostics = {
            "n_positive": len(positive),
            "n_steps": len(found.ritz),
            "smallest_ritz": float(found.ritz[0]),
        }
        value = float((positive / (positive + self.z)).sum())
        # The random signs make the standard error slightly too large on average.
        return MeasureValue(value, standard_error(found.sums.mean(0)), None, diagnostics, found.n)
