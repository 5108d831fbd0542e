"""Loads a network from its specification: all keys must match, the normalisation becomes part of the network."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from measurebench.core.errors import BadInputError, ModelError
from measurebench.core.specs import ModelSpec, Normalization
from measurebench.models import architectures
from measurebench.models.checkpoint import Checkpoint, read_checkpoint
from measurebench.models.effective import unwrapped
from measurebench.models.fits import best_fit
from measurebench.models.identity import code_sha256
from measurebench.models.loaded import LoadedModel
from measurebench.models.normalized import chosen_normalization, normalized
from measurebench.models.references import resolve
from measurebench.models.states import (
    Fitted,
    State,
    candidates,
    describe,
    distinct,
    fit,
    kept_normalization,
    state_at,
    wrapper_prefix,
)

__all__ = ["frozen", "load_model"]


def load_model(
    reference: str | ModelSpec,
    *,
    architecture: str | None = None,
    normalization: str | Normalization | None = None,
    weights: str | Sequence[str | int] | None = None,
    dataset: str | None = None,
    allow_pickle: bool = False,
    trust_code: bool = False,
    offline: bool = False,
) -> LoadedModel:
    """Return the network that a reference or a specification names, ready to be measured.

    It is in evaluation mode, float32, on the CPU, and its parameters take no gradients. Every key of the weights must
    match. ``weights`` says where they lie in a checkpoint that holds several state dicts. ``trust_code`` is the user's
    leave to run code that a manifest names. Raises BadInputError if the reference or its file cannot be used,
    ModelError if the network cannot.

    >>> load_model("digits:resnet-at-10-b64-s0-last").n_parameters
    16426
    """
    options: dict[str, Any] = {"architecture": architecture, "normalization": normalization, "weights": weights}
    options |= {"dataset": dataset, "allow_pickle": allow_pickle, "trust_code": trust_code}
    spec = reference if isinstance(reference, ModelSpec) else _single(reference, **options)
    spec = replace(spec, allow_pickle=spec.allow_pickle or allow_pickle, trust_code=spec.trust_code or trust_code)
    if spec.source == "robustbench":
        from measurebench.models.robustbench.loading import load_zoo_model

        return load_zoo_model(spec, offline=offline)
    return _load_local(spec)


def _single(reference: str, **options: Any) -> ModelSpec:
    """Resolve a reference that must name one model."""
    specs = resolve([reference], **options)
    if len(specs) != 1:
        ids = ", ".join(spec.reference for spec in specs[:6])
        raise BadInputError(reference, "a reference to one model", f"{len(specs)}", f"such as {ids}")
    return specs[0]


def _load_local(spec: ModelSpec) -> LoadedModel:
    """Load a checkpoint from disk."""
    checkpoint = read_checkpoint(Path(spec.locator), allow_pickle=spec.allow_pickle, sha256=spec.file_sha256)
    spec = replace(spec, file_sha256=checkpoint.sha256)
    network, fitted, place = _network(spec, checkpoint)
    used = chosen_normalization(spec, kept_normalization(fitted.extras))
    initial, initial_sha256 = _initial(spec, used)
    digest = spec.digest(initial_sha256, code_sha256(spec))
    notes = (*_notes(checkpoint, fitted, place), *_code_note(spec))
    spec = replace(spec, normalization=used, weights=place)
    return LoadedModel(spec, frozen(normalized(network, used)), initial, digest, notes)


def frozen(network: nn.Module) -> nn.Module:
    """Return the network in evaluation mode, float32, its parameters without gradients.

    Raises ModelError for a network on the meta device, which has no weights.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_meta:
            raise ModelError("expected a network with weights, got parameters on the meta device")
    network.float().requires_grad_(False)
    network.eval()
    return network


def _network(spec: ModelSpec, checkpoint: Checkpoint) -> tuple[nn.Module, Fitted, tuple[str | int, ...]]:
    """Build the architecture and put the checkpoint's weights into it."""
    content = checkpoint.content
    if not spec.architecture:
        if isinstance(content, nn.Module):
            network = unwrapped(content)
            return network, Fitted(dict(network.state_dict())), ()
        raise _architecture_asked_for(spec, content)
    place, state = _state(spec, content)
    network = unwrapped(_built(spec, state))
    try:
        fitted = fit(network, state, _subject(spec, place))
    except BadInputError as error:
        hint = error.hint if "transposed" in error.hint else best_fit(state) or error.hint
        raise BadInputError(error.subject, error.expected, error.got, hint) from None
    return _filled(network, fitted, spec), fitted, place


def _built(spec: ModelSpec, state: State) -> nn.Module:
    """Build the network for the number of classes and channels that the weights have."""
    name = spec.architecture or ""
    builtin = None if ":" in name else architectures.find(name)
    if builtin is None:
        return architectures.build(spec)
    default = architectures.build(spec, 10, builtin.image_shape[0])
    shapes = {key: tuple(tensor.shape) for key, tensor in default.state_dict().items()}
    # In the order of registration, which the file need not keep: the first convolution, the last matrix.
    first = next((key for key, shape in shapes.items() if len(shape) == 4), None)
    last = next((key for key, shape in reversed(shapes.items()) if len(shape) == 2), None)
    prefix = wrapper_prefix([key for key in shapes if not key.endswith("num_batches_tracked")], state)
    per_channel = max(shapes[first][1] // builtin.image_shape[0], 1) if first else 1  # 4 where pixels are unshuffled
    in_channels = (_size(state, prefix, first, 1) or 0) // per_channel or builtin.image_shape[0]
    n_classes = _size(state, prefix, last, 0) or 10
    if (n_classes, in_channels) == (10, builtin.image_shape[0]):
        return default
    return architectures.build(spec, n_classes, in_channels)


def _size(state: State, prefix: str, key: str | None, axis: int) -> int | None:
    """Return the length of one axis of the file's tensor of this name, where it has it."""
    tensor = state.get(prefix + key) if key else None
    return int(tensor.shape[axis]) if tensor is not None and tensor.ndim > axis else None


def _state(spec: ModelSpec, content: Any) -> tuple[tuple[str | int, ...], State]:
    """Return the state dict that is meant, and where it lay."""
    if spec.weights:
        return spec.weights, state_at(content, spec.weights, spec.locator)
    found = list(candidates(content))
    if not found:
        raise BadInputError(
            spec.locator,
            "a state dict (names to tensors)",
            describe(content),
            "say where it is with --weights, or `weights` in a manifest",
        )
    if len(found) > 1:
        found = distinct(found)
    if len(found) > 1:
        places = "; ".join(f"{_written(place)} ({len(state)} tensors)" for place, state in found[:6])
        raise BadInputError(
            spec.locator,
            "one state dict",
            f"{len(found)}: {places}",
            f"say which: --weights {_option(found[0][0])}, or weights = {_written(found[0][0])} in a manifest",
        )
    return found[0]


def _written(place: tuple[str | int, ...]) -> str:
    """Write a path of keys as a manifest would."""
    return repr(place[0]).replace("'", '"') if len(place) == 1 else repr(list(place)).replace("'", '"')


def _option(place: tuple[str | int, ...]) -> str:
    """Write a path of keys as the command line takes it."""
    return shlex.quote(place[0] if len(place) == 1 and isinstance(place[0], str) else _written(place))


def _subject(spec: ModelSpec, place: tuple[str | int, ...]) -> str:
    """Name file, place and architecture in a message."""
    return f"{spec.locator}{'' if not place else ' at ' + _written(place)} as {spec.architecture}"


def _filled(network: nn.Module, fitted: Fitted, spec: ModelSpec) -> nn.Module:
    """Put finite weights into the network."""
    for key, tensor in fitted.state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise BadInputError(
                spec.locator,
                "finite weights",
                f"{bad} of {tensor.numel()} in {key!r} are NaN or infinite",
                "training diverged, or the file is damaged",
            )
    network.load_state_dict({key: _plain(tensor) for key, tensor in fitted.state.items()}, strict=True)
    return network


def _plain(tensor: Tensor) -> Tensor:
    """Return half-precision weights as float32."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _initial(spec: ModelSpec, normalization: Normalization) -> tuple[nn.Module | None, str | None]:
    """Load the weights at epoch 0, where the specification names them."""
    if spec.initial is None:
        return None, None
    checkpoint = read_checkpoint(Path(spec.initial), allow_pickle=spec.allow_pickle)
    network, _, _ = _network(replace(spec, locator=spec.initial), checkpoint)
    return frozen(normalized(network, normalization)), checkpoint.sha256


def _architecture_asked_for(spec: ModelSpec, content: Any) -> BadInputError:
    """Ask for the architecture, naming the built-in one that fits."""
    found = list(candidates(content))
    if not found:
        return BadInputError(spec.locator, "a state dict (names to tensors)", describe(content))
    hint = best_fit(found[0][1]) or "`measurebench models architectures` lists the built-in ones"
    return BadInputError(f"{spec.locator}: architecture", "--architecture NAME", "none", hint)


def _notes(checkpoint: Checkpoint, fitted: Fitted, place: tuple[str | int, ...]) -> tuple[str, ...]:
    """Say what was found on the way."""
    notes = [f"format: {checkpoint.format.title}"]
    if checkpoint.unread:
        notes.append(f"objects left unread, since their code would run: {', '.join(checkpoint.unread[:6])}")
    if place:
        notes.append(f"weights at {_written(place)}")
    if fitted.prefix:
        notes.append(f"prefix {fitted.prefix!r} taken off")
    if fitted.counters_missing:
        notes.append(f"{fitted.counters_missing} batch-norm counters not in the file")
    if fitted.extras:
        notes.append(f"the file also holds {', '.join(sorted(fitted.extras))}")
    notes += fitted.converted
    kinds = _kinds(fitted.state)
    if kinds != {"float32"}:
        notes.append(f"stored as {', '.join(sorted(kinds))}")
    return tuple(notes)


def _code_note(spec: ModelSpec) -> tuple[str, ...]:
    """Say which code built the network, and who named it."""
    if ":" not in (spec.architecture or ""):
        return ()
    digest = code_sha256(spec)
    content = f" (SHA-256 {digest})" if digest else ""
    who = "the user" if spec.manifest is None else f"{spec.manifest} with the user's word"
    return (f"code of {spec.architecture}{content}, named by {who}",)


def _kinds(state: Mapping[str, Tensor]) -> set[str]:
    """Return the types of floating-point numbers in a state dict."""
    return {str(t.dtype).removeprefix("torch.") for t in state.values() if t.is_floating_point()}
