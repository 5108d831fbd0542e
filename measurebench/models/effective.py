"""Makes computed weights ordinary: weight norm, spectral norm, pruning and other hooks or parametrisations are removed.

A forward pre-hook or a parametrisation computes a layer's weight from other parameters at every pass. Between passes
the layer holds the weight of the last pass, and a perturbation of the weight is overwritten by the next one. The copy
made here holds the computed weights as parameters: it is the same function without the computation.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from measurebench.models.computed_weights import Computed, computed_by_hooks, is_bare

__all__ = ["PlainNetwork", "copied", "has_computed_weights", "plain", "unwrapped"]


@dataclass(frozen=True)
class PlainNetwork:
    """A network whose weights are parameters; ``reason`` says why that is not possible, and is empty if it is."""

    network: nn.Module
    reason: str = ""


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside ``DataParallel`` and ``DistributedDataParallel``, however often it is wrapped.

    >>> inside = nn.Linear(2, 2)
    >>> unwrapped(nn.DataParallel(nn.DataParallel(inside))) is inside
    True
    """
    while isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        network = network.module
    return network


def has_computed_weights(network: nn.Module) -> bool:
    """Tell whether some weight may be computed at each pass: by a parametrisation, a pre-hook, or outside its layer."""
    return any(
        parametrize.is_parametrized(module) or bool(module._forward_pre_hooks) or is_bare(module)
        for module in network.modules()
    )


def copied(network: nn.Module) -> nn.Module:
    """Return a deep copy; weights computed by hooks, which ``deepcopy`` refuses, are copied by value."""
    memo: dict[int, Any] = {}
    for module in network.modules():
        for value in chain(module.__dict__.values(), module._buffers.values()):
            if isinstance(value, Tensor) and value.grad_fn is not None:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(network, memo)


def plain(network: nn.Module, image: Tensor) -> PlainNetwork:
    """Return a copy of the network with its computed weights as parameters; the network itself if it has none.

    ``image`` [1, ...] is passed through the network, so that hooks run; the network stays as found. A weight that
    depends on the image, is drawn anew at every pass, or is set by the pass itself has no fixed value: ``reason``
    names it, and the network comes back as it is.

    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    >>> sorted(name for name, _ in plain(layer, torch.ones(1, 2)).network.named_parameters())
    ['bias', 'weight']
    """
    if not has_computed_weights(network):
        return PlainNetwork(network)
    with _evaluating(network):
        found = _parametrized(network)
        computed_by_hooks(network, image, found)
    if found.unsteady:
        return PlainNetwork(network, f"the weight {found.unsteady} is computed at each pass and has no fixed value")
    if not found.values:
        return PlainNetwork(network)
    return PlainNetwork(_with_parameters(network, found, image))


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Put the network into evaluation mode for a while: spectral norm changes its vectors in training mode."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _parametrized(network: nn.Module) -> Computed:
    """Return the values of all parametrised tensors, by the names of their modules and their own."""
    found = Computed()
    for module_name, module in network.named_modules():
        if not parametrize.is_parametrized(module) or not isinstance(module.parametrizations, nn.ModuleDict):
            continue
        for name, holder in module.parametrizations.items():
            with torch.no_grad():
                value, again = (getattr(module, name).detach().clone() for _ in range(2))
            originals = [t for n, t in holder.named_parameters(recurse=False) if n.startswith("original")]
            found.add((module_name, name), value, torch.equal(value, again))
            found.sources[module_name, name] = tuple(map(id, originals))
            found.requires_grad[module_name, name] = any(tensor.requires_grad for tensor in originals)
    return found


def _with_parameters(network: nn.Module, found: Computed, image: Tensor) -> nn.Module:
    """Return a copy in which the hooks and parametrisations are gone and what they computed are parameters."""
    bare = copied(network).eval()
    modules = dict(bare.named_modules())
    for name, key in found.hooks:
        modules[name]._forward_pre_hooks.pop(key, None)
        modules[name]._forward_pre_hooks_with_kwargs.pop(key, None)
    made: dict[tuple[int, ...], nn.Parameter] = {}
    for (module_name, name), value in found.values.items():
        module, sources = modules[module_name], found.sources.get((module_name, name))
        if parametrize.is_parametrized(module):
            # torch's own removal deletes a property of the class, which the copy shares with the network.
            module.__class__ = type(module).__bases__[0]
            del module._modules["parametrizations"]
        parameter = made.get(sources) if sources else None
        if parameter is None or not torch.equal(parameter, value):
            parameter = nn.Parameter(value, found.requires_grad.get((module_name, name), True))
            if sources:
                made[sources] = parameter  # tied weights stay tied
        _set(module, name, parameter if sources != () else value)
    _drop_unread(bare, {modules[name] for name, _ in found.hooks}, image)
    return bare


def _set(module: nn.Module, name: str, value: Tensor) -> None:
    """Register a parameter (or a buffer) in place of whatever had this name; one that exists keeps its position."""
    module.__dict__.pop(name, None)
    if isinstance(value, nn.Parameter):
        module._buffers.pop(name, None)
        module._parameters[name] = value
    else:
        module._buffers[name] = value


def _drop_unread(network: nn.Module, hooked: set[nn.Module], image: Tensor) -> None:
    """Delete the parameters that only a removed hook read: the output does not depend on them."""
    owned = [(m, name, p) for m in hooked for name, p in m.named_parameters(recurse=False)]
    if not owned:
        return
    needed = {parameter: parameter.requires_grad for parameter in network.parameters()}
    with torch.enable_grad():
        network.requires_grad_(True)
        output = network(image)
        read = torch.autograd.grad(output.sum(), [p for _, _, p in owned], allow_unused=True)
    for (module, name, _), gradient in zip(owned, read, strict=True):
        if gradient is None:
            del module._parameters[name]
    for parameter in network.parameters():
        parameter.requires_grad_(needed[parameter])
