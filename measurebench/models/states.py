"""Finds the state dict inside a checkpoint and fits it, key by key, to the names of a network."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from measurebench.core.errors import BadInputError
from measurebench.core.specs import Normalization
from measurebench.models.tensor_kinds import kinds_converted, ordinary, same_values

__all__ = [
    "Fitted",
    "KeyPath",
    "State",
    "as_state",
    "candidates",
    "describe",
    "distinct",
    "fit",
    "is_extra",
    "kept_normalization",
    "state_at",
    "wrapper_prefix",
]

KeyPath = tuple[str | int, ...]
State = dict[str, Tensor]

_NOT_WEIGHTS = ("optim", "sched", "scaler", "loss", "rng", "history", "callbacks", "loops")
_DEPTH = 4  # of nested dictionaries and lists; deeper state dicts have not been seen, and a file may be deep
_COUNTERS = ("num_batches_tracked",)
_MEANS, _STDS = ("mean", "mu", "new_mean"), ("std", "sigma", "new_std")
_EXTRAS = (*_MEANS, *_STDS, "n_classes", "num_classes", "n_averaged")


@dataclass(frozen=True)
class Fitted:
    """Weights by the network's names, the prefix that was removed, and what else the file held.

    ``converted`` says how tensors of unusual kinds were read.
    """

    state: State
    prefix: str = ""
    counters_missing: int = 0
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    converted: tuple[str, ...] = ()


def candidates(content: Any) -> Iterator[tuple[KeyPath, State]]:
    """Yield every place (a path of keys) in a checkpoint that holds a state dict, outermost first.

    A list or dictionary that lies in several places is looked into once: a small file may name one a million times.
    """
    level: list[tuple[KeyPath, Any]] = [((), content)]
    seen: set[int] = set()
    states: dict[int, State | None] = {}
    for depth in range(_DEPTH + 1):
        inside: list[tuple[KeyPath, Any]] = []
        for place, value in level:
            if id(value) not in states:
                states[id(value)] = _state_of(value)
            if state := states[id(value)]:
                yield place, state
            elif depth < _DEPTH and id(value) not in seen:
                seen.add(id(value))
                inside += [((*place, key), item) for key, item in _items(value)]
        level = inside


def distinct(found: list[tuple[KeyPath, State]]) -> list[tuple[KeyPath, State]]:
    """Return the state dicts without those that equal an earlier one, number by number.

    Trainers save the same weights twice under two names, such as ``rmodel`` and ``rmodel_1``.
    """
    kept: list[tuple[KeyPath, State]] = []
    for place, state in found:
        if not any(_equal(state, other) for _, other in kept):
            kept.append((place, state))
    return kept


def _equal(first: State, second: State) -> bool:
    """Compare two state dicts: names, shapes and numbers."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def _state_of(content: Any) -> State | None:
    """Return the weights of a module or of a mapping that holds tensors alone; None for anything else."""
    if isinstance(content, nn.Module):
        return dict(content.state_dict())
    return as_state(content) if isinstance(content, Mapping) else None


def _items(content: Any) -> Iterable[tuple[str | int, Any]]:
    """Return what may hold weights inside a dictionary or a list, with its key."""
    if isinstance(content, Mapping):
        return (
            (key, value)
            for key, value in content.items()
            if isinstance(key, str) and not key.lower().startswith(_NOT_WEIGHTS) and _is_container(value)
        )
    if isinstance(content, list | tuple):
        return ((number, value) for number, value in enumerate(content) if _is_container(value))
    return ()


def _is_container(value: Any) -> bool:
    return isinstance(value, nn.Module | Mapping | list | tuple)


def as_state(content: Mapping[Any, Any]) -> State | None:
    """Return a mapping as a state dict of tensors of any shape, or None if it is not one.

    Numbers under dotted names become tensors. At least one tensor must not be a scalar.
    """
    state: State = {}
    for key, value in content.items():
        if not isinstance(key, str):
            return None
        if isinstance(value, Tensor):
            state[key] = value.detach()
        elif key == "_metadata" or key.endswith("_extra_state"):
            continue
        elif not isinstance(value, (bool, int, float)) or "." not in key:
            return None
        else:
            state[key] = torch.as_tensor(value)
    return state if any(tensor.ndim for tensor in state.values()) else None


def state_at(content: Any, place: KeyPath, subject: str) -> State:
    """Return the state dict at a path of keys, such as ``("state_dict", 0)``.

    Raises BadInputError, which names ``subject``, if there is no such place or no state dict there.
    """
    found, walked = content, ""
    for part in place:
        reachable = isinstance(found, Mapping) or (isinstance(found, (list, tuple)) and isinstance(part, int))
        try:
            found = found[part] if reachable else found[()]
        except (KeyError, IndexError, TypeError):
            raise BadInputError(
                f"{subject}: weights",
                f"{part!r} inside the file{walked and ' under ' + walked}",
                describe(found),
            ) from None
        walked += f"[{part!r}]"
    if isinstance(found, nn.Module):
        return dict(found.state_dict())
    state = as_state(found) if isinstance(found, Mapping) else None
    if state is None:
        raise BadInputError(f"{subject}: weights", f"a state dict at {walked or 'the top'}", describe(found))
    return state


def describe(content: Any) -> str:
    """Say in a few words what a checkpoint holds."""
    if isinstance(content, Mapping):
        keys = ", ".join(repr(key) for key in list(content)[:8])
        return f"a dictionary with {keys or 'no keys'}{', ...' if len(content) > 8 else ''}"
    if isinstance(content, (list, tuple)):
        return f"a list of {len(content)}"
    if isinstance(content, Tensor):
        return f"one tensor of shape {list(content.shape)}"
    return f"{type(content).__name__} {str(content)[:40]!r}"


def fit(network: nn.Module, state: State, subject: str, constants: tuple[str, ...] = ()) -> Fitted:
    """Return the weights under the network's names; every key must match, and so must its shape.

    A prefix of a wrapper (``module.``, ``model.``, ``_orig_mod.`` or any other) is removed if all of the network's
    keys have it. Batch-norm counters may be missing. Buffers of a normalisation or a class count are set aside, and so
    are weights that the network declares as unused (``unused_weights``). ``constants`` are the last parts of names of
    buffers that the network's own code fills, so that a file may lack them. Raises BadInputError, which lists the keys
    that differ on both sides, and for weights that are no floating-point numbers where the network's are.
    """
    wanted = network.state_dict()
    prefix = wrapper_prefix([key for key in wanted if not key.endswith((*_COUNTERS, *constants))], state)
    found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    others = {key: value for key, value in state.items() if not key.startswith(prefix)}
    missing = [key for key in wanted if key not in found]
    counters = [key for key in missing if key.endswith((*_COUNTERS, *constants))]
    others |= {prefix + key: found.pop(key) for key in list(found) if key not in wanted}
    unused = tuple(getattr(network, "unused_weights", ()))
    unknown = [
        key
        for key, value in others.items()
        if not is_extra(key) and not key.removeprefix(prefix).startswith(unused) and not _is_copy(key, value, found)
    ]
    shapes = [key for key in found if found[key].shape != wanted[key].shape]
    if unknown or shapes or len(missing) > len(counters):
        raise _misfit(subject, [k for k in missing if k not in counters], unknown, shapes, wanted, found)
    full = {
        key: ordinary(found[key], wanted[key], f"{subject}: {key}") if key in found else wanted[key] for key in wanted
    }
    return Fitted(full, prefix, len(counters), others, kinds_converted(found))


def _is_copy(key: str, value: Tensor, found: State) -> bool:
    """Tell whether weights are a second copy, as a wrapper writes that holds the network twice."""
    longest = max(map(len, found), default=0)
    tail, names = key[-longest - 1 :], []  # a longer end is no name of the network, whatever a file calls its tensors
    while tail:
        _, dot, tail = tail.partition(".")
        names += [tail] * bool(dot)
    return any(name in found and same_values(found[name], value) for name in names)


def is_extra(key: str) -> bool:
    """Tell whether a key is of a buffer that wrappers add: a normalisation, or the number of classes.

    >>> is_extra("normalize.mean"), is_extra("conv1.weight")
    (True, False)
    """
    return key.rpartition(".")[2].lstrip("_") in _EXTRAS


def wrapper_prefix(names: list[str], state: State) -> str:
    """Return the prefix that the file puts before the network's keys; empty if no prefix fits better."""
    if not names or all(name in state for name in names):
        return ""
    longest = max(names, key=len)
    prefixes = {key.removesuffix(longest) for key in state if key.endswith("." + longest)}
    prefixes |= {_common_wrapper(state)}

    def hits(prefix: str) -> tuple[int, int]:
        return sum(prefix + name in state for name in names), -len(prefix)

    return max(prefixes | {""}, key=hits)


def _common_wrapper(state: State) -> str:
    """Return the wrappers' names that all keys begin with; buffers of a normalisation need not."""
    keys = [key for key in state if not is_extra(key)] or [""]
    first, last = min(keys), max(keys)  # what these two begin with, all between them do
    n_common = next(
        (n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    wrappers = re.match(r"(?:(?:module|model|_orig_mod|net|network|1)\.)*", first[:n_common])
    return wrappers[0] if wrappers else ""


def _misfit(
    subject: str,
    missing: list[str],
    unknown: list[str],
    shapes: list[str],
    wanted: Mapping[str, Tensor],
    found: State,
) -> BadInputError:
    """List both sides of a state dict that does not fit."""
    parts, hint = [], ""
    if shapes:
        texts = [
            f"{key} {list(found[key].shape)} where the network has {list(wanted[key].shape)}" for key in shapes[:3]
        ]
        parts.append(f"{len(shapes)} of another shape ({'; '.join(texts)}{', ...' if len(shapes) > 3 else ''})")
        if any(found[k].ndim > 1 and found[k].transpose(0, 1).shape == wanted[k].shape for k in shapes):
            hint = "the weights look transposed"
    if missing:
        parts.append(f"{len(missing)} the file lacks ({_few(missing)})")
    if unknown:
        parts.append(f"{len(unknown)} the network lacks ({_few(unknown)})")
    expected = f"the {len(wanted)} keys of the network with their shapes"
    return BadInputError(subject, expected, ", ".join(parts), hint or "is this the right architecture?")


def _few(names: list[str]) -> str:
    """Write the first names of a list."""
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def kept_normalization(extras: Mapping[str, Tensor]) -> Normalization | None:
    """Return the normalisation that buffers of a checkpoint hold, or None.

    ``extras`` maps names to tensors; a mean and a standard deviation have shape [C], whatever axes of length 1 surround
    them. Several different means or deviations count as none.
    """
    means, stds = _distinct(extras, _MEANS), _distinct(extras, _STDS)
    if len(means) != 1 or len(stds) != 1:
        return None
    mean, std = means.pop(), stds.pop()
    # Wrappers write three zeros and three ones for "none", whatever the number of channels.
    return Normalization() if set(mean) == {0.0} and set(std) == {1.0} else Normalization(mean, std)


def _distinct(extras: Mapping[str, Tensor], names: tuple[str, ...]) -> set[tuple[float, ...]]:
    """Return the different values of buffers of these names."""
    chosen = [value for key, value in extras.items() if key.rpartition(".")[2].lstrip("_") in names]
    return {tuple(float(x) for x in value.double().flatten()) for value in chosen}
