"""The files of a RobustBench model: where each is downloaded, and which part of the network it fills."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from measurebench.core.download import Remote
from measurebench.core.errors import ModelError
from measurebench.models.robustbench.package import model_entries, timm_address
from measurebench.models.robustbench.zoo import weights_folder

__all__ = ["Part", "parts_of"]

_HOST = "https://drive.usercontent.google.com/download?id={id}&export=download&confirm=t"
_TORCHVISION = "https://download.pytorch.org/models/resnet50-0676ba61.pth"
_PAGE = "https://drive.google.com/file/d/{id}/view"


@dataclass(frozen=True)
class Part:
    """One file of a model: its address, its place in the cache, and the part of the network that it fills.

    ``attribute`` is empty for the whole network; ``keys`` maps parts to keys of the file where it fills several.
    """

    name: str
    path: Path
    remote: Remote
    attribute: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)


def parts_of(dataset: str, threat: str, name: str) -> list[Part]:
    """Return the files of an entry, in the order of robustbench's table.

    With the environment variable ``MEASUREBENCH_MIRROR`` they come from ``MIRROR/DATASET/THREAT/NAME.pt``. Raises
    ModelError if the installed robustbench has no such model.
    """
    table = model_entries(dataset, threat)
    if name not in table:
        raise ModelError(f"robustbench:{threat}/{name}: the installed robustbench has no code for this model")
    folder = weights_folder(dataset, threat)
    file_ids = table[name]["gdrive_id"]
    if file_ids is None:
        address = timm_address(dataset, threat, name) or ""
        return [Part(name, folder / f"{name}.pt", _mirrored(Remote(address), folder, f"{name}.pt"))]
    if file_ids == "":  # ImageNet's standard network: torchvision's own weights, which robustbench takes from there
        return [Part(name, folder / f"{name}.pt", _mirrored(Remote(_TORCHVISION), folder, f"{name}.pt"))]
    if isinstance(file_ids, str):
        return [Part(name, folder / f"{name}.pt", _remote(file_ids, folder, f"{name}.pt"))]
    return [_piece(dataset, threat, name, i, file_id) for i, file_id in enumerate(file_ids)]


def _piece(dataset: str, threat: str, name: str, number: int, file_id: str) -> Part:
    """Return one file of an ensemble."""
    folder = weights_folder(dataset, threat)
    file = f"{name}.pt_m{number}.pt"
    attribute, keys = _place(name, number)
    return Part(f"{name}, file {number + 1}", folder / file, _remote(file_id, folder, file), attribute, keys)


def _place(name: str, number: int) -> tuple[str, Mapping[str, str]]:
    """Return the part of an ensemble that a file fills."""
    if name.startswith("Bai2023Improving"):
        if number < 2:
            return f"comp_model.models.{number}", {}
        return "", {"comp_model.policy_net": "model", "comp_model.bn": "bn"}
    if name.startswith("Bai2024MixedNUTS"):
        return ("std_model", "rob_model")[number], {}
    return f"models.{number}", {}


def _remote(file_id: str, folder: Path, file: str) -> Remote:
    """Return the address of a file on the host, or on the mirror."""
    return _mirrored(Remote(_HOST.format(id=file_id), _PAGE.format(id=file_id)), folder, file)


def _mirrored(remote: Remote, folder: Path, file: str) -> Remote:
    """Return the mirror's address for a file if a mirror is set, else the given one."""
    mirror = os.environ.get("MEASUREBENCH_MIRROR")
    if not mirror:
        return remote
    return Remote(f"{mirror.rstrip('/')}/{folder.parent.name}/{folder.name}/{file}", remote.page)
