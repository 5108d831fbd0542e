"""Runs code of others beside a network without letting it change the network or the random state."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["frozen", "isolated"]

_NUMPY_SEEDS = 2**32


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of the network's parameters inside the block; their own are as before afterwards."""
    before = {parameter: (parameter.grad, parameter.requires_grad) for parameter in network.parameters()}
    network.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, (gradient, needed) in before.items():
            parameter.grad = gradient
            parameter.requires_grad_(needed)


@contextmanager
def isolated(network: nn.Module, seed: int, device: torch.device) -> Iterator[list[str]]:
    """Seed every global stream of random numbers inside the block, and leave everything as found afterwards.

    That is the random state of torch, NumPy and Python, and the network's weights, buffers, modes and gradients.
    Yields a list of warnings, which says afterwards whether weights had to be put back.
    """
    flags: list[str] = []
    state = {name: tensor.detach().clone() for name, tensor in _tensors(network).items()}
    modes = {module: module.training for module in network.modules()}
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with frozen(network), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            np.random.seed(seed % _NUMPY_SEEDS)
            random.seed(seed)
            yield flags
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        for module, training in modes.items():
            module.training = training
        if _put_back(network, state):
            flags.append("the attack changed the network's weights or statistics; they were put back after it")


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _put_back(network: nn.Module, state: dict[str, Tensor]) -> bool:
    """Write the state into the network where it differs; tell whether it did."""
    changed = False
    with torch.no_grad():
        for name, tensor in _tensors(network).items():
            if name in state and not _same(tensor, state[name]):
                tensor.copy_(state[name])
                changed = True
    return changed


def _same(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors of any shape hold the same numbers, NaN in the same places."""
    if torch.equal(a, b):
        return True
    return (
        a.is_floating_point()
        and torch.equal(a.nan_to_num(0.0), b.nan_to_num(0.0))
        and torch.equal(a.isnan(), b.isnan())
    )
