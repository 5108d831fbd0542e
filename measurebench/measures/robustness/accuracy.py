"""Accuracy on clean images and under each attack, on which the robust generalization gap and its baseline rest."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from measurebench.attacks.audit import AttackOutcome, is_correct
from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import Attack
from measurebench.attacks.registry import all_attacks
from measurebench.attacks.standard.sampled import sampled_accuracy
from measurebench.core.info import MeasureInfo
from measurebench.core.intervals import wilson_interval
from measurebench.core.records import Diagnostic
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["AttackAccuracy", "CleanAccuracy", "TrainRobustAccuracy", "accuracy"]


def accuracy(right: Tensor, **diagnostics: Diagnostic) -> MeasureValue:
    """Return the fraction of True in bool [n], its binomial standard error and its 95 % Wilson interval."""
    low, high = wilson_interval(int(right.sum()), len(right))
    return MeasureValue.mean(right.double(), wilson_low=float(low), wilson_high=float(high), **diagnostics)


@register()
@dataclass(frozen=True)
class CleanAccuracy:
    """Fraction of images classified correctly."""

    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="clean_accuracy",
        title="Clean accuracy",
        family="robustness",
        unit="fraction",
        formula="mean_x 1[argmax f(x) = y]",
        latex=r"\frac{1}{n} \sum_x \mathbb{1}[\hat{y}(x) = y]",
        source="Definition; Wilson (1927) interval",
        hypothesis="",
        inputs=("clean",),
        cost="F",
        tier="accuracy",
        splits=("train", "test"),
        explanation="Share of unperturbed images that the network classifies correctly.",
        properties=("logit_scale_invariant", "logit_shift_invariant"),
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the accuracy on clean images; where the output is NaN, the image is misclassified, and counted."""
        n_nan = int(context.clean_logits.isnan().any(1).sum())
        told: dict[str, Diagnostic] = {"n_nan_outputs": n_nan} if n_nan else {}
        return accuracy(is_correct(context.clean_logits, context.labels), **told)


@dataclass(frozen=True)
class AttackAccuracy:
    """Fraction of images classified correctly, and still so after an audited attack.

    Adversarial images that leave the threat model or are not finite never count as successes, so they can only raise
    the value: their number is a diagnostic, and where there is nothing else the accuracy is undefined.
    """

    attack: Attack

    @property
    def info(self) -> MeasureInfo:
        """Info of the accuracy under this attack, made from what the attack says of itself."""
        attack = self.attack.info
        return MeasureInfo(
            id=f"{attack.column}_accuracy",
            title=f"{attack.title} accuracy",
            family="robustness",
            unit="fraction",
            formula="mean_x 1[argmax f(x) = y and argmax f(x*) = y], x* audited",
            latex=r"\frac{1}{n} \sum_x \mathbb{1}[\hat{y}(x) = y]\, \mathbb{1}[\hat{y}(x^*) = y],"
            r"\quad x^*\ \text{audited}",
            source=attack.source,
            hypothesis="",
            inputs=("clean", attack.examples) if attack.examples else ("clean",),
            cost=attack.cost,
            version=attack.version,
            tier="accuracy",
            splits=attack.splits,
            explanation=f"Share of images that stay correctly classified under {attack.title}.",
            properties=("logit_scale_invariant", "logit_shift_invariant"),
        )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the accuracy under the attack; flags, violations and distances as diagnostics."""
        return self.value_of(context.outcome(self.attack))

    def value_of(self, outcome: AttackOutcome) -> MeasureValue:
        """Return the accuracy of an outcome of the attack; undefined where none of its images is admissible."""
        reference = self.attack.info.reference
        diagnostics: dict[str, Diagnostic] = {
            "n_violations": int(outcome.violations.sum()),
            "largest_distance": float(outcome.distances.max()),
            "n_passes": outcome.n_passes,
            "flags": "; ".join(outcome.flags),
            **outcome.counts,
            **_blind(outcome),
            **({"attack": reference} if reference else {}),
            **({"search_network": outcome.search} if outcome.search else {}),
        }
        if reason := _all_invalid(outcome):
            return MeasureValue.undefined(reason, **diagnostics)
        if self.attack.info.sampled:
            return _estimated(outcome, diagnostics)
        return accuracy(outcome.robust, **diagnostics)


def _estimated(outcome: AttackOutcome, diagnostics: dict[str, Diagnostic]) -> MeasureValue:
    """Return the estimate from a sample of what withstood the first attacks, with its standard error and intervals.

    ``low`` and ``high`` bound the accuracy on these images, ``population_low`` and ``population_high`` that of
    the population that they come from.
    """
    counts = outcome.counts
    told = sampled_accuracy(
        len(outcome.robust), counts["n_survivors"], counts["n_sampled"], counts["n_broken_in_sample"]
    )
    low, high = told.population
    bounds = {"low": told.low, "high": told.high, "population_low": low, "population_high": high}
    return MeasureValue(told.value, told.standard_error, None, {**diagnostics, **bounds}, told.n).checked()


def _blind(outcome: AttackOutcome) -> dict[str, Diagnostic]:
    """Return the share of examples at which the attack met gradients that are not finite, where there are any."""
    n = outcome.counts.get("n_nonfinite_gradients", 0)
    return {"share_nonfinite_gradients": n / len(outcome.robust)} if n else {}


def _all_invalid(outcome: AttackOutcome) -> str:
    """Return why an attack says nothing: none of its images is admissible; else an empty text."""
    return f"no valid adversarial image: {'; '.join(outcome.flags)}" if bool(outcome.violations.all()) else ""


for _, _attack in all_attacks().items():
    register(attack=_attack)(AttackAccuracy)


@register()
@dataclass(frozen=True)
class TrainRobustAccuracy:
    """Robust accuracy on the measured split: the first term of the gap, and so its trivial predictor."""

    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="train_robust_acc",
        title="Train robust accuracy",
        family="robustness",
        unit="fraction",
        formula="mean_x 1[argmax f(x) = y and argmax f(x*) = y]",
        latex=r"\frac{1}{n} \sum_x \mathbb{1}[\hat{y}(x) = y]\, \mathbb{1}[\hat{y}(x^*) = y]",
        source="First term of the gap; the baseline that every measure must beat",
        hypothesis="",
        inputs=("clean", "pgd"),
        cost="shared",
        tier="new",
        explanation="Robust accuracy on training images: since the gap is train minus test, it predicts much of it"
        " by construction, and other measures are judged with it held fixed.",
        properties=("logit_scale_invariant", "logit_shift_invariant"),
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the accuracy at the examples that all measures share, PGD's; undefined where none is valid."""
        outcome = context.outcome(PGD())
        if reason := _all_invalid(outcome):
            return MeasureValue.undefined(reason)
        return accuracy(outcome.robust)
