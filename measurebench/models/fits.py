"""Finds the registered architecture that a state dict fits best, for hints in error messages."""

from functools import cache

import torch

from measurebench.models import architectures
from measurebench.models.states import State, is_extra

__all__ = ["Shapes", "best_fit"]

Shapes = dict[str, tuple[int, ...]]


def best_fit(state: State) -> str:
    """Return a hint such as ``the architecture 'resnet-18' fits``, or an empty string if none comes near.

    ``state`` maps names to tensors of any shape; only names and shapes are compared.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    scored = [(*_score(wanted, shapes), name) for name, wanted in _shapes().items()]
    if not scored:
        return ""
    score, difference, name = max(scored)
    if score == 1.0:
        return f"the built-in architecture {name!r} fits"
    # Below a half the keys in common are mostly those that all convolutional networks have.
    return f"the nearest built-in architecture is {name!r}; {difference}" if score > 0.5 else ""


@cache
def _shapes() -> dict[str, Shapes]:
    """Return the keys and shapes of every registered architecture, built without memory for weights."""
    found: dict[str, Shapes] = {}
    for name, item in architectures.all_architectures().items():
        with torch.device("meta"):
            network = item.build(n_classes=10, in_channels=item.image_shape[0])
        found[name] = {key: tuple(t.shape) for key, t in network.state_dict().items()}
    return found


def _score(wanted: Shapes, shapes: Shapes) -> tuple[float, str]:
    """Return the share of keys and shapes in common, and the first difference in words."""
    ends = {key: key for key in wanted}
    prefix = _shared_prefix(wanted, shapes)
    found = {k.removeprefix(prefix): s for k, s in shapes.items() if not is_extra(k)}
    keys = {key for key in set(ends) | set(found) if not key.endswith("num_batches_tracked")}
    same = {key for key in keys if wanted.get(key) == found.get(key)}
    differences = sorted(keys - same)
    if not differences:
        return 1.0, ""
    first = differences[0]
    text = f"it differs in {len(differences)} of {len(keys)} keys, first {first}: "
    text += f"file {list(found[first]) if first in found else 'without it'}, "
    text += f"network {list(wanted[first]) if first in wanted else 'without it'}"
    return len(same) / max(len(keys), 1), text


def _shared_prefix(wanted: Shapes, shapes: Shapes) -> str:
    """Return the wrapper's prefix with which most of the file's keys become the network's."""
    first = next(iter(wanted))
    prefixes = {""} | {key.removesuffix(first) for key in shapes if key.endswith("." + first)}
    return max(prefixes, key=lambda p: (sum(p + key in shapes for key in wanted), -len(p)))
