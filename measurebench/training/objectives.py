"""What defenses minimise in training, given clean images and the examples that the inner maximisation found.

A third-party objective is registered with ``register_objective`` and trained by the name that it gets there.

Notation: z = f(x) and z' = f(x') are the logits of clean and adversarial images, p and p' their softmax, y the label.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.attacks.losses import Loss, cross_entropy_sum
from measurebench.attacks.starts import Start
from measurebench.core.errors import BadInputError, near_names
from measurebench.core.origins import origin_of
from measurebench.core.plugins import load_entry_points
from measurebench.core.registry import Registry

__all__ = [
    "AT",
    "DEFENSES",
    "MART",
    "TRADES",
    "Defense",
    "Objective",
    "Standard",
    "Start",
    "all_objectives",
    "boosted_cross_entropy",
    "kl_divergence",
    "mart_loss",
    "objective_for",
    "register_objective",
    "trades_loss",
]

DEFENSES = ("Standard", "AT", "TRADES", "MART")
Built = TypeVar("Built", bound=Callable[..., "Objective"])


class Objective(Protocol):
    """One defense: what its attack maximises, from where it starts, and what its training minimises.

    Images and adversarial images are [n, ...], labels int64 [n], losses scalars.
    """

    adversarial: ClassVar[bool]
    start: ClassVar[Start]

    def attack_loss(self, network: nn.Module, images: Tensor) -> Loss:
        """Return the loss (logits [n, K], labels [n]) -> sum that the inner maximisation ascends."""

    def loss(self, network: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
        """Return the mean training loss, a scalar, with gradients to the weights."""


@dataclass(frozen=True)
class Defense:
    """A defense that can be trained: ``build`` makes its objective, from a weight beta if it has a ``usual_beta``."""

    name: str
    build: Callable[..., Objective]
    usual_beta: float | None = None
    adversarial: bool = True


_OBJECTIVES: Registry[Defense] = Registry("defense")


def register_objective(name: str, usual_beta: float | None = None) -> Callable[[Built], Built]:
    """Register the decorated class as the objective of the defense ``name``.

    A class with a ``usual_beta`` is built with one positive number, the weight of its second term; any other class is
    built without arguments. The decorator raises BadInputError, which names both origins, for a name that is taken.
    """

    def add(build: Built) -> Built:
        adversarial = bool(getattr(build, "adversarial", True))
        _OBJECTIVES.add(name, Defense(name, build, usual_beta, adversarial), origin_of(build))
        return build

    return add


def all_objectives() -> Registry[Defense]:
    """Return every defense that can be trained, by name: the built-in ones first, then third-party ones.

    >>> list(all_objectives())[:4] == list(DEFENSES)
    True
    """
    load_entry_points("objectives", _OBJECTIVES, lambda defense: str(defense.name))
    return _OBJECTIVES


@register_objective("Standard")
@dataclass(frozen=True)
class Standard:
    """Cross-entropy on clean images [n, ...], a scalar."""

    adversarial: ClassVar[bool] = False
    start: ClassVar[Start] = "none"

    def attack_loss(self, network: nn.Module, images: Tensor) -> Loss:  # noqa: ARG002 - the protocol's arguments
        """Return the cross-entropy; standard training itself attacks nothing."""
        return cross_entropy_sum

    def loss(self, network: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Return CE(z, y)."""
        return F.cross_entropy(network(images), labels)


@register_objective("AT")
@dataclass(frozen=True)
class AT:
    """Adversarial training (Madry et al. 2018, arXiv:1706.06083, eq. 2.1): cross-entropy on PGD examples [n, ...]."""

    adversarial: ClassVar[bool] = True
    start: ClassVar[Start] = "uniform"

    def attack_loss(self, network: nn.Module, images: Tensor) -> Loss:  # noqa: ARG002 - the protocol's arguments
        """Return the cross-entropy."""
        return cross_entropy_sum

    def loss(self, network: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Return CE(z', y)."""
        return F.cross_entropy(network(adversarial), labels)


@register_objective("TRADES", usual_beta=6.0)
@dataclass(frozen=True)
class TRADES:
    """TRADES (Zhang et al. 2019, arXiv:1901.08573, eq. 5): accuracy on clean images, agreement on the others.

    Its attack maximises the divergence from the prediction at the clean images [n, ...], starting from Gaussian noise
    of sigma 0.001.
    """

    beta: float
    adversarial: ClassVar[bool] = True
    start: ClassVar[Start] = "gaussian"

    def attack_loss(self, network: nn.Module, images: Tensor) -> Loss:
        """Return KL(p || p') with p held fixed."""
        with torch.no_grad():
            clean = F.softmax(network(images), dim=1)

        def divergence(logits: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG001 - labels play no part
            return F.kl_div(F.log_softmax(logits, dim=1), clean, reduction="sum")

        return divergence

    def loss(self, network: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
        """Return the TRADES loss."""
        return trades_loss(network(images), network(adversarial), labels, self.beta)


@register_objective("MART", usual_beta=5.0)
@dataclass(frozen=True)
class MART:
    """MART (Wang et al. 2020, "Improving adversarial robustness requires revisiting misclassified examples", eq. 11).

    Its attack maximises the cross-entropy, starting from Gaussian noise of sigma 0.001 around the images [n, ...], as
    its authors' code does.
    """

    beta: float
    adversarial: ClassVar[bool] = True
    start: ClassVar[Start] = "gaussian"

    def attack_loss(self, network: nn.Module, images: Tensor) -> Loss:  # noqa: ARG002 - the protocol's arguments
        """Return the cross-entropy."""
        return cross_entropy_sum

    def loss(self, network: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
        """Return the MART loss."""
        return mart_loss(network(images), network(adversarial), labels, self.beta)


def kl_divergence(clean_logits: Tensor, adversarial_logits: Tensor) -> Tensor:
    """Return KL(p || p') per example in nats, [n], from logits [n, K]; gradients flow through both.

    >>> kl_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([0.])
    """
    log_p = F.log_softmax(clean_logits, dim=1)
    return (log_p.exp() * (log_p - F.log_softmax(adversarial_logits, dim=1))).sum(1)


def trades_loss(clean_logits: Tensor, adversarial_logits: Tensor, labels: Tensor, beta: float) -> Tensor:
    """Return the mean over examples of CE(z, y) + beta KL(p || p'), from logits [n, K]."""
    divergence = kl_divergence(clean_logits, adversarial_logits)
    return F.cross_entropy(clean_logits, labels) + beta * divergence.mean()


def boosted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return BCE per example, [n]: -log p_y - log(1 - max_{k != y} p_k), exact where p_k rounds to 1.

    1 - p_k is the sum of the other probabilities, so its logarithm is the difference of two log-sum-exps; the
    authors' code adds small constants inside the logarithms instead.
    """
    everything = torch.logsumexp(logits, dim=1)
    truth = F.one_hot(labels, logits.shape[1]).bool()
    rival = logits.masked_fill(truth, -torch.inf).argmax(1, keepdim=True)
    without_rival = torch.logsumexp(logits.scatter(1, rival, -torch.inf), dim=1)
    return F.cross_entropy(logits, labels, reduction="none") + everything - without_rival


def mart_loss(clean_logits: Tensor, adversarial_logits: Tensor, labels: Tensor, beta: float) -> Tensor:
    """Return the mean over examples of BCE(p', y) + beta KL(p || p') (1 - p_y), from logits [n, K]."""
    log_p_true = F.log_softmax(clean_logits, dim=1).gather(1, labels[:, None])[:, 0]
    doubt = -torch.expm1(log_p_true)
    divergence = kl_divergence(clean_logits, adversarial_logits)
    return (boosted_cross_entropy(adversarial_logits, labels) + beta * divergence * doubt).mean()


def objective_for(defense: str, beta: float | None) -> Objective:
    """Return the objective of a defense; those with a weight beta, such as TRADES, need it, the others take none.

    Raises BadInputError for a defense that there is not, and for a beta that does not belong to it.

    >>> objective_for("TRADES", 6.0)
    TRADES(beta=6.0)
    """
    known = all_objectives()
    if defense not in known:
        raise BadInputError("defense", ", ".join(known), repr(defense), near_names(defense, known))
    found = known[defense]
    if found.usual_beta is None:
        if beta is not None:
            weighted = " and ".join(name for name, other in known.items() if other.usual_beta is not None)
            raise BadInputError(f"beta of {defense}", f"no beta: only {weighted} have one", repr(beta))
        return found.build()
    if beta is None or beta <= 0:
        raise BadInputError(f"beta of {defense}", f"a positive number ({found.usual_beta:g} is usual)", repr(beta))
    return found.build(beta)
