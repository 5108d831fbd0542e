"""Average-case flatness of the robust loss (Stutz et al. 2021)."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.lengths import squared_length
from measurebench.measures.perturbation.weight_noise import (
    Perturbed,
    WeightNoise,
    base_losses,
    cross_entropies,
    layer_tensors,
)
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["INFO", "AverageFlatness", "standard_error"]

_ATTACKED = r"\ell(x'_v; w + v) - \ell(x^*; w)"
_CLEAN = r"\ell(x; w + v) - \ell(x; w)"


def _latex(rise: str) -> str:
    """Return the mean over directions and examples of an increase of the loss."""
    return (
        rf"\mathbb{{E}}_v\, \frac{{1}}{{n}} \sum_x \bigl( {rise} \bigr),"
        r"\quad \lVert v_l \rVert_2 = \xi \lVert w_l \rVert_2"
    )


INFO = MeasureInfo(
    id="average_flat",
    title="Average-case flatness",
    family="flatness",
    unit="nats",
    formula="mean_v mean_x l(x'; w + v) - l(x*; w), ||v_l|| = xi ||w_l||, x' attacked under w + v",
    latex=_latex(_ATTACKED) + r",\quad x'_v\ \text{attacked under}\ w + v",
    source="Stutz et al. 2021, average-case robust flatness, with directions on the sphere as in their code and"
    " results",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="10 x (10(F+B)+F) on the first 128 examples",
    version=2,  # since the noise is drawn from a counter
    explanation="Mean increase of the adversarial loss when the weights of every layer move by half their norm in a"
    " random direction and the examples are attacked again.",
    properties=("logit_shift_invariant", "rescale_invariant"),
    departures="Both terms use ten steps of PGD from the same single random start. The directions are drawn once for"
    " all examples. By default the first 128 examples are used (1,000 in Stutz et al.), since the value varies far more"
    " between directions than between examples.",
)
_CLEAN_INFO = replace(
    INFO,
    formula="mean_v mean_x l(x; w + v) - l(x; w), ||v_l|| = xi ||w_l||",
    latex=_latex(_CLEAN),
    explanation="Mean increase of the clean loss when the weights of every layer move by half their norm in a random"
    " direction.",
    cost="10 F on the first 128 examples",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class AverageFlatness:
    """Mean over random weight directions of the loss of re-attacked examples, minus the loss at x*.

    A weight and its bias count as two layers; normalisation layers do not move. ``xi`` and the number of draws are
    those of Stutz et al. The standard error combines the spread over draws and the spread over examples.
    """

    examples: Examples = "clean"
    xi: float = 0.5
    n_draws: int = 10
    n_examples: int = 128

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        if self.examples == "clean":
            return _CLEAN_INFO.on("clean", tier="extended")
        return INFO.on("pgd", tier="core")

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean increase over draws and examples; the diagnostics hold both parts of the standard error."""
        n = min(self.n_examples, context.n)
        spheres = _Spheres(context, self.xi)
        base = base_losses(context, self.examples, n)
        rises = torch.stack(
            [self._losses(context, spheres.network(draw), n) - base for draw in range(self.n_draws)]
        ).cpu()
        draws, examples = standard_error(rises.mean(1)), standard_error(rises.mean(0))
        return MeasureValue(
            float(rises.mean()),
            math.hypot(draws, examples),
            rises.mean(0),
            {"standard_error_draws": draws, "standard_error_examples": examples, "base_loss": float(base.mean())},
            n,
        )

    def _losses(self, context: MeasureContext, network: nn.Module, n: int) -> Tensor:
        """Return the cross-entropies [n] of a network, at clean images or at examples that are attacked again."""
        attack = context.pgd()

        def run(rows: slice) -> Tensor:
            images, labels = context.images[rows], context.labels[rows]
            if self.examples == "pgd":
                images = context.attack_rows(attack, network, rows)
            with torch.no_grad():
                return cross_entropies(network(images), labels)

        return context.batches.cat(run, n)


class _Spheres:
    """The network with every layer moved to a random point of a sphere, in buffers that every draw fills anew."""

    def __init__(self, context: MeasureContext, xi: float) -> None:
        self.layers = layer_tensors(context)
        self.noise = WeightNoise(self.layers, context.settings.seed, "average_flat")
        self.reach = [xi * squared_length(weight).sqrt() for weight in self.layers.values()]
        self.moved = {name: weight.new_empty(weight.shape) for name, weight in self.layers.items()}
        self.flat = {name: tensor.view(-1) for name, tensor in self.moved.items()}
        self.perturbed = Perturbed(context.network, self.moved)

    def network(self, draw: int) -> nn.Module:
        """Return the network moved by one draw; the next draw changes it."""
        for name, entries, numbers in self.noise.parts(draw):
            self.flat[name][entries] = numbers
        for (name, weight), reach in zip(self.layers.items(), self.reach, strict=True):
            moved = self.moved[name]
            # 1e-30 only guards a tensor without entries, whose noise has norm 0
            factor = reach / squared_length(moved).sqrt().clamp_min(1e-30)
            moved.mul_(factor.to(weight)).add_(weight)
        return self.perturbed


def standard_error(values: Tensor) -> float:
    """Return the standard error s / sqrt(n) of the mean of values [n]; 0 for n = 1.

    >>> round(standard_error(torch.tensor([1.0, 2.0, 3.0])), 4)
    0.5774
    """
    return float(values.std(correction=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
