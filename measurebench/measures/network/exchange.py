"""Calls a network with other tensors in the places of its parameters and buffers, and puts the old ones back.

``torch.func.functional_call`` does the same, but it looks for the places at every call, and of a module that is
registered under two names it leaves the new tensors in the network.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["Exchange", "call_with"]

_Store = dict[str, Tensor | None]


class Exchange:
    """Other ``tensors`` for a network, by the names of its parameters and buffers; tied ones go to all their places.

    Raises ValueError at a call for two different values of one tied tensor.
    """

    def __init__(self, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        self.network, self.tensors = network, dict(tensors)
        self._places = _places(network, self.tensors)

    def __call__(self, images: Tensor) -> Tensor:
        """Return what the network makes of images [n, ...] with these tensors: logits [n, K]."""
        if self._places is None:
            found: Tensor = functional_call(self.network, self.tensors, (images,))
            return found
        with _exchanged(self._places):
            logits: Tensor = self.network(images)
            return logits


def call_with(network: nn.Module, tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Return what a network makes of images [n, ...] with other tensors: logits [n, K].

    >>> import torch
    >>> ones = {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}
    >>> call_with(nn.Linear(2, 1), ones, torch.tensor([[1.0, 2.0]])).tolist()
    [[3.0]]
    """
    return Exchange(network, tensors)(images)


def _places(network: nn.Module, tensors: Mapping[str, Tensor]) -> list[tuple[_Store, str, Tensor]] | None:
    """Return where each tensor goes: a module's parameters or buffers, the name there, and the tensor.

    Returns None where torch has to find them: for names of other attributes, and for a tied tensor that is given twice.
    """
    found: dict[str, tuple[_Store, str, Tensor]] = {}
    for prefix, module in network.named_modules(remove_duplicate=False):
        for store in (module._parameters, module._buffers):
            if type(store) is not dict:  # a scripted module keeps its tensors elsewhere
                return None
            for name, value in store.items():
                if value is not None:
                    found[f"{prefix}.{name}" if prefix else name] = (store, name, value)
    if not tensors.keys() <= found.keys():
        return None
    given = {id(found[name][2]): tensor for name, tensor in tensors.items()}
    if len(given) < len(tensors):
        return None
    return [(store, name, given[id(value)]) for store, name, value in found.values() if id(value) in given]


@contextmanager
def _exchanged(places: list[tuple[_Store, str, Tensor]]) -> Iterator[None]:
    """Put tensors into their places while the context lasts, then put back what was there."""
    before = [store[name] for store, name, _ in places]
    try:
        for store, name, tensor in places:
            store[name] = tensor
        yield
    finally:
        for (store, name, _), value in zip(places, before, strict=True):
            store[name] = value
