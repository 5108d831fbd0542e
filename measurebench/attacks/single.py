"""The attacks of AutoAttack one by one, with the settings of its standard version unless changed."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from measurebench.attacks.on_engine import COMMON, run_on_engine
from measurebench.attacks.protocol import AttackContext, AttackInfo, AttackResult
from measurebench.attacks.registry import register_attack
from measurebench.attacks.settings import with_own_id
from measurebench.attacks.standard import StandardSettings

__all__ = ["APGDCE", "APGDT", "FABT", "Square"]


class _Single:
    """What the four have in common: they run by themselves on the engine."""

    base: ClassVar[AttackInfo]

    def __post_init__(self) -> None:
        self.settings()

    @property
    def info(self) -> AttackInfo:
        """Info of the attack with these settings."""
        return with_own_id(self.base, self)

    def settings(self) -> StandardSettings:
        """Return the settings of the engine. Raises BadInputError where one of them is out of bounds."""
        return StandardSettings(attacks=(self.base.id,), **self.changes())

    def changes(self) -> dict[str, Any]:
        """Return this attack's settings by the engine's names."""
        raise NotImplementedError

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        """Return adversarial images [n, ...]; what the store holds of an example is not searched again."""
        return run_on_engine(network, images, labels, context, self.settings())


@register_attack
@dataclass(frozen=True)
class APGDCE(_Single):
    """Auto-PGD on the cross-entropy: ``steps`` steps, whose length halves where progress is below ``rho``."""

    steps: int = 100
    rho: float = 0.75

    base: ClassVar[AttackInfo] = replace(
        COMMON,
        id="apgd-ce",
        title="APGD-CE",
        source="Croce and Hein 2020, Algorithm 1; 100 steps",
        explanation="Auto-PGD on the cross-entropy: gradient steps whose length adapts to their success.",
        cost="100(F+B)",
    )

    def changes(self) -> dict[str, Any]:
        """Return this attack's settings by the engine's names."""
        return {"apgd_steps": self.steps, "rho": self.rho}


@register_attack
@dataclass(frozen=True)
class APGDT(_Single):
    """Auto-PGD on the targeted DLR loss, for each of the ``targets`` likeliest other classes."""

    steps: int = 100
    targets: int = 9
    rho: float = 0.75

    base: ClassVar[AttackInfo] = replace(
        COMMON,
        id="apgd-t",
        title="APGD-T",
        source="Croce and Hein 2020, section 4; 100 steps, 9 targets",
        explanation="Auto-PGD on the targeted difference-of-logits-ratio loss, towards nine classes one after another.",
        cost="900(F+B)",
    )

    def changes(self) -> dict[str, Any]:
        """Return this attack's settings by the engine's names."""
        return {"apgd_steps": self.steps, "targets": self.targets, "rho": self.rho}


@register_attack
@dataclass(frozen=True)
class FABT(_Single):
    """The targeted Fast Adaptive Boundary attack, for each of the ``targets`` likeliest other classes."""

    steps: int = 100
    targets: int = 9

    base: ClassVar[AttackInfo] = replace(
        COMMON,
        id="fab-t",
        title="FAB-T",
        source="Croce and Hein 2020 (ICML, Minimally distorted adversarial examples); 100 steps, 9 targets",
        explanation="Looks for the nearest adversarial image by projecting on linear approximations of the boundary.",
        cost="900(2F+B)",
    )

    def changes(self) -> dict[str, Any]:
        """Return this attack's settings by the engine's names."""
        return {"fab_steps": self.steps, "targets": self.targets}


@register_attack
@dataclass(frozen=True)
class Square(_Single):
    """Square Attack on the margin: random squares, of which those that help are kept; no gradients."""

    queries: int = 5000

    base: ClassVar[AttackInfo] = replace(
        COMMON,
        id="square",
        title="Square",
        source="Andriushchenko et al. 2020; 5000 queries",
        explanation="Random search with squares, which sees the network's outputs only.",
        cost="5000 F",
    )

    def changes(self) -> dict[str, Any]:
        """Return this attack's settings by the engine's names."""
        return {"square_queries": self.queries}
