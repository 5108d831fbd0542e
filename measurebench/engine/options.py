"""What a user may ask of a run; plain values that travel to worker processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from measurebench.attacks.references import split_references
from measurebench.core.config import Precision
from measurebench.core.errors import BadInputError
from measurebench.core.info import Split
from measurebench.core.threat import Norm, ThreatModel

__all__ = ["DEFAULT_THREAT", "RunOptions"]

DEFAULT_THREAT = ThreatModel.parse("Linf", "8/255")


@dataclass(frozen=True)
class RunOptions:
    """Options of ``measurebench run``: numbers of examples are upper limits, radius and norm override the models'."""

    dataset: str
    data_dir: Path | None = None
    measures: str = "core"
    attacks: str = "pgd,autoattack"
    norm: str | None = None
    radius: str | None = None
    train_examples: int = 1000
    test_examples: int = 1000
    autoattack_examples: int | None = None
    autoattack_train_examples: int = 0
    splits: tuple[Split, ...] = ("train",)
    device: str = "auto"
    precision: Precision = "exact"
    batch_size: int | Literal["auto"] = "auto"
    seed: int = 0
    pgd_steps: int = 10
    measure_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    allow_pickle: bool = False
    offline: bool = False
    retry_failed: bool = False

    def __post_init__(self) -> None:
        for name in ("train_examples", "test_examples", "autoattack_examples", "pgd_steps"):
            _at_least(name, getattr(self, name), 1)
        _at_least("autoattack_train_examples", self.autoattack_train_examples, 0)
        if self.batch_size != "auto":
            _at_least("batch_size", self.batch_size, 1)
        if self.precision not in ("exact", "fast"):
            raise BadInputError("precision", "exact or fast", repr(self.precision))
        self.threat_of(None)

    @property
    def attack_list(self) -> tuple[str, ...]:
        """The attacks by reference, such as ``pgd`` or ``module:callable``; for ``none`` the empty tuple."""
        return split_references(self.attacks)

    def threat_of(self, threat: ThreatModel | None) -> ThreatModel:
        """Return the threat model for a model: as asked for, else the model's own, else Linf 8/255."""
        own = threat or DEFAULT_THREAT
        if self.norm is None and self.radius is None:
            return own
        norm = own.norm.value if self.norm is None else Norm.parse(self.norm, "--norm").value
        if self.radius is None and norm != own.norm.value:
            raise BadInputError("--norm", f"--radius beside it, since {norm} is not the model's own norm", "none")
        return ThreatModel.parse(norm, self.radius or own.text, "--radius")


def _at_least(name: str, value: Any, least: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise BadInputError(f"--{name.replace('_', '-')}", f"a whole number, at least {least}", repr(value))
