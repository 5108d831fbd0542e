"""The settings that decide what a training run becomes, and their validation."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from measurebench.core.digests import digest_json
from measurebench.core.errors import BadInputError, near_names
from measurebench.core.plain_values import plain_value
from measurebench.core.specs import Normalization
from measurebench.core.threat import ThreatModel
from measurebench.training.awp import GlobalAWP, LayerwiseAWP, WeightPerturbation
from measurebench.training.inner import InnerMaximization
from measurebench.training.objectives import Objective, all_objectives, objective_for
from measurebench.training.sam import ASAM, SAM

__all__ = ["USUAL_BETA", "TrainingConfig", "recipe"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("SGD", "AWP", "SAM", "ASAM"),
    "awp": ("layerwise", "global"),
    "schedule": ("steps", "cosine", "cyclic", "constant"),
    "random_start": ("", "uniform", "gaussian", "none"),
    "precision": ("exact", "mixed"),
}
_LARGEST = {
    "rho": math.inf,
    "clip_norm": math.inf,
    "step_fraction": math.inf,
    "weight_decay": math.inf,
    "momentum": 1.0,
    "extra_fraction": 1.0,
}
# One large step works best a little beyond the radius (Wong et al. 2020, "Fast is better than free").
_ONE_STEP_FRACTION = 1.25
_MANY_STEPS_FRACTION = 0.25
# Usual sizes: 0.05 for SAM (Foret et al. 2021, section 3), ten times as much for ASAM (Kwon et al. 2021, section 5).
_USUAL_RHO = {"SAM": 0.05, "ASAM": 0.5}


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one training run; two runs with equal settings become equal networks on one machine.

    ``steps`` of ``step_fraction`` radii (0: 1.25 for one step, 1/4 for more) are the inner maximisation, from the
    objective's own ``random_start`` unless another is named; the radius grows to its full size over
    ``radius_warmup`` epochs (networks without batch norm may otherwise never leave their start). ``optimizer`` is
    SGD, or SGD with adversarial weight perturbation of size ``awp_size`` after ``awp_warmup`` epochs, or SAM or ASAM of
    size ``rho`` (0: 0.05 for SAM, 0.5 for ASAM). The rate falls by ``decay`` at ``milestones`` (shares of the epochs);
    a cyclic one climbs from 0 in a straight line and falls back to 0, batch by batch. ``clip_norm`` limits the
    gradient's L2 norm (0: no limit). ``precision`` is exact, or mixed: bfloat16 where autocast allows, on a GPU. TRADES
    starts its attack 0.001 from the image, less than bfloat16 resolves, so that mixed precision weakens its first step.
    """

    architecture: str
    defense: str
    norm: str
    radius: str
    epochs: int
    learning_rate: float
    architecture_kwargs: Mapping[str, Any] = field(default_factory=dict)
    normalization: str = "none"
    beta: float | None = None
    steps: int = 10
    step_fraction: float = 0.0
    random_start: str = ""
    radius_warmup: int = 0
    optimizer: str = "SGD"
    awp: str = "layerwise"
    awp_size: float = 0.005
    awp_warmup: int = 0
    rho: float = 0.0
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "steps"
    milestones: tuple[float, ...] = (0.5, 0.75)
    decay: float = 0.1
    clip_norm: float = 0.0
    augmentation: bool = True
    extra_data: bool = False
    extra_fraction: float = 0.5
    evaluate_every: int = 1
    evaluation_examples: int = 1000
    seed: int = 0
    precision: str = "exact"

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> "TrainingConfig":
        """Return the settings of a mapping; those that it lacks have their defaults.

        Raises BadInputError, which names ``where`` and the setting, for an unknown name or a value that does not fit.
        """
        known = {f.name: f for f in fields(cls)}
        for name in values:
            if name not in known:
                hint = near_names(name, known) or f"known: {', '.join(known)}"
                raise BadInputError(f"{where}: {name}", "a training setting", "an unknown name", hint)
        for name in ("architecture", "defense", "norm", "radius", "epochs", "learning_rate"):
            if name not in values:
                raise BadInputError(f"{where}: {name}", "a value", "none")
        typed = {name: _typed(f"{where}: {name}", known[name].type, value) for name, value in values.items()}
        config = cls(**_without_steps(typed))
        config._check(where)
        return config

    def _check(self, where: str) -> None:
        """Check choices and ranges."""
        for name, choices in ({"defense": tuple(all_objectives())} | _CHOICES).items():
            if getattr(self, name) not in choices:
                value = getattr(self, name)
                expected = ", ".join(choice for choice in choices if choice)
                raise BadInputError(f"{where}: {name}", expected, repr(value), _near(value, choices))
        least = {
            "epochs": 1,
            "batch_size": 2,
            "evaluate_every": 1,
            "evaluation_examples": 1,
            "awp_warmup": 0,
            "radius_warmup": 0,
            "seed": 0,
        }
        for name, bound in (least | {"steps": 1 if self.objective.adversarial else 0}).items():
            if getattr(self, name) < bound:
                raise BadInputError(f"{where}: {name}", f"a number of at least {bound}", str(getattr(self, name)))
        for name in ("learning_rate", "awp_size", "decay"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadInputError(f"{where}: {name}", "a number above 0", str(getattr(self, name)))
        for name, largest in _LARGEST.items():
            if not 0 <= getattr(self, name) <= largest or math.isinf(getattr(self, name)):
                expected = "a number of at least 0" if math.isinf(largest) else f"a number from 0 to {largest:g}"
                raise BadInputError(f"{where}: {name}", expected, str(getattr(self, name)))
        if self.beta is not None and not math.isfinite(self.beta):
            raise BadInputError(f"{where}: beta", "a finite number", str(self.beta))
        if any(not 0 < milestone < 1 for milestone in self.milestones):
            raise BadInputError(
                f"{where}: milestones", "shares of the epochs, such as [0.5, 0.75]", str(self.milestones)
            )
        ThreatModel.parse(self.norm, self.radius, f"{where}: radius")
        Normalization.named(self.normalization, f"{where}: normalization")

    @property
    def threat(self) -> ThreatModel:
        """The threat model of training and of the PGD accuracy that chooses the best checkpoint."""
        return ThreatModel.parse(self.norm, self.radius)

    @property
    def objective(self) -> Objective:
        """The objective that training minimises."""
        return objective_for(self.defense, self.beta)

    @property
    def attack(self) -> InnerMaximization:
        """The inner maximisation, with the objective's own start unless another is asked for."""
        fraction = self.step_fraction or (_ONE_STEP_FRACTION if self.steps == 1 else _MANY_STEPS_FRACTION)
        start: Any = self.random_start or self.objective.start
        return InnerMaximization(self.threat, self.steps, fraction, start)

    @property
    def weight_perturbation(self) -> WeightPerturbation | None:
        """The weight perturbation, where the optimizer is AWP, SAM or ASAM."""
        if self.optimizer == "SGD":
            return None
        if self.optimizer in _USUAL_RHO:
            rho = self.rho or _USUAL_RHO[self.optimizer]
            return SAM(rho) if self.optimizer == "SAM" else ASAM(rho)
        return LayerwiseAWP(self.awp_size) if self.awp == "layerwise" else GlobalAWP(self.awp_size)

    def radius_share(self, epoch: int) -> float:
        """Return the share of the radius that an epoch (from 0) trains with."""
        return min(1.0, (epoch + 1) / (self.radius_warmup + 1))

    def rate(self, epoch: float) -> float:
        """Return the learning rate of an epoch (from 0); a fraction of one matters to a cyclic rate alone."""
        share = (epoch if self.schedule == "cyclic" else int(epoch)) / self.epochs
        if self.schedule == "cyclic":
            return self.learning_rate * (1 - abs(2 * share - 1))
        if self.schedule == "cosine":
            return 0.5 * self.learning_rate * (1 + math.cos(math.pi * share))
        passed = sum(share >= milestone for milestone in self.milestones) if self.schedule == "steps" else 0
        return self.learning_rate * self.decay**passed

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values.

        A ``rho`` of 0 is left out: runs of earlier versions, which had none, keep their digest and can be resumed.
        """
        values = asdict(self) | {
            "milestones": list(self.milestones),
            "architecture_kwargs": dict(self.architecture_kwargs),
        }
        return {name: value for name, value in values.items() if name != "rho" or value}

    def digest(self) -> str:
        """Return the digest of all settings."""
        return digest_json(self.to_json())


def _near(value: str, choices: tuple[str, ...]) -> str:
    """Return the hint ``did you mean ...``, which forgives upper and lower case."""
    same = [choice for choice in choices if choice and choice.lower() == value.lower()]
    return f"did you mean {same[0]!r}?" if same else near_names(value, filter(None, choices))


def _without_steps(values: dict[str, Any]) -> dict[str, Any]:
    """Training on clean images has no inner maximisation: its steps are 0, whatever was asked for the others."""
    known, name = all_objectives(), values["defense"]
    return values | {"steps": 0} if name in known and not known[name].adversarial else values


_TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    float | None: ((int, float, type(None)), "a number"),
    bool: ((bool,), "true or false"),
    str: ((str,), "text"),
    tuple[float, ...]: ((list, tuple), "a list of numbers"),
    Mapping[str, Any]: ((dict,), "a table such as { width = 16 }"),
}


def _typed(subject: str, kind: Any, value: Any) -> Any:
    """Return the value in its setting's type; text is never read as a number, nor true as 1."""
    accepted, expected = _TYPES[kind]
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
        raise BadInputError(subject, expected, repr(value))
    if value is not None and not isinstance(value, float):  # the ranges of numbers are checked with their settings
        try:
            plain_value(value)
        except ValueError as error:
            raise BadInputError(subject, str(error), _shown(value)) from None
    if isinstance(value, int | float) and float in accepted:
        return float(value)
    if isinstance(value, list | tuple):
        if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in value):
            raise BadInputError(subject, expected, repr(value))
        return tuple(float(item) for item in value)
    return value


def _shown(value: Any) -> str:
    """Return a value as a message shows it; Python refuses to write out a long number."""
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"


_DIGITS: dict[str, Any] = {
    "architecture": "digits-resnet",
    "norm": "Linf",
    "radius": "3/20",
    "epochs": 60,
    "batch_size": 64,
    "learning_rate": 0.1,
}
_CIFAR: dict[str, Any] = {
    "architecture": "resnet-18",
    "norm": "Linf",
    "radius": "8/255",
    "epochs": 200,
    "batch_size": 128,
    "learning_rate": 0.1,
}
USUAL_BETA = {"TRADES": 6.0, "MART": 5.0}


def recipe(dataset: str) -> dict[str, Any]:
    """Return the settings that are usual for a dataset: the study's own for natural images."""
    return dict(_DIGITS if dataset == "digits" else _CIFAR)
