"""Finds the weights that forward pre-hooks compute, by passing two images through the network and comparing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

__all__ = ["Computed", "Place", "computed_by_hooks", "is_bare"]

# The name of a module in the network, and of one of its tensors.
Place = tuple[str, str]
_WEIGHTS = ("weight", "bias", "in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight")


@dataclass
class Computed:
    """Computed weights by place, and the hooks that compute them, by module name and key.

    ``sources`` are the ids of the tensors that a parametrised weight is made of, ``unsteady`` names a weight that
    differs from pass to pass.
    """

    values: dict[Place, Tensor] = field(default_factory=dict)
    hooks: set[tuple[str, int]] = field(default_factory=set)
    sources: dict[Place, tuple[int, ...]] = field(default_factory=dict)
    requires_grad: dict[Place, bool] = field(default_factory=dict)
    unsteady: str = ""

    def add(self, place: Place, value: Tensor, steady: bool) -> None:
        """Note a weight, of any shape [...]; one that is not steady is named."""
        self.values[place] = value
        if not steady:
            self.unsteady = self.unsteady or repr(".".join(filter(None, place)))


def is_bare(module: nn.Module) -> bool:
    """Tell whether a layer's weight is a plain attribute or missing: something outside its parameters sets it."""
    layer = isinstance(module, (_ConvNd, nn.Linear)) and "weight" not in module._parameters
    return layer and not parametrize.is_parametrized(module, "weight")


def computed_by_hooks(network: nn.Module, image: Tensor, found: Computed) -> None:
    """Add to ``found`` what the forward pre-hooks of a network in evaluation mode compute; leave it as it was.

    ``image`` [1, ...] and a negative of it are passed through it.
    """
    needed = any(parameter.requires_grad for parameter in network.parameters())
    bare = {name: module for name, module in network.named_modules() if is_bare(module)}
    if not bare and not any(module._forward_pre_hooks for module in network.modules()):
        return
    with _left_as_found(network), torch.enable_grad():
        network(image)  # a weight may be missing until the first pass
        first, second = _Recorder(network), _Recorder(network)
        weights = {name: _weight(module) for name, module in bare.items()}
        with first.listening():
            network(image)
        with second.listening():
            network(1 - 0.9 * image)
        set_by_pass = [name for name, module in bare.items() if _weight(module) is not weights[name]]
    for place, value in second.values.items():
        steady = place in first.values and torch.equal(first.values[place], value)
        known = place[1] in _WEIGHTS
        if known or (steady and place in second.trained):
            found.add(place, value, steady)
            found.hooks |= second.hooks_of[place]
            found.requires_grad[place] = needed
    for name in set_by_pass:
        if (name, "weight") not in second.values:
            found.add((name, "weight"), torch.empty(0), steady=False)


def _weight(module: nn.Module) -> object:
    return getattr(module, "weight", None)


class _Recorder:
    """Listens to the forward pre-hooks of a network and notes the tensors that each sets or overwrites."""

    def __init__(self, network: nn.Module) -> None:
        self.names = {module: name for name, module in network.named_modules()}
        self.values: dict[Place, Tensor] = {}
        self.hooks_of: dict[Place, set[tuple[str, int]]] = {}
        self.trained: set[Place] = set()  # tensors that depend on a parameter

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Replace each hook by one that runs it and notes what changed."""
        kept = {module: dict(module._forward_pre_hooks) for module in self.names if module._forward_pre_hooks}
        for module, hooks in kept.items():
            for key, hook in hooks.items():
                module._forward_pre_hooks[key] = self._heard(module, key, hook)
        try:
            yield
        finally:
            for module, hooks in kept.items():
                module._forward_pre_hooks.update(hooks)

    def _heard(self, owner: nn.Module, key: int, hook: Callable[..., Any]) -> Callable[..., Any]:
        def hear(*arguments: Any) -> Any:
            overwritten = _overwritten(owner, lambda: hook(*arguments))
            before = dict(self._tensors())
            result = hook(*arguments)
            for (module, name), tensor in self._tensors():
                if tensor is not before.get((module, name)) or (module is owner and name in overwritten):
                    self._note((self.names[module], name), tensor, (self.names[owner], key))
            return result

        return hear

    def _tensors(self) -> Iterator[tuple[tuple[nn.Module, str], Tensor]]:
        for module in self.names:
            for place in (module.__dict__, module._buffers, module._parameters):
                for name, value in place.items():
                    if isinstance(value, Tensor):
                        yield (module, name), value

    def _note(self, place: Place, tensor: Tensor, hook: tuple[str, int]) -> None:
        self.values[place] = tensor.detach().clone()
        self.hooks_of.setdefault(place, set()).add(hook)
        if tensor.requires_grad:
            self.trained.add(place)


def _overwritten(module: nn.Module, run: Callable[[], Any]) -> set[str]:
    """Return the names of the module's parameters whose values a hook sets: a mark put on them does not survive it."""
    parameters = dict(module.named_parameters(recurse=False))
    values = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.data = values[name] + 1
        run()
        gone = {name for name, p in parameters.items() if not torch.equal(p, values[name] + 1)}
        for name, parameter in parameters.items():
            parameter.data = values[name].clone()
    return gone


@contextmanager
def _left_as_found(network: nn.Module) -> Iterator[None]:
    """Restore the tensors of the network, their values and whether they need gradients, whatever hooks do."""
    parameters = {p: (p.data, p.data.clone(), p.requires_grad) for p in network.parameters()}
    places: list[dict[str, Any]] = [
        place for module in network.modules() for place in (module._buffers, module._parameters)
    ]
    registered = [(place, dict(place)) for place in places]
    plain = {
        module: {k: v for k, v in module.__dict__.items() if isinstance(v, Tensor)} for module in network.modules()
    }
    network.requires_grad_(True)
    try:
        yield
    finally:
        for place, tensors in registered:
            place.clear()
            place.update(tensors)
        for module, attributes in plain.items():
            for name in _attributes(module).keys() - attributes.keys():
                del module.__dict__[name]
            module.__dict__.update(attributes)
        for parameter, (data, value, needed) in parameters.items():
            data.copy_(value)
            parameter.data = data
            parameter.requires_grad_(needed)


def _attributes(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that are neither parameters nor buffers, by name."""
    return {name: value for name, value in module.__dict__.items() if isinstance(value, Tensor)}
