"""The configuration of a run: all that can change a value, and nothing else."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from measurebench.core.digests import digest_json
from measurebench.core.threat import ThreatModel

__all__ = ["Precision", "RunConfig"]

Precision = Literal["exact", "fast"]


@dataclass(frozen=True)
class RunConfig:
    """Dataset and subsets, attack and measure settings, precision and seed, for one model's threat model.

    ``train_digest`` and ``test_digest`` name the images, their labels and their order. How many of them
    AutoAttack takes is no part of it (records carry their n), nor are batch size, workers and device.
    """

    dataset: str
    train_digest: str
    test_digest: str
    threat: ThreatModel
    seed: int = 0
    precision: Precision = "exact"
    pgd_steps: int = 10
    pgd_step_fraction: float = 0.25
    measure_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain JSON values, the radius as an exact fraction."""
        values = asdict(self)
        threat = values.pop("threat")
        return values | {"norm": self.threat.norm.value, "radius": str(threat["fraction"])}

    def digest(self) -> str:
        """Return the digest of everything above."""
        return digest_json(self.to_json())
