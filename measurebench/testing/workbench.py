"""Values of measures on small networks, each computed once, from which the promises of a measure are judged."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from measurebench.core.threat import ThreatModel
from measurebench.measures.api import evaluate, measure, shared_gradients
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.measures.registry import Measure
from measurebench.measures.value import MeasureValue
from measurebench.testing.small_networks import (
    fixed_examples,
    initial_of,
    lively,
    network,
    rescaled_network,
    small_examples,
)

__all__ = [
    "THREAT",
    "N",
    "Values",
    "Workbench",
    "has_hooks",
    "left_as_found",
    "reads_examples",
    "same",
    "trained_network",
]

N = 16  # examples: few enough to be quick, enough for batches of 1, 7 and all
THREAT = ThreatModel.parse("Linf", "1/16")
_SMALL = ThreatModel.parse("Linf", "1/255")  # leaves accuracy on PGD examples well above chance: PAC-Bayes is defined
Values = Mapping[str, MeasureValue]
T = TypeVar("T")


class Workbench:
    """Measures and their values on small networks.

    All measures share one context, as in a run, so that one which spoils what is shared is noticed at the others.
    ``stubborn`` names measures that a change of the network may leave unchanged by chance, because their values lie
    on a grid; for them it is tried on further networks.
    """

    def __init__(self, measures: Sequence[Measure], stubborn: Iterable[str] = ()) -> None:
        self.measures = {item.info.id: item for item in measures}
        self.of_examples = [name for name, item in self.measures.items() if reads_examples(item)]
        self.stubborn = [name for name in self.of_examples if name in set(stubborn)]
        self._memo: dict[Any, Any] = {}

    def values_of(
        self,
        net: nn.Module,
        data: tuple[Tensor, Tensor],
        measures: Iterable[Measure] | None = None,
        *,
        adversarial: Tensor | None = None,
        initial: nn.Module | None = None,
        batch_size: int = 256,
        threat: ThreatModel = THREAT,
    ) -> Values:
        """Return the values of measures (default: all) by id, computed in one context.

        ``data`` is images [n, ...] and labels [n]; ``adversarial`` [n, ...] stands in for PGD's examples.
        """
        images, labels = data
        shared = MeasureContext(
            net,
            images,
            labels,
            MeasureSettings(threat, gradients=shared_gradients(self.measures.values())),
            initial_network=initial or initial_of(net),
            adversarial=adversarial,
            batch_size=batch_size,
        )
        chosen = self.measures.values() if measures is None else measures
        return {item.info.id: evaluate(item, shared) for item in chosen}

    def data(self, kind: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """Return images [16, 1, 8, 8] and labels [16] for the network of a kind."""
        images, labels = small_examples(network(kind), N)
        return images.to(dtype), labels

    def plain(self, kind: str = "convolutional", dtype: torch.dtype = torch.float64) -> Values:
        """Return every measure on one network: what the other values are compared with."""
        return self._once(("plain", kind, dtype), lambda: self.values_of(network(kind, dtype), self.data(kind, dtype)))

    def batched(self, size: int, n: int) -> Values:
        """Return every measure on the first n examples, in batches of a size."""

        def compute() -> Values:
            images, labels = self.data("convolutional")
            return self.values_of(network("convolutional"), (images[:n], labels[:n]), batch_size=size)

        return self._once(("batched", size, n), compute)

    def reordered(self) -> Values:
        """Return every measure on the same examples in another order."""

        def compute() -> Values:
            images, labels = self.data("convolutional")
            order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
            return self.values_of(network("convolutional"), (images[order], labels[order]))

        return self._once("reordered", compute)

    def again(self) -> Values:
        """Return every measure a second time, with another state of torch's global generator."""

        def compute() -> Values:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(12345)
                return self.values_of(network("convolutional"), self.data("convolutional"))

        return self._once("again", compute)

    def changed(self, change: Callable[[nn.Module], nn.Module] | None, kind: str, radius: str) -> Values:
        """Return the measures that read examples, after a change of the network; the examples stay the same."""

        def compute() -> Values:
            net = lively(kind)
            data = small_examples(net, N)
            names = self.of_examples if kind == "convolutional" else self.stubborn
            return self.values_of(
                net if change is None else change(net),
                data,
                [self.measures[name] for name in names],
                adversarial=fixed_examples(data[0]),
                threat=ThreatModel.parse("Linf", radius),
            )

        return self._once(("changed", change, kind, radius), compute)

    def rescaled(self, factor: float) -> Values:
        """Return every measure on a network with two layers rescaled, which leaves its function as it is."""

        def compute() -> Values:
            start = rescaled_network(1.0)
            data = small_examples(start, N)
            return self.values_of(rescaled_network(factor), data, initial=initial_of(start), threat=_SMALL)

        return self._once(("rescaled", factor), compute)

    def shared_before_and_after(self, item: Measure) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return copies of what measures share, by name, made before a measure and after it.

        That is images and PGD examples [16, 1, 8, 8], logits [16, 10] of both, labels and keys [16].
        """
        images, labels = self.data("convolutional")
        net = network("convolutional")
        settings = MeasureSettings(THREAT, gradients=shared_gradients([item]))
        shared = MeasureContext(net, images, labels, settings, initial_network=initial_of(net))

        def copies() -> dict[str, Tensor]:
            logits = {"clean logits": shared.clean_logits, "adversarial logits": shared.adversarial_logits}
            found = {"images": shared.images, "labels": shared.labels, "keys": shared.keys}
            return {name: t.clone() for name, t in (found | {"PGD examples": shared.adversarial} | logits).items()}

        before = copies()
        evaluate(item, shared)
        return before, copies()

    def damage(self) -> frozenset[str]:
        """Return the ids of the measures after which a network in training is not as it was."""
        return self._once("damage", self._damage)

    def _damage(self) -> frozenset[str]:
        net, state, modes = trained_network()
        images, labels = self.data("residual", torch.float32)
        start = initial_of(network("residual", torch.float32))
        broken = set()
        for name, item in self.measures.items():
            measure(net, images[:6], labels[:6], [item], radius=1 / 16, initial_network=start, pgd_steps=1)
            if not left_as_found(net, state, modes):
                broken.add(name)
                net, state, modes = trained_network()
        return frozenset(broken)

    def _once(self, key: Any, compute: Callable[[], T]) -> T:
        if key not in self._memo:
            self._memo[key] = compute()
        found: T = self._memo[key]
        return found


def reads_examples(item: Measure) -> bool:
    """Tell whether a measure declares that it reads images."""
    return bool({"clean", "pgd"} & set(item.info.inputs))


def same(a: MeasureValue, b: MeasureValue, tolerance: float, scale: float = 1.0) -> bool:
    """Tell whether b is ``scale`` times a, to a relative tolerance; two undefined values are the same."""
    if a.value is None or b.value is None:
        return a.value is None and b.value is None
    return abs(a.value * scale - b.value) <= tolerance * max(abs(a.value * scale), abs(b.value)) + 1e-12


def trained_network() -> tuple[nn.Module, dict[str, Tensor], list[bool]]:
    """Return a network in the middle of training, its state dict (tensors of any shape) and the modes of its modules.

    It has gradients, one norm in training mode and another one in evaluation mode.
    """
    net = network("residual", torch.float32)
    net.get_submodule("bn1").train()
    for parameter in net.parameters():
        parameter.requires_grad_(True)
        parameter.grad = torch.ones_like(parameter)
    state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    return net, state, [module.training for module in net.modules()]


def has_hooks(net: nn.Module) -> bool:
    """Tell whether a module of the network has a hook that is called in its forward pass."""
    return any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def left_as_found(net: nn.Module, state: Mapping[str, Tensor], modes: Sequence[bool]) -> bool:
    """Tell whether weights, buffers, gradients, modes and hooks of a ``trained_network`` are as they were.

    ``state`` holds tensors of any shape, ``modes`` one truth value per module, as ``trained_network`` returned them.
    """
    weights = all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())
    gradients = all(
        p.requires_grad and p.grad is not None and torch.equal(p.grad, torch.ones_like(p)) for p in net.parameters()
    )
    return weights and gradients and not has_hooks(net) and [module.training for module in net.modules()] == list(modes)
