"""Third-party attacks: any function of (network, images, labels), called on copies and in isolation."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from measurebench.attacks.isolation import isolated
from measurebench.attacks.protocol import AttackContext, AttackInfo, AttackResult
from measurebench.attacks.settings import setting_text
from measurebench.core.digests import seed_from
from measurebench.core.errors import ModelError

__all__ = ["OFFERED", "PluginAttack"]

# Given by keyword to a function whose signature has a parameter of that name.
OFFERED = ("threat", "norm", "radius", "seed", "generator", "keys", "n_classes", "split")


@dataclass(frozen=True)
class PluginAttack:
    """A function as an attack. ``name`` begins its columns, ``place`` and ``code`` (a digest) are its identity.

    ``settings`` are keyword arguments; ``takes`` names what its signature asks for of what is offered: the threat
    model (``threat``, or its ``norm`` as text and ``radius`` in pixel units), ``seed``, a ``torch.Generator``
    seeded by it, the examples' ``keys`` int64 [n], ``n_classes`` and ``split``.
    """

    function: Callable[..., Any] = field(compare=False)
    name: str
    place: str
    code: str
    settings: tuple[tuple[str, Any], ...] = ()
    takes: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """Where it comes from, with its settings: ``module:callable:name=value``."""
        return ":".join(filter(None, (self.place, self._settings)))

    @property
    def _settings(self) -> str:
        return ",".join(f"{name}={setting_text(value)}" for name, value in self.settings)

    @property
    def info(self) -> AttackInfo:
        """Info with a version that follows from reference and code: a changed function is measured again."""
        identity = hashlib.sha256(f"{self.reference}\n{self.code}".encode()).hexdigest()
        return AttackInfo(
            id=":".join(filter(None, (self.name, self._settings))),
            title=self.name if not self.settings else f"{self.name} ({self._settings})",
            source=self.reference,
            explanation="A third-party attack, audited like the others.",
            version=int(identity[:7], 16),
            min_classes=int("n_classes" in self.takes),
            in_ball=False,
            reference=f"{self.reference}#{self.code[:16]}",
        )

    def named_in_full(self) -> "PluginAttack":
        """Return it with its whole reference as its name."""
        return replace(self, name=self.place)

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        """Return what the function makes of copies of images [n, ...] and labels [n].

        The network is left as it was and random numbers follow from the seed. Raises ModelError where the function
        tries to end the process.
        """
        seed = seed_from("plugin", self.reference, context.seed, context.split, int(context.keys[0]))
        offered = self._offered(context, seed, images.device)
        try:
            with isolated(network, seed, images.device) as flags:
                adversarial = self.function(network, images.clone(), labels.clone(), **offered, **dict(self.settings))
        except SystemExit as error:
            raise ModelError(f"attack {self.reference}: expected images, got sys.exit({error.code!r})") from error
        return AttackResult(adversarial, tuple(flags))

    def _offered(self, context: AttackContext, seed: int, device: torch.device) -> dict[str, Any]:
        threat = context.threat
        makers: dict[str, Callable[[], Any]] = {
            "threat": lambda: threat,
            "norm": lambda: threat.norm.value,
            "radius": lambda: threat.radius,
            "seed": lambda: context.seed,
            "generator": lambda: torch.Generator(device).manual_seed(seed),
            "keys": lambda: context.keys.clone(),
            "n_classes": lambda: context.n_classes,
            "split": lambda: context.split,
        }
        return {name: makers[name]() for name in self.takes}
