"""Converts checkpoints to safetensors, with the manifest that loads them to the same networks."""

import filecmp
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError
from measurebench.core.files import file_name, remove_temporaries, write_atomically, write_beside
from measurebench.core.specs import ModelSpec, Normalization
from measurebench.core.toml import to_key, to_toml
from measurebench.core.trust import demand_word, trust
from measurebench.models.identity import named_code
from measurebench.models.loaded import LoadedModel
from measurebench.models.loading import load_model
from measurebench.models.manifest import copy_beside, name_beside, read_manifest
from measurebench.models.normalized import unnormalized
from measurebench.models.references import resolve

__all__ = ["convert_checkpoint"]

_FREE = "a file name that is free"
_AN_HOUR = 3600.0  # no conversion takes that long: older temporary files are of processes that ended


def convert_checkpoint(
    model: str,
    out: str | Path,
    *,
    architecture: str | None = None,
    normalization: str | Normalization | None = None,
    weights: str | Sequence[str | int] | None = None,
    allow_pickle: bool = False,
    trust_code: bool = False,
) -> list[ModelSpec]:
    """Write weights as safetensors under the folder ``out``, add the models to its models.toml, and return them.

    ``model`` is a checkpoint or any reference to local models. No file that exists is replaced but the manifest, which
    keeps its entries; a file with the very same weights that the manifest does not name, which a killed conversion
    left, is used. Raises BadInputError for a model of RobustBench, which needs RobustBench's own code, and for an
    id or a file name that is taken; then nothing has been written. ``trust_code`` lets code run
    that a manifest names.
    """
    folder = Path(out)
    named: dict[str, Any] = {"architecture": architecture, "normalization": normalization, "weights": weights}
    specs = resolve([model], **named, allow_pickle=allow_pickle, trust_code=trust_code)
    if specs[0].source == "robustbench":
        raise BadInputError("convert", "a local checkpoint", model, "RobustBench's networks need its own code")
    manifest = folder / "models.toml"
    demand_word(named_code(specs), trust_code)
    _check_new([spec.id for spec in specs], manifest)
    is_new = not manifest.exists()
    _check_files(specs, folder)
    staged: dict[Path, Path] = {}
    moved: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_temporaries(folder, older_than=_AN_HOUR)
        entries = [_written(load_model(spec), folder, staged) for spec in specs]
        _compare(staged)
        for spec in specs:
            copy_beside(str(spec.architecture), Path(spec.architecture_folder or "."), folder)
        _move_in(staged, moved)
        _add_entries(entries, manifest)
    except BaseException:  # a kill by Ctrl-C too: what is not in the manifest would be in the way
        for file in (*staged.values(), *moved):
            with suppress(OSError):
                file.unlink(missing_ok=True)
        raise
    if is_new and any(":" in (spec.architecture or "") for spec in specs):
        trust(folder)  # all code that the new manifest names is code that the user has let run
    ids = {spec.id for spec in specs}
    return [spec for spec in read_manifest(manifest, prefix=f"{folder}#") if spec.id in ids]


def _file(spec: ModelSpec, out: Path, end: str = "") -> Path:
    """Return the file for a model's weights, whatever characters its id has."""
    return out / f"{file_name(spec.id)}{end}.safetensors"


def _check_files(specs: list[ModelSpec], out: Path) -> None:
    """Refuse names that two models would share, and a model's own file."""
    files = [_file(spec, out, end) for spec in specs for end in ("", "-init") if not end or spec.initial is not None]
    own = {Path(place).resolve() for spec in specs for place in (spec.locator, spec.initial) if place}
    for number, file in enumerate(files):
        if file in files[:number] or file.is_symlink() or file.resolve() in own:
            got = "two models for it" if file in files[:number] else "a link"
            got = "the model's own file" if file.resolve() in own else got
            raise BadInputError(str(file), _FREE, got, "choose another --out")


def _compare(staged: dict[Path, Path]) -> None:
    """Refuse a name that is taken by a file with other content."""
    for file, temporary in staged.items():
        if file.exists() and not filecmp.cmp(file, temporary, shallow=False):
            raise BadInputError(str(file), _FREE, "a file", "choose another --out")


def _move_in(staged: dict[Path, Path], moved: list[Path]) -> None:
    """Give the files of weights their names; add those that were not there to ``moved``."""
    for file, temporary in staged.items():
        if not file.exists():
            moved.append(file)
        temporary.replace(file)


def _add_entries(entries: list[str], manifest: Path) -> None:
    """Replace the manifest by one with these entries at its end."""
    known = manifest.read_text(encoding="utf-8").rstrip() if manifest.is_file() else ""
    write_atomically(manifest, "\n\n".join([*([known] if known else []), *entries]).encode() + b"\n")


def _check_new(ids: list[str], manifest: Path) -> None:
    """Refuse an id that is in the manifest already."""
    if not manifest.is_file():
        return
    taken = {spec.id for spec in read_manifest(manifest)} & set(ids)
    if taken:
        raise BadInputError(str(manifest), "ids that are not in it yet", repr(min(taken)), "choose another --out")


def _written(model: LoadedModel, out: Path, staged: dict[Path, Path]) -> str:
    """Write a model's weights, and its initial ones where there are any, beside their places; return its entry."""
    spec = model.spec
    if not spec.architecture:
        raise BadInputError(spec.locator, "an architecture", "a pickled module", "name one with --architecture")
    file = _file(spec, out)
    staged[file] = _save(model.network, file)
    fields: dict[str, Any] = {"id": spec.id, "file": file.name, "sha256": digest_file(staged[file])}
    fields |= _architecture_fields(spec)
    if model.initial is not None:
        first = _file(spec, out, "-init")
        staged[first] = _save(model.initial, first)
        fields["init_file"] = first.name
    fields |= _description(spec)
    lines = ["[[model]]", *(f"{to_key(key)} = {to_toml(value)}" for key, value in fields.items())]
    settings = {key: value for key, value in spec.settings.items() if value is not None}
    if settings:
        lines += ["[model.settings]", *(f"{to_key(key)} = {to_toml(value)}" for key, value in settings.items())]
    return "\n".join(lines)


def _save(network: nn.Module, file: Path) -> Path:
    """Write the weights of the bare network, whose normalisation is in the manifest; return the temporary file."""
    weights = {key: tensor.contiguous().clone() for key, tensor in unnormalized(network).state_dict().items()}
    return write_beside(file, save(weights))


def _architecture_fields(spec: ModelSpec) -> dict[str, Any]:
    """Return architecture and normalisation; a file that defines the architecture will lie beside the manifest."""
    fields: dict[str, Any] = {"architecture": name_beside(str(spec.architecture))}
    if spec.architecture_kwargs:
        fields["architecture_kwargs"] = dict(spec.architecture_kwargs)
    mean, std = spec.normalization.mean, spec.normalization.std
    fields["normalization"] = {"mean": list(mean), "std": list(std)} if mean else "none"
    return fields


def _description(spec: ModelSpec) -> dict[str, Any]:
    """Return what else the manifest says of a model; what is not known is left out."""
    threat = spec.threat_model
    fields = {
        "dataset": spec.dataset,
        "defense": spec.defense,
        "norm": threat.norm.value if threat else None,
        "radius": threat.text if threat else None,
        "expected_clean_accuracy": spec.expected_clean_accuracy,
        "run": spec.run,
        "cluster": spec.cluster,
    }
    return {key: value for key, value in fields.items() if value is not None}
