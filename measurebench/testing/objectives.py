"""The contract of a training objective: what the trainer and its inner maximisation expect of a defense."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from measurebench.testing.promises import demand, run_promises
from measurebench.testing.small_networks import fixed_examples, network, small_examples
from measurebench.training.objectives import Objective, Start, all_objectives, objective_for

__all__ = ["OBJECTIVE_PROMISES", "ObjectiveCase", "check_objective"]

_EXACT = 1e-9  # float64 sums in another order


@dataclass(frozen=True)
class ObjectiveCase:
    """An objective, and a small network with images [12, 1, 8, 8], their stand-ins for attacked ones, and labels."""

    name: str
    objective: Objective

    def network(self) -> nn.Module:
        """Return a float64 network in evaluation mode, whose weights take gradients."""
        return network("convolutional").requires_grad_(True)

    def examples(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return images [12, 1, 8, 8], adversarial stand-ins of the same shape, and labels [12]."""
        with torch.no_grad():
            images, labels = small_examples(self.network(), 12)
        return images, fixed_examples(images), labels

    def demand(self, kept: bool, promise: str, detail: str = "") -> None:
        """Raise ContractError, which names the objective, unless a promise is kept."""
        demand(kept, f"objective {self.name!r}", promise, detail)


def check_objective(name: str, beta: float | None = None, *, promises: Iterable[str] | None = None) -> None:
    """Check the objective of a defense, by the name that ``train --defense`` takes.

    ``beta`` is its weight, by default the usual one; ``promises`` are names in OBJECTIVE_PROMISES, by default all.
    Raises ContractError, an AssertionError, at the first promise that is broken.
    """
    weight = all_objectives()[name].usual_beta if beta is None else beta
    run_promises(OBJECTIVE_PROMISES, promises, ObjectiveCase(name, objective_for(name, weight)), "an objective")


def says_what_it_is(case: ObjectiveCase) -> None:
    """Check the two class attributes that the trainer reads."""
    adversarial, start = getattr(case.objective, "adversarial", None), getattr(case.objective, "start", None)
    case.demand(isinstance(adversarial, bool), "adversarial is True or False", repr(adversarial))
    case.demand(start in get_args(Start), f"start is one of {', '.join(get_args(Start))}", repr(start))


def loss_is_a_mean(case: ObjectiveCase) -> None:
    """Check that the loss is a finite number, the mean over examples: a batch twice over has the same loss."""
    images, adversarial, labels = case.examples()
    loss = case.objective.loss(case.network(), images, adversarial, labels)
    finite = isinstance(loss, Tensor) and loss.ndim == 0 and bool(torch.isfinite(loss))
    case.demand(finite, "its loss is one finite number", repr(loss))
    twice = [torch.cat([t, t]) for t in (images, adversarial, labels)]
    double = float(case.objective.loss(case.network(), *twice).detach())
    detail = f"{float(loss.detach())} for a batch, {double} for the batch twice over"
    case.demand(abs(double - float(loss.detach())) <= _EXACT * abs(double), "its loss is a mean over examples", detail)


def loss_has_gradients(case: ObjectiveCase) -> None:
    """Check that the loss has a gradient at every weight and that images stay as they were."""
    images, adversarial, labels = case.examples()
    copies = [images.clone(), adversarial.clone(), labels.clone()]
    net = case.network()
    case.objective.loss(net, images, adversarial, labels).backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in net.named_parameters() if p.grad is None or not bool(torch.isfinite(p.grad).all())]
    case.demand(not without, "its loss has finite gradients at all weights", f"not at {', '.join(without[:4])}")
    same = all(torch.equal(a, b) for a, b in zip(copies, (images, adversarial, labels), strict=True))
    case.demand(same, "images and labels are left as they were")


def adversarial_as_declared(case: ObjectiveCase) -> None:
    """Check that adversarial images matter exactly if the objective says that it is adversarial."""
    images, adversarial, labels = case.examples()
    with torch.no_grad():
        a = float(case.objective.loss(case.network(), images, adversarial, labels))
        b = float(case.objective.loss(case.network(), images, images, labels))
    promise = f"with adversarial = {case.objective.adversarial} its loss "
    promise += "depends on adversarial images" if case.objective.adversarial else "ignores adversarial images"
    case.demand((a != b) == case.objective.adversarial, promise, f"{a} with them, {b} without")


def attack_loss_is_a_sum(case: ObjectiveCase) -> None:
    """Check that what the attack ascends is a sum over examples: a mean would shrink each gradient with the batch."""
    images, adversarial, labels = case.examples()
    net = case.network().requires_grad_(False)

    def value(rows: slice) -> float:
        return float(case.objective.attack_loss(net, images[rows])(net(adversarial[rows]), labels[rows]))

    whole, parts = value(slice(None)), value(slice(0, 5)) + value(slice(5, None))
    detail = f"{whole} for all, {parts} for two parts together"
    case.demand(abs(whole - parts) <= _EXACT * (abs(whole) + 1), "its attack loss is a sum over examples", detail)


OBJECTIVE_PROMISES: Mapping[str, Callable[[ObjectiveCase], None]] = {
    "says_what_it_is": says_what_it_is,
    "loss_is_a_mean": loss_is_a_mean,
    "loss_has_gradients": loss_has_gradients,
    "adversarial_as_declared": adversarial_as_declared,
    "attack_loss_is_a_sum": attack_loss_is_a_sum,
}
