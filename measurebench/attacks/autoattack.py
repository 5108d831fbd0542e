"""AutoAttack (Croce and Hein 2020), standard version, and an estimate of it from a sample, on the package's engine."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from measurebench.attacks.on_engine import COMMON, run_on_engine
from measurebench.attacks.protocol import AttackContext, AttackInfo, AttackResult
from measurebench.attacks.registry import register_attack
from measurebench.attacks.settings import with_own_id
from measurebench.attacks.standard import ATTACKS, SearchNetwork, StandardSettings
from measurebench.core.errors import BadInputError

__all__ = ["AutoAttack", "AutoAttackSampled"]


@register_attack
@dataclass(frozen=True)
class AutoAttack:
    """AutoAttack, each example by itself: its verdict does not depend on the others, their order or interruptions.

    ``search`` is the fastest network that may search: ``reference`` the network itself, ``folded`` the one with batch
    norm folded into convolutions, ``fast`` one with 16-bit layers. The network itself judges in any case. ``attacks``
    are those that run, in their order and with ``+`` between; the standard version has all four.
    """

    search: SearchNetwork = "folded"
    attacks: str = "+".join(ATTACKS)

    elsewhere: ClassVar[Mapping[str, str]] = {
        "version": "autoattack-stock:version=plus and autoattack-stock:version=rand are the other versions",
    }

    base: ClassVar[AttackInfo] = replace(
        COMMON,
        id="autoattack",
        title="AutoAttack",
        source="Croce and Hein 2020, standard version",
        explanation="Four attacks one after another; each takes the images that withstood those before it.",
        cost="about 10^4 F",
    )

    def __post_init__(self) -> None:
        self.settings()

    @property
    def info(self) -> AttackInfo:
        """Info of AutoAttack with these settings."""
        return with_own_id(self.base, self)

    def settings(self) -> StandardSettings:
        """Return the settings of the engine. Raises BadInputError for an attack that AutoAttack does not have."""
        return StandardSettings(attacks=tuple(part.strip() for part in self.attacks.split("+")))

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        """Return adversarial images [n, ...]; what the store holds of an example is not searched again."""
        return run_on_engine(network, images, labels, context, self.settings(), self.search)


@register_attack
@dataclass(frozen=True)
class AutoAttackSampled:
    """APGD on every example, FAB-T and Square on a ``share`` of those that withstand it: an estimate of AutoAttack.

    The sample depends on the examples' keys and the seed. It has at least 40 examples, or all that there are.
    """

    share: float = 0.25
    search: SearchNetwork = "folded"

    base: ClassVar[AttackInfo] = replace(
        COMMON,
        id="autoattack-sampled",
        title="Sampled AutoAttack",
        source="Croce and Hein 2020, FAB-T and Square on a sample; hypergeometric bounds",
        explanation="An estimate of the accuracy under AutoAttack: two of its attacks take a sample of the images"
        " that the others left.",
        cost="about 4*10^3 F",
        batch_independent=False,  # who is sampled depends on who is there
        divisible=False,
        sampled=True,
    )

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise BadInputError("autoattack-sampled: share", "above 0 and at most 1", str(self.share))

    @property
    def info(self) -> AttackInfo:
        """Info of the estimate with these settings."""
        return with_own_id(self.base, self)

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        """Return adversarial images [n, ...]; the counts say how many were left, sampled and broken."""
        return run_on_engine(network, images, labels, context, StandardSettings(), self.search, self.share)
