"""Average-case flatness of the robust loss (Stutz et al. 2021)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.weight_noise import (
    Perturbed,
    WeightNoise,
    base_losses,
    cross_entropies,
    layer_tensors,
    on_spheres,
    shifted,
)
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["INFO", "AverageFlatness", "standard_error"]

INFO = MeasureInfo(
    id="average_flat",
    title="Average-case flatness",
    family="flatness",
    unit="nats",
    formula="mean_v mean_x l(x'; w + v) - l(x*; w), ||v_l|| = xi ||w_l||, x' attacked under w + v",
    source="Stutz et al. 2021, average-case robust flatness; on the sphere, as in their code and published results",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="10 x (10(F+B)+F) on the first 128 examples (clean: 10 F)",
    explanation="Mean rise of the adversarial loss when every layer's weights move by half their norm in a random"
    " direction and the examples are attacked anew.",
    properties=("logit_shift_invariant", "rescale_invariant"),
    departures="Both terms take PGD's ten steps with the same single random start; the directions are drawn once for"
    " all examples; the first 128 examples by default (Stutz et al.: 1,000), for the draws bring far more spread than"
    " the examples do. Clean images: the clean loss.",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class AverageFlatness:
    """Mean over random weight directions of the loss of re-attacked examples, minus the loss at x*.

    Weights and biases are layers of their own; normalisation layers stay. The standard error joins the spread
    over draws and over examples.
    """

    examples: Examples = "clean"
    xi: float = 0.5
    n_draws: int = 10
    n_examples: int = 128

    @property
    def info(self) -> MeasureInfo:
        """Info for the kind of examples."""
        return INFO.on(self.examples, tier="core" if self.examples == "pgd" else "extended")

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean rise over draws and examples; both parts of the standard error as diagnostics."""
        n = min(self.n_examples, context.n)
        layers = layer_tensors(context)
        noise = WeightNoise(layers, context.settings.seed, "average_flat")
        base = base_losses(context, self.examples, n)
        rises = torch.stack(
            [self._losses(context, on_spheres(layers, noise[d], self.xi), n) - base for d in range(self.n_draws)]
        ).cpu()
        draws, examples = standard_error(rises.mean(1)), standard_error(rises.mean(0))
        return MeasureValue(
            float(rises.mean()),
            math.hypot(draws, examples),
            rises.mean(0),
            {"standard_error_draws": draws, "standard_error_examples": examples, "base_loss": float(base.mean())},
            n,
        )

    def _losses(self, context: MeasureContext, shift: dict[str, Tensor], n: int) -> Tensor:
        """Cross-entropies [n] under shifted weights, of clean images or of examples attacked anew."""
        network = Perturbed(context.network, shifted(context.parameters, shift))
        attack = context.pgd()

        def run(rows: slice) -> Tensor:
            images, labels = context.images[rows], context.labels[rows]
            if self.examples == "pgd":
                images = context.attack_rows(attack, network, rows)
            with torch.no_grad():
                return cross_entropies(network(images), labels)

        return context.batches.cat(run, n)


def standard_error(values: Tensor) -> float:
    """Return s / sqrt(n) of values [n]; 0 for n = 1."""
    return float(values.std(correction=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
