"""What the four defenses minimise, given clean images and the examples that the inner maximisation found.

Notation: z = f(x) and z' = f(x') are the logits of clean and adversarial images, p and p' their softmax, y the label.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.attacks.losses import Loss, cross_entropy_sum
from measurebench.attacks.starts import Start
from measurebench.core.errors import BadInputError, near_names

__all__ = [
    "AT",
    "DEFENSES",
    "MART",
    "TRADES",
    "Objective",
    "Standard",
    "Start",
    "boosted_cross_entropy",
    "kl_divergence",
    "mart_loss",
    "objective_for",
    "trades_loss",
]

DEFENSES = ("Standard", "AT", "TRADES", "MART")


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


_WEIGHTED: dict[str, Callable[[float], Objective]] = {"TRADES": TRADES, "MART": MART}


def objective_for(defense: str, beta: float | None) -> Objective:
    """Return the objective of a defense; TRADES and MART need their weight beta, the others take none.

    Raises BadInputError for a defense that there is not, and for a beta that does not belong to it.

    >>> objective_for("TRADES", 6.0)
    TRADES(beta=6.0)
    """
    if defense not in DEFENSES:
        raise BadInputError("defense", ", ".join(DEFENSES), repr(defense), near_names(defense, DEFENSES))
    if defense in _WEIGHTED:
        if beta is None or beta <= 0:
            raise BadInputError(
                f"beta of {defense}", "a positive number (6 for TRADES and 5 for MART are usual)", repr(beta)
            )
        return _WEIGHTED[defense](beta)
    if beta is not None:
        raise BadInputError(f"beta of {defense}", "no beta: only TRADES and MART have one", repr(beta))
    return Standard() if defense == "Standard" else AT()
