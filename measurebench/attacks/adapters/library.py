"""What an adapter knows of a library of attacks, and what an attack of that library is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from measurebench.attacks.geometry import project
from measurebench.core.errors import BadInputError
from measurebench.core.threat import Norm, ThreatModel

__all__ = ["Library", "Target", "check_norm", "within"]


@dataclass(frozen=True)
class Target:
    """What is attacked: ``network`` at images [n, C, H, W] in [0, 1] with labels int64 [n], within ``threat``.

    ``n_classes`` is the width of the network's output. ``label`` names the attack in messages.
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    threat: ThreatModel
    seed: int
    n_classes: int
    label: str

    @property
    def linf(self) -> bool:
        """Whether the norm is Linf; L2 is the other one."""
        return self.threat.norm is Norm.LINF


@dataclass(frozen=True)
class Library:
    """A library whose attacks are classes.

    ``name`` is the word before the colon, ``distribution`` the name on PyPI. The attacks are the subclasses of
    ``base`` (``module:class``) that ``module`` names; ``example`` is one of them. ``install`` is the command that
    installs the library. ``given`` are the arguments of its classes that follow from the run, each with the option that
    sets it, or with "" where there is none. ``attack`` makes adversarial images [n, C, H, W] with a class and its
    settings.
    """

    name: str
    distribution: str
    module: str
    base: str
    install: str
    given: Mapping[str, str]
    example: str
    attack: Callable[[type, Mapping[str, Any], Target], Tensor]


def check_norm(target: Target, norm: str) -> None:
    """Raise BadInputError for an attack that keeps its images within the ball of another norm than the run's."""
    asked = target.threat.norm.value
    if norm and norm != asked:
        raise BadInputError(f"attack {target.label}", f"an attack for {asked}", f"one for {norm}")


def within(found: Tensor, target: Target) -> Tensor:
    """Return images [n, C, H, W] of an attack without a radius, those farther away moved back to the radius.

    Such an attack looks for the nearest adversarial image. Moved back, an image that was too far seldom remains
    adversarial, and then it counts as a failure of the attack instead of a violation of the threat model.
    """
    return project(found, target.images, target.threat.norm, target.threat.radius)
