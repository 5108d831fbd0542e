"""The Gaussian posterior of the PAC-Bayes measures: noise on all parameters after batch norm is folded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from measurebench.attacks.audit import is_correct
from measurebench.compute.batching import forward_batches
from measurebench.core.info import Examples
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.folding import folded_state
from measurebench.measures.network.structure import trace
from measurebench.measures.network.weight_blocks import structure_of
from measurebench.measures.perturbation.noise_level import Displacement, DisplacementSearch
from measurebench.measures.perturbation.weight_noise import Perturbed, WeightNoise

__all__ = ["Centre", "Deviations", "accuracy_displacement", "centre"]

# The standard deviation of the noise on each entry of a weight at a level, in the weight's shape or as one number.
Deviations = Callable[[Tensor, float], Tensor | float]


# Weights up to which all are moved as one vector, a part of a draw: a dozen operations on short ones cost as much as a
# pass of a small network. Of longer ones a second copy would be held for nothing.
_JOINED = 1 << 16


@dataclass(frozen=True)
class Centre:
    """The ``weights`` that the noise moves, by name, and the ``fixed`` tensors; together the network's state."""

    weights: Mapping[str, Tensor]
    fixed: Mapping[str, Tensor]

    @property
    def n_weights(self) -> int:
        """The number of entries that the noise moves."""
        return sum(tensor.numel() for tensor in self.weights.values())


def centre(context: MeasureContext, network: nn.Module | None = None) -> Centre:
    """Return the centre of the posterior: the parameters of the network, or of another, with batch norm folded.

    A folded batch norm leaves one shift per channel, which the noise moves as it would move the bias of its layer.
    """
    model = context.network if network is None else network
    found = structure_of(context) if network is None else trace(model, context.images[:1])
    state = {name: t.to(context.images.device) for name, t in folded_state(model, found, context.images.dtype).items()}
    names = dict.fromkeys(name for name, _ in model.named_parameters())
    biases = {id(p): name for name, p in model.named_parameters()}
    by_name = {layer.name: layer.module for layer in found.layers}
    for norm_name, sources in found.folds.items():
        norm = found.norms[norm_name]
        if len(sources) > 1 and any(by_name[source].bias is not None for source in sources):
            continue
        if norm.affine:
            names.pop(f"{norm_name}.weight", None)
        else:
            names[f"{norm_name}.running_mean"] = None
        if (bias := by_name[sources[0]].bias) is not None:
            names.pop(biases[id(bias)], None)
    return Centre({name: state[name] for name in names}, {n: t for n, t in state.items() if n not in names})


class _Noisy:
    """The network with noise around a centre, in buffers that every draw fills anew."""

    def __init__(self, network: nn.Module, point: Centre, seed: int, deviations: Deviations) -> None:
        self.deviations = deviations
        self.weights = {name: weight.reshape(-1) for name, weight in point.weights.items()}
        if joined := point.n_weights <= _JOINED and len({weight.dtype for weight in self.weights.values()}) == 1:
            self.weights = {"all": torch.cat(list(self.weights.values()))}
        self.noise = WeightNoise(self.weights, seed, "pacbayes")
        self.moved = {name: torch.empty_like(weight) for name, weight in self.weights.items()}
        sizes = [weight.numel() for weight in point.weights.values()]
        parts = torch.split(self.moved["all"], sizes) if joined else self.moved.values()
        moved = {n: t.view(w.shape) for (n, w), t in zip(point.weights.items(), parts, strict=True)}
        self.network = Perturbed(network, {**point.fixed, **moved})

    def draw(self, level: float, draw: int) -> Callable[[Tensor], Tensor]:
        """Return the network with the numbers of one draw at a level; the next draw changes it."""
        for name, entries, numbers in self.noise.parts(draw):
            weight = self.weights[name][entries]
            found = self.deviations(weight, level)
            deviation = found if isinstance(found, Tensor) else weight.new_full((1,), found)
            torch.addcmul(weight, numbers.to(weight), deviation, out=self.moved[name][entries])
        return self.network


def accuracy_displacement(
    context: MeasureContext,
    examples: Examples,
    deviations: Deviations,
    target: float,
    largest: float,
    n_draws: int,
    tolerance: float,
    n_examples: int,
    halvings: int | None = None,
) -> Displacement:
    """Return the level at which noise with standard deviation ``deviations(w, level)`` lowers accuracy by ``target``.

    The accuracy is that on the first examples; adversarial examples are not attacked again. The standard normal numbers
    of a draw are the same at every level and for every measure that uses this search. With ``halvings`` the level is
    bisected that often, and ``tolerance`` is one of the accuracy.
    """
    n = min(n_examples, context.n)
    images, labels = context.examples(examples)[:n], context.labels[:n]
    point = context.shared("posterior centre", lambda: centre(context))
    noisy = _Noisy(context.network, point, context.settings.seed, deviations)
    batches = forward_batches(context.batches.size, images)

    def accuracy(level: float, draw: int) -> Tensor:
        network = noisy.draw(level, draw)
        with torch.no_grad():
            logits = batches.cat(lambda rows: network(images[rows]), n)
        return is_correct(logits, labels).sum().double() / n

    start = float(is_correct(context.logits(examples)[:n], labels).double().mean())
    search = DisplacementSearch(accuracy, start, target, largest=largest, n_draws=n_draws, tolerance=tolerance)
    return search.find() if halvings is None else search.halved(halvings, tolerance)
