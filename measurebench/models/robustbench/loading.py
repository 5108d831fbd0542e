"""Loads a RobustBench model: the network from the package's code, the weights from our cache, all keys matched."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from measurebench.core.download import Patience, fetch, note_sha256, noted_sha256
from measurebench.core.errors import BadInputError, ModelError
from measurebench.core.specs import ModelSpec
from measurebench.models.checkpoint import read_checkpoint
from measurebench.models.formats import recognise
from measurebench.models.loaded import LoadedModel
from measurebench.models.robustbench.addresses import Part, parts_of
from measurebench.models.robustbench.package import construct, preparation
from measurebench.models.robustbench.zoo import combined_sha256
from measurebench.models.states import State, candidates, describe, fit, state_at

__all__ = [
    "CONSTANTS",
    "REPAIRS",
    "UNUSED_STAGE",
    "USUAL_PLACES",
    "LogProbabilities",
    "Repair",
    "load_zoo_model",
    "move_constants_along",
]

USUAL_PLACES = ("state_dict", "model", "net")


class LogProbabilities(nn.Module):
    """The logarithm of a network's probabilities as its logits; their softmax gives the probabilities back."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return log-probabilities [n, classes]."""
        probabilities: Tensor = self.network(images)
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


@dataclass(frozen=True)
class Repair:
    """What is unusual about one model's file, so that the loader can be strict with all others."""

    place: tuple[str, ...] = ()
    superfluous: tuple[str, ...] = ()
    outputs_probabilities: bool = False


REPAIRS: dict[str, Repair] = {
    "Andriushchenko2020Understanding": Repair(place=("last",), superfluous=("model_preact_hl1.", "normalize.")),
    "Chen2020Adversarial": Repair(outputs_probabilities=True),
}
UNUSED_STAGE = "sub_block1"
CONSTANTS = ("mu", "sigma", "mean", "std")  # kept in the code by entries whose files are older than it


def load_zoo_model(spec: ModelSpec, *, offline: bool = False, patience: Patience | None = None) -> LoadedModel:
    """Return a RobustBench model; its weights are downloaded once.

    Raises ModelError if the package's code cannot build it here, DownloadError if the weights cannot be downloaded,
    and BadInputError if the file is not what it should be.
    """
    dataset, threat, name = spec.locator.split("/")
    repair = REPAIRS.get(name, Repair())
    parts = parts_of(dataset, threat, name)
    files = [fetch(part.remote, part.path, recognise, offline=offline, patience=patience) for part in parts]
    network = construct(dataset, threat, name)
    prepared = preparation(dataset, threat, name)
    notes = [f"its pictures are prepared by {prepared}: --dataset imagenet:{prepared}"] if prepared else []
    hashes: list[str] = []
    for part, path in zip(parts, files, strict=True):
        checkpoint = read_checkpoint(path, allow_pickle=spec.allow_pickle, sha256=noted_sha256(path))
        hashes.append(checkpoint.sha256)
        notes += _fill(network, part, checkpoint.content, repair, path)
        note_sha256(path, checkpoint.sha256)
    notes += _without_unused(network)
    move_constants_along(network)
    if repair.outputs_probabilities:
        network = LogProbabilities(network)
        notes.append("its output are probabilities; their logarithm is used as logits")
    spec = replace(spec, file_sha256=combined_sha256(hashes))
    frozen = network.float().eval().requires_grad_(False)
    return LoadedModel(spec, frozen, None, spec.digest(), tuple(notes))


def move_constants_along(network: nn.Module) -> None:
    """Let the means and deviations that a network keeps as plain tensors move to its device with its weights.

    Two entries keep them so, and copy them from the CPU at every forward pass on a GPU. As buffers they are where the
    images are. They stay out of the state dict, so that its keys are as before.
    """
    for module in network.modules():
        for name in CONSTANTS:
            value = vars(module).get(name)
            if isinstance(value, Tensor):
                delattr(module, name)
                module.register_buffer(name, value, persistent=False)


def _fill(network: nn.Module, part: Part, content: Any, repair: Repair, path: Path) -> list[str]:
    """Put the weights of one file into their part of the network; return notes about it."""
    notes: list[str] = []
    for module, state in _targets(network, part, content, repair, path):
        kept = {key: value for key, value in state.items() if not _bare(key).startswith(repair.superfluous)}
        if len(kept) < len(state):
            notes.append(f"{len(state) - len(kept)} keys that its network has not, known of this entry, left out")
        wanted, prefix = _inner(module, kept)
        fitted = fit(wanted, kept, f"{path} as {part.name}", constants=CONSTANTS)
        _check_finite(fitted.state, path)
        wanted.load_state_dict(fitted.state, strict=True)
        notes += fitted.converted
        if fitted.prefix or prefix:
            notes.append(f"prefix {fitted.prefix!r} of the file, {prefix!r} of the network")
    return notes


def _targets(
    network: nn.Module, part: Part, content: Any, repair: Repair, path: Path
) -> Iterator[tuple[nn.Module, State]]:
    """Yield the pieces of the network with the state dicts that fill them."""
    if part.keys:
        for attribute, key in part.keys.items():
            yield network.get_submodule(attribute), state_at(content, (key,), str(path))
        return
    module = network.get_submodule(part.attribute) if part.attribute else network
    if repair.place:
        content = content[repair.place[0]] if isinstance(content, Mapping) and repair.place[0] in content else content
    yield module, _state(content, path)


def _state(content: Any, path: Path) -> State:
    """Return the state dict of a file, the one under ``state_dict`` first, as robustbench's own loader does."""
    found = list(candidates(content))
    for usual in USUAL_PLACES:
        for place, state in found:
            if place and place[0] == usual:
                return state
    if len(found) != 1:
        raise BadInputError(str(path), "one state dict", describe(content), "remove it to fetch it again")
    return found[0][1]


def _bare(key: str) -> str:
    """Return a key without the prefixes of wrappers."""
    return key.removeprefix("module.").removeprefix("model.")


def _inner(module: nn.Module, state: State) -> tuple[nn.Module, str]:
    """Return the part of a network that a file is for: the one behind the normalisation, where it says no more."""
    inner = getattr(module, "model", None)
    if isinstance(inner, nn.Module) and hasattr(module, "normalize") and not any("normalize." in k for k in state):
        return inner, "model."
    return module, ""


def _check_finite(state: State, path: Path) -> None:
    """Refuse weights that are NaN or infinite."""
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{path}: expected finite weights, got NaN or infinity in {key!r}; fetch it again")


def _without_unused(network: nn.Module) -> list[str]:
    """Take away the stage that TRADES' code builds and never runs, so that it does not count in norms."""
    if not isinstance(getattr(network, UNUSED_STAGE, None), nn.Module):
        return []
    count = sum(p.numel() for p in network.get_submodule(UNUSED_STAGE).parameters())
    delattr(network, UNUSED_STAGE)
    return [f"{UNUSED_STAGE} left out: {count:,} parameters that no image passes"]
