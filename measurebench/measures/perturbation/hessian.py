"""The Hessian of the mean loss in the weights, through its products with vectors (double backward, never formed)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from measurebench.compute.memory import free_bytes
from measurebench.core.info import Examples
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.weight_noise import Tensors, WeightNoise

__all__ = [
    "EXACT_BELOW",
    "LossHessian",
    "Spectrum",
    "diagonal_probes",
    "flattened",
    "lanczos",
    "quadratic_forms",
    "traces",
    "unflattened",
]

# Up to this many parameters the unit vectors serve as probes, about twice as many as random ones, and give the exact
# diagonal.
EXACT_BELOW = 64
# Entries of a vector that are converted to float64 at a time, 128 MiB.
_PART = 1 << 24


@dataclass
class LossHessian:
    """H = d^2/dw^2 of the mean cross-entropy over n examples, starting at ``first``, for the parameters ``names``.

    If all examples fit into one batch, the graph of the gradient is kept between products.
    """

    context: MeasureContext
    examples: Examples
    names: Sequence[str]
    n: int
    first: int = 0
    _graph: tuple[list[Tensor], list[Tensor]] | None = field(default=None, repr=False)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The parameters of H by name, each in its own shape: [C_out, C_in, ...] for a weight, [C] for a bias."""
        parameters = self.context.parameters
        return {name: parameters[name] for name in self.names}

    @property
    def size(self) -> int:
        """Number of rows of H."""
        return sum(weight.numel() for weight in self.weights.values())

    @property
    def is_small(self) -> bool:
        """Whether the unit vectors serve as probes, so that the trace is exact."""
        return self.size <= EXACT_BELOW

    def products(self, vectors: Sequence[Tensors]) -> list[dict[str, Tensor]]:
        """Return H v for each vector v, float64, by parameter name and in the same shapes as v."""
        weights = self.weights
        return [unflattened(product, weights) for product in self._flat_products(vectors)]

    def product(self, vector: Tensor) -> Tensor:
        """Return H v for a vector v [P] of all parameters one after another, float64 [P]."""
        return self._flat_products([unflattened(vector, self.weights)])[0]

    def _flat_products(self, vectors: Sequence[Tensors]) -> list[Tensor]:
        weights = self.weights
        device = next(iter(weights.values())).device
        totals = [torch.zeros(self.size, dtype=torch.float64, device=device) for _ in vectors]
        parts = [unflattened(total, weights) for total in totals]
        for found in self.context.batches.each(lambda rows: self._batch(rows, vectors), self.n):
            for total, product in zip(parts, found, strict=True):
                for name, part in zip(self.names, product, strict=True):
                    total[name] += part
        return [total.div_(self.n) for total in totals]

    def _batch(self, rows: slice, vectors: Sequence[Tensors]) -> list[tuple[Tensor, ...]]:
        """Products of one batch's summed loss."""
        kept, self._graph = self._graph, None  # dropped before anything else: memory may run out below
        whole = rows == slice(0, self.n)
        weights, gradients = (kept if whole else None) or self._gradient(
            slice(self.first + rows.start, self.first + rows.stop)
        )
        found = self._of_gradient(weights, gradients, vectors)
        if whole:
            self._graph = weights, gradients
        return found

    def _of_gradient(
        self, weights: list[Tensor], gradients: list[Tensor], vectors: Sequence[Tensors]
    ) -> list[tuple[Tensor, ...]]:
        """Differentiate the gradient's product with each vector."""
        kept = [i for i, gradient in enumerate(gradients) if gradient.requires_grad]
        if not kept:
            return [tuple(torch.zeros_like(w) for w in weights) for _ in vectors]
        found = []
        for vector in vectors:
            # the gradient of a number needs no grad_outputs, for which torch would import sympy (seconds)
            with torch.enable_grad():
                inner = torch.stack([(gradients[i] * vector[self.names[i]].to(weights[i])).sum() for i in kept]).sum()
            found.append(torch.autograd.grad(inner, weights, retain_graph=True, materialize_grads=True))
        return found

    def _gradient(self, rows: slice) -> tuple[list[Tensor], list[Tensor]]:
        parameters = self.context.parameters
        weights = [parameters[name].requires_grad_(True) for name in self.names]
        images = self.context.examples(self.examples)[rows]
        # fused attention has no second derivative
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            logits = self.context.logits_with({**parameters, **dict(zip(self.names, weights, strict=True))}, images)
            loss = F.cross_entropy(logits, self.context.labels[rows], reduction="sum")
            return weights, list(torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True))


def diagonal_probes(hessian: LossHessian, stream: str, n_probes: int) -> Iterator[list[dict[str, Tensor]]]:
    """Yield groups of probes z with E[z z'] = I, by parameter name and in the same shape as each parameter.

    They are random signs in groups of eight or, for a small H, all unit vectors. Unit vectors are scaled by the square
    root of their number, so that the mean of z' H z is the trace in both cases.
    """
    weights = hessian.weights
    if hessian.is_small:
        basis = math.sqrt(hessian.size) * torch.eye(hessian.size, dtype=torch.float64)
        yield [unflattened(row.to(next(iter(weights.values())).device), weights) for row in basis]
        return
    noise = WeightNoise(weights, hessian.context.settings.seed, stream)
    for start in range(0, n_probes, 8):
        yield [noise.signs(draw) for draw in range(start, min(start + 8, n_probes))]


def traces(hessian: LossHessian, stream: str, n_probes: int, scales: Mapping[str, float] | None = None) -> Tensor:
    """Return z_l' (H z)_l per probe and parameter l, float64 [probes, parameters].

    The mean over probes is the trace of each parameter's diagonal block of H. With ``scales``, it is multiplied by the
    square of the parameter's scale.
    """
    rows = []
    for probes in diagonal_probes(hessian, stream, n_probes):
        if scales:
            probes = [{name: scales[name] * part for name, part in probe.items()} for probe in probes]
        for probe, product in zip(probes, hessian.products(probes), strict=True):
            rows.append(torch.stack([(probe[name].double() * product[name]).sum() for name in hessian.names]))
    return torch.stack(rows).cpu()


class _Basis:
    """Orthonormal vectors [P] in the precision of the weights, half of what float64 would take.

    They stay on the device of the weights while they fit into half of its free memory. Later ones wait in the memory of
    the host and are brought back one by one.
    """

    def __init__(self, like: Tensor) -> None:
        self.like, free = like, free_bytes(like.device)
        self.room = math.inf if free is None else free // 2
        self.vectors: list[Tensor] = []

    def append(self, vector: Tensor) -> Tensor:
        """Take up a vector and return it as it is kept."""
        kept = vector.to(self.like.dtype)
        self.room -= kept.nbytes
        self.vectors.append(kept if self.room >= 0 else kept.cpu())
        return kept

    def __iter__(self) -> Iterator[Tensor]:
        return (vector.to(self.like.device) for vector in self.vectors)

    def combined(self, coefficients: Tensor) -> Tensor:
        """Return the sum of the vectors with these coefficients [k], float64 [P]."""
        total = torch.zeros(self.vectors[0].numel(), dtype=torch.float64, device=self.like.device)
        for vector, coefficient in zip(self, coefficients.tolist(), strict=True):
            for part in _parts(vector):
                total[part] += coefficient * vector[part].double()
        return total


def _parts(vector: Tensor) -> Iterator[slice]:
    """Yield consecutive parts of a vector, so that its float64 copy is never there as a whole."""
    return (slice(start, start + _PART) for start in range(0, vector.numel(), _PART))


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the inner product of two vectors [P] in float64."""
    return torch.stack([one[part].double() @ other[part].double() for part in _parts(one)]).sum()


@dataclass(frozen=True)
class Spectrum:
    """Ritz values in ascending order, float64 [k], and what their vectors are made of."""

    ritz: Tensor
    basis: _Basis
    coordinates: Tensor

    def vector(self, coefficients: Tensor) -> Tensor:
        """Return the sum of the Ritz vectors with these coefficients [k], float64 [P]."""
        return self.basis.combined(self.coordinates @ coefficients)


def lanczos(hessian: LossHessian, stream: str, n_steps: int) -> Spectrum:
    """Return the Ritz values of H after ``n_steps`` steps of Lanczos with full reorthogonalisation.

    By Cauchy's interlacing theorem, the i-th largest Ritz value is at most the i-th largest eigenvalue. After as many
    steps as H has rows, they are its eigenvalues. One vector of all weights is kept per step, in their own precision.
    """
    weights = hessian.weights
    start = flattened(WeightNoise(weights, hessian.context.settings.seed, stream)[0])
    basis = _Basis(next(iter(weights.values())))
    newest = basis.append(start / start.norm())
    del start
    alphas: list[float] = []
    betas: list[float] = []
    for _ in range(min(n_steps, hessian.size)):
        residual = hessian.product(newest)
        alphas.append(float(_dot(residual, newest)))
        for _twice in range(2):  # twice is enough (Parlett): one pass loses orthogonality to rounding
            for vector in basis:
                share = _dot(residual, vector)
                for part in _parts(vector):
                    residual[part] -= share * vector[part].double()
        beta = float(residual.norm())
        betas.append(beta)
        # such a small residual is rounding: the Krylov space is exhausted, and a further vector would be noise
        if beta <= 1e-10 * max(map(abs, alphas)) or len(alphas) == hessian.size:
            break
        if len(alphas) < n_steps:
            newest = basis.append(residual.div_(beta))
        del residual
    off = torch.tensor(betas[:-1], dtype=torch.float64)
    matrix = torch.diag(torch.tensor(alphas, dtype=torch.float64)) + torch.diag(off, 1) + torch.diag(off, -1)
    values, coordinates = torch.linalg.eigh(matrix)
    return Spectrum(values, basis, coordinates)


def flattened(tensors: Tensors) -> Tensor:
    """Return the entries of all tensors in one vector, float64 [P]."""
    return torch.cat([tensor.double().flatten() for tensor in tensors.values()])


def unflattened(vector: Tensor, like: Tensors) -> dict[str, Tensor]:
    """Return the parts of a vector [P] by name, in the same shapes as the tensors ``like``."""
    parts = torch.split(vector, [tensor.numel() for tensor in like.values()])
    return {name: part.reshape(like[name].shape) for name, part in zip(like, parts, strict=True)}


def quadratic_forms(hessian: LossHessian, vectors: Sequence[Tensors], n_groups: int = 16) -> Tensor:
    """Return v' H_g v for each vector v and consecutive groups of examples of equal size, float64 [vectors, groups].

    A remainder of the examples is left out. The groups' gradients are shared by all vectors.
    """
    size = max(1, hessian.n // n_groups)
    forms = []
    for start in range(hessian.first, hessian.first + hessian.n - size + 1, size):
        group = LossHessian(hessian.context, hessian.examples, hessian.names, size, start)
        products = group.products(vectors)
        sums = [
            torch.stack([(vector[name].double() * product[name]).sum() for name in hessian.names]).sum()
            for vector, product in zip(vectors, products, strict=True)
        ]
        forms.append(torch.stack(sums))
    return torch.stack(forms, 1).cpu()
