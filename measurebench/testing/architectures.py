"""The contract of an architecture: what loading, training and measuring expect of a function that builds a network."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from measurebench.models.architectures import Architecture, all_architectures, find
from measurebench.models.verify import preflight_findings
from measurebench.testing.promises import demand, run_promises

__all__ = ["ARCHITECTURE_PROMISES", "ArchitectureCase", "check_architecture"]


@dataclass(frozen=True)
class ArchitectureCase:
    """A registered architecture."""

    architecture: Architecture

    def build(self, n_classes: int = 10, seed: int = 0) -> nn.Module:
        """Return a network with fresh weights in evaluation mode, from a seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.architecture.build(n_classes=n_classes, in_channels=self.architecture.image_shape[0])
        self.demand(isinstance(network, nn.Module), "it builds a torch.nn.Module", type(network).__name__)
        return network.eval()

    def images(self, n: int = 6) -> Tensor:
        """Return random images [n, C, H, W] in [0, 1] of the shape that it names."""
        return torch.rand(n, *self.architecture.image_shape, generator=torch.Generator().manual_seed(1))

    def demand(self, kept: bool, promise: str, detail: str = "") -> None:
        """Raise ContractError, which names the architecture, unless a promise is kept."""
        demand(kept, f"architecture {self.architecture.name!r}", promise, detail)


def check_architecture(architecture: str | Architecture, *, promises: Iterable[str] | None = None) -> None:
    """Check a registered architecture, by name or itself, with fresh weights on random images.

    ``promises`` are names in ARCHITECTURE_PROMISES, by default all. Raises ContractError, an AssertionError, at the
    first promise that is broken, and BadInputError for an unknown name.
    """
    known = find(architecture) if isinstance(architecture, str) else architecture
    case = ArchitectureCase(known or all_architectures()[str(architecture)])
    run_promises(ARCHITECTURE_PROMISES, promises, case, "an architecture")


def classifies(case: ArchitectureCase) -> None:
    """Check that the network passes the preflight of every loaded model, for ten classes and for seven.

    That is: logits of the right width, equal in two passes and in any batch, with a gradient at the images.
    """
    for n_classes in (10, 7):
        network, images = case.build(n_classes).requires_grad_(False), case.images()
        labels = torch.arange(len(images)) % n_classes
        findings = preflight_findings(network, images, labels, n_classes)
        promise = f"with n_classes={n_classes} it maps images {list(case.architecture.image_shape)} to logits"
        case.demand(not findings, promise, str(findings[0]) if findings else "")


def seeded(case: ArchitectureCase) -> None:
    """Check that fresh weights follow from torch's seed and differ between seeds."""
    first, again, other = (case.build(seed=seed).state_dict() for seed in (0, 0, 1))
    equal = list(first) == list(again) and all(torch.equal(first[key], again[key]) for key in first)
    case.demand(equal, "one seed of torch gives the same weights")
    differ = any(not torch.equal(first[key], other[key]) for key in first)
    case.demand(differ, "another seed of torch gives other weights")


def keeps_its_state(case: ArchitectureCase) -> None:
    """Check that a state dict is all that a network is: another one that loads it gives the same logits."""
    network, other = case.build(seed=0), case.build(seed=1)
    other.load_state_dict(network.state_dict(), strict=True)
    with torch.no_grad():
        equal = torch.equal(network(case.images()), other(case.images()))
    case.demand(equal, "its state dict holds all that decides on its output", "the logits of a copy differ")


def trains(case: ArchitectureCase) -> None:
    """Check that in training mode a gradient reaches every weight."""
    network, images = case.build().train(), case.images()
    loss = nn.functional.cross_entropy(network(images), torch.arange(len(images)))
    loss.backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    detail = f"none reaches {', '.join(without[:4])}; name weights that do nothing in unused_weights"
    unused = tuple(getattr(network, "unused_weights", ()))
    case.demand(all(name.startswith(unused or "\0") for name in without), "a gradient reaches every weight", detail)


ARCHITECTURE_PROMISES: Mapping[str, Callable[[ArchitectureCase], None]] = {
    "classifies": classifies,
    "seeded": seeded,
    "keeps_its_state": keeps_its_state,
    "trains": trains,
}
