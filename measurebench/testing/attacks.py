"""The contract of an attack: what the audit, and runs that are resumed or split into batches, expect of it."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from measurebench.attacks.audit import audit
from measurebench.attacks.noise import content_keys
from measurebench.core.threat import ThreatModel
from measurebench.testing.promises import demand, run_promises
from measurebench.testing.small_networks import network, small_examples

__all__ = ["ATTACK_PROMISES", "AttackCase", "check_attack"]

_CLOSE = 1e-9  # float64: batches of another size add up in another order


@dataclass(frozen=True)
class AttackCase:
    """An attack, and the threat model that it is checked with."""

    attack: Any
    threat: ThreatModel
    name: str

    def examples(self) -> tuple[nn.Module, Tensor, Tensor]:
        """Return a float64 network, images [12, 1, 8, 8] and labels [12], of which a quarter are wrong."""
        net = network("convolutional")
        return (net, *small_examples(net, 12))

    def run(self, net: nn.Module, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """Return the attack's images [n, ...] for images [n, ...] and labels [n]; a function has no seed."""
        if not hasattr(self.attack, "info"):
            found: Any = self.attack(net, images, labels)
        else:
            context = importlib.import_module("measurebench.attacks.protocol").AttackContext
            given = context(self.threat, keys=content_keys(images), seed=seed, n_classes=10)
            found = self.attack(net, images, labels, given).adversarial
        self.demand(isinstance(found, Tensor), "it returns images", type(found).__name__)
        return found.detach()  # type: ignore[no-any-return]

    def demand(self, kept: bool, promise: str, detail: str = "") -> None:
        """Raise ContractError, which names the attack, unless a promise is kept."""
        demand(kept, f"attack {self.name!r}", promise, detail)


def check_attack(
    attack: str | Callable[..., Any],
    *,
    norm: str = "Linf",
    radius: str | float = "1/16",
    promises: Iterable[str] | None = None,
) -> None:
    """Check an attack on a small network: by its name, itself, or a function of (network, images, labels).

    A function is told neither norm nor radius here, and has to keep to the given ones. ``promises`` are names in
    ATTACK_PROMISES, by default all. Raises ContractError, an AssertionError, at the first promise that is broken.
    """
    if isinstance(attack, str):
        found = importlib.import_module("measurebench.attacks.registry").find_attack(attack)
    else:
        found = attack
    info = getattr(found, "info", None)
    name = info.id if info else getattr(found, "__name__", repr(found))
    case = AttackCase(found, ThreatModel.parse(norm, radius), name)
    run_promises(ATTACK_PROMISES, promises, case, "an attack")


def info_is_complete(case: AttackCase) -> None:
    """Check that an attack says what tables and pages need; a function has nothing to say."""
    if info := getattr(case.attack, "info", None):
        empty = [name for name in ("id", "title", "source", "explanation") if not getattr(info, name)]
        case.demand(not empty, "its info is complete", f"{', '.join(empty)} missing")


def images_like_the_given(case: AttackCase) -> None:
    """Check that finite images come back in the shape and the dtype of the given ones."""
    net, images, labels = case.examples()
    found = case.run(net, images, labels)
    detail = f"{found.dtype} {list(found.shape)} for {images.dtype} {list(images.shape)}"
    kept = found.shape == images.shape and found.dtype == images.dtype
    case.demand(kept, "its images have the shape and dtype of the given ones", detail)
    case.demand(bool(torch.isfinite(found).all()), "its images are finite")


def in_ball(case: AttackCase) -> None:
    """Check with the audit that images keep to the radius and to [0, 1], unless the attack declares otherwise."""
    if not getattr(getattr(case.attack, "info", None), "in_ball", True):
        return
    net, images, labels = case.examples()
    found = case.run(net, images, labels)
    with torch.no_grad():
        outcome = audit(images, labels, found, net(images), net(found), case.threat)
    detail = "; ".join(outcome.flags)
    case.demand(not bool(outcome.violations.any()), f"its images lie in the {case.threat} ball and in [0, 1]", detail)


def as_found(case: AttackCase) -> None:
    """Check that weights, modes, images and labels are as before."""
    net, images, labels = case.examples()
    state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    copies = images.clone(), labels.clone()
    case.run(net, images, labels)
    kept = torch.equal(images, copies[0]) and torch.equal(labels, copies[1])
    case.demand(kept, "it leaves images and labels as it found them", "it wrote into them")
    changed = [key for key, tensor in net.state_dict().items() if not torch.equal(tensor, state[key])]
    kept = not changed and not any(module.training for module in net.modules())
    case.demand(kept, "it leaves the network as it found it", f"changed: {', '.join(changed) or 'its mode'}")


def reproducible(case: AttackCase) -> None:
    """Check that the same seed gives the same images, whatever torch's global generator did before.

    For a function measurebench seeds the global generator itself, so that it is seeded alike here.
    """
    found = []
    for state in (1, 1 if not hasattr(case.attack, "info") else 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(state)
            found.append(case.run(*case.examples()))
    case.demand(torch.equal(*found), "the same seed gives the same images to the last bit")


def batch_independent(case: AttackCase) -> None:
    """Check an attack that declares it: an image's result does not depend on the images beside it."""
    if not getattr(getattr(case.attack, "info", None), "batch_independent", False):
        return
    net, images, labels = case.examples()
    whole = case.run(net, images, labels)
    parts = torch.cat([case.run(net, images[rows], labels[rows]) for rows in (slice(0, 5), slice(5, None))])
    largest = float((whole - parts).abs().max())
    detail = f"pixels differ by up to {largest:.3g} in batches of 5 and 7"
    case.demand(largest <= _CLOSE, "an image's result does not depend on its batch, as it declares", detail)


ATTACK_PROMISES: Mapping[str, Callable[[AttackCase], None]] = {
    "info": info_is_complete,
    "images_like_the_given": images_like_the_given,
    "in_ball": in_ball,
    "as_found": as_found,
    "reproducible": reproducible,
    "batch_independent": batch_independent,
}
