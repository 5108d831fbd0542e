"""Clean, PGD and AutoAttack accuracy: the two ends of the robust generalization gap, and its trivial baseline."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from measurebench.attacks.plugin import attack_name
from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import register
from measurebench.measures.uncertainty import wilson_interval
from measurebench.measures.value import MeasureValue

__all__ = ["AttackAccuracy", "CleanAccuracy", "TrainRobustAccuracy", "accuracy"]


def accuracy(right: Tensor, **diagnostics: str | float | int | None) -> MeasureValue:
    """Return the fraction of True in bool [n], its binomial standard error and its 95 % Wilson interval."""
    low, high = wilson_interval(int(right.sum()), len(right))
    return MeasureValue.mean(right.double(), wilson_low=low, wilson_high=high, **diagnostics)


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
        """Return the accuracy on clean images."""
        return accuracy(context.clean_logits.argmax(1) == context.labels)


@dataclass(frozen=True)
class AttackAccuracy:
    """Fraction of images classified correctly, and still so after an audited attack."""

    attack: str

    @property
    def info(self) -> MeasureInfo:
        """Info of the accuracy under this attack; attacks of others are called by their function's name."""
        name = attack_name(self.attack)
        return MeasureInfo(
            id=f"{name}_accuracy",
            title=f"{_TITLES.get(name, name)} accuracy",
            family="robustness",
            unit="fraction",
            formula="mean_x 1[argmax f(x) = y and argmax f(x*) = y], x* audited",
            latex=r"\frac{1}{n} \sum_x \mathbb{1}[\hat{y}(x) = y]\, \mathbb{1}[\hat{y}(x^*) = y],"
            r"\quad x^*\ \text{audited}",
            source=_SOURCES.get(name, self.attack),
            hypothesis="",
            inputs=("clean", "pgd") if name == "pgd" else ("clean",),
            cost="10(F+B)+F" if name == "pgd" else "about 10^4 F",
            tier="accuracy",
            splits=("train", "test"),
            explanation=f"Share of images that stay correctly classified under {_TITLES.get(name, name)}.",
            properties=("logit_scale_invariant", "logit_shift_invariant"),
        )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the accuracy under the attack; flags, violations and distances as diagnostics."""
        outcome = context.outcome(self.attack)
        return accuracy(
            outcome.robust,
            n_violations=int(outcome.violations.sum()),
            largest_distance=float(outcome.distances.max()),
            n_passes=outcome.n_passes,
            flags="; ".join(outcome.flags),
        )


_TITLES = {"pgd": "PGD", "autoattack": "AutoAttack"}
_SOURCES = {
    "pgd": "Madry et al. 2018; 10 steps of radius / 4, random start",
    "autoattack": "Croce and Hein 2020, standard version",
}
register(attack="pgd")(AttackAccuracy)
register(attack="autoattack")(AttackAccuracy)


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
        """Return PGD accuracy on the context's examples."""
        return accuracy(context.outcome("pgd").robust)
