"""The configuration of a run: all that can change a value and nothing else, with the defaults of its settings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from measurebench.core.digests import digest_json
from measurebench.core.errors import BadInputError
from measurebench.core.threat import Norm, ThreatModel

__all__ = ["DEFAULT_THREAT", "PGD_STEPS", "PGD_STEP_FRACTION", "Precision", "RunConfig", "choose_threat"]

Precision = Literal["exact", "fast"]

# RobustBench's main threat model on CIFAR-10; it is used where neither the model nor the user names another.
DEFAULT_THREAT = ThreatModel.parse("Linf", "8/255")
PGD_STEPS = 10  # PGD-10, as in Kim et al. 2023 ("Fantastic Robustness Measures")
PGD_STEP_FRACTION = 0.25  # of the radius: 2/255 for 8/255, as there


@dataclass(frozen=True)
class RunConfig:
    """Dataset and subsets, attack and measure settings, precision and seed, for one model's threat model.

    ``train_digest`` and ``test_digest`` stand for the images, their labels and their order; ``adversarial`` has, by
    split, a digest of the adversarial images that were supplied in place of PGD's. The number of images that
    AutoAttack takes is not part of it (each record has its own n), nor are batch size, workers and device: none of
    them changes a value.
    """

    dataset: str
    train_digest: str
    test_digest: str
    threat: ThreatModel
    seed: int = 0
    precision: Precision = "exact"
    pgd_steps: int = PGD_STEPS
    pgd_step_fraction: float = PGD_STEP_FRACTION
    measure_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    adversarial: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain JSON values, the radius as an exact fraction."""
        values = asdict(self)
        threat = values.pop("threat")
        if not self.adversarial:  # so that configurations without it keep the digests that they always had
            del values["adversarial"]
        return values | {"norm": self.threat.norm.value, "radius": str(threat["fraction"])}

    def digest(self) -> str:
        """Return 16 hex digits that stand for the whole configuration."""
        # Kept, since a plan asks for it several times for each of its models.
        known: str | None = self.__dict__.get("_digest")
        if known is None:
            known = self.__dict__["_digest"] = digest_json(self.to_json())
        return known


def choose_threat(
    own: ThreatModel | None, norm: str | None = None, radius: str | float | None = None, prefix: str = "--"
) -> ThreatModel:
    """Return the threat model for a model: what was asked for, else the model's own, else Linf 8/255.

    A norm alone must be the model's own, since a radius means something else in another norm; ``prefix`` goes before
    option names in messages. Raises BadInputError where the norm differs and no radius was given.

    >>> own = ThreatModel.parse("L2", "0.5")
    >>> str(choose_threat(own)), str(choose_threat(None)), str(choose_threat(own, radius=1))
    ('L2 0.5', 'Linf 8/255', 'L2 1')
    """
    default = own or DEFAULT_THREAT
    chosen = default.norm if norm is None else Norm.parse(norm, f"{prefix}norm")
    if radius is not None:
        return ThreatModel.parse(chosen.value, radius, f"{prefix}radius")
    if chosen != default.norm:
        whose = f"the model's own is {own}" if own else f"the default is {DEFAULT_THREAT}"
        raise BadInputError(f"{prefix}norm", f"{prefix}radius beside {chosen.value}", "no radius", whose)
    return default
