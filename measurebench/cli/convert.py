"""``measurebench convert``: a checkpoint becomes a safetensors file and an entry in a manifest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.core.errors import BadInputError
from measurebench.core.toml import to_key, to_toml

if TYPE_CHECKING:
    from measurebench.core.specs import ModelSpec
    from measurebench.models import LoadedModel

__all__ = ["convert"]


def convert(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A checkpoint, or any reference to local models.")],
    out: Annotated[Path, typer.Option(help="Folder for the safetensors files and their models.toml.")],
    architecture: Annotated[
        str | None, typer.Option(help="For a checkpoint: built-in name, module:callable or file.py:callable.")
    ] = None,
    normalization: Annotated[str | None, typer.Option(help="For a checkpoint: none, cifar10 or imagenet.")] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load files that may run code. Only your own.")
    ] = False,
) -> int:
    """Write the weights as safetensors, under the network's own names, and a manifest that loads them."""
    from measurebench.models.loading import load_model
    from measurebench.models.references import resolve

    specs = resolve([model], architecture=architecture, normalization=normalization, allow_pickle=allow_pickle)
    if specs[0].source == "robustbench":
        raise BadInputError("convert", "a local checkpoint", model, "RobustBench's networks need its own code")
    manifest = out / "models.toml"
    _check_new([spec.id for spec in specs], manifest)
    files = _free_files(specs, out)
    try:
        _add_entries([_written(load_model(spec), out) for spec in specs], manifest)
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
    for spec in specs:
        typer.echo(f"{_file(spec, out)}  ({out}#{spec.id})")
    return 0


def _file(spec: "ModelSpec", out: Path, end: str = "") -> Path:
    """Return where a model's weights go, whatever characters its id has."""
    from measurebench.store.examples import file_name

    return out / f"{file_name(spec.id)}{end}.safetensors"


def _free_files(specs: list["ModelSpec"], out: Path) -> list[Path]:
    """Return every file of weights that will be written; none may be there already, nor be meant twice."""
    files = [_file(spec, out, end) for spec in specs for end in ("", "-init") if not end or spec.initial is not None]
    own = {Path(place).resolve() for spec in specs for place in (spec.locator, spec.initial) if place}
    for number, file in enumerate(files):
        if file in files[:number] or file.exists() or file.is_symlink():
            got = "two models for it" if file in files[:number] else "a file"
            got = "the model's own file" if file.resolve() in own else got
            raise BadInputError(str(file), "a file name that is free", got, "choose another --out")
    return files


def _add_entries(entries: list[str], manifest: Path) -> None:
    """Write the manifest anew with these entries at its end, whole or not at all."""
    from measurebench.store.folder import write_atomically

    known = manifest.read_text(encoding="utf-8").rstrip() if manifest.is_file() else ""
    write_atomically(manifest, "\n\n".join([*([known] if known else []), *entries]).encode() + b"\n")


def _check_new(ids: list[str], manifest: Path) -> None:
    """Refuse to write an id that the manifest has already."""
    if not manifest.is_file():
        return
    from measurebench.models.manifest import read_manifest

    taken = {spec.id for spec in read_manifest(manifest)} & set(ids)
    if taken:
        raise BadInputError(str(manifest), "ids that are not in it yet", repr(min(taken)), "choose another --out")


def _written(model: "LoadedModel", out: Path) -> str:
    """Write a model's weights (and its initial ones) and return its manifest entry."""
    from measurebench.core.digests import digest_file

    spec = model.spec
    if not spec.architecture:
        raise BadInputError(spec.locator, "an architecture", "a pickled module", "name one with --architecture")
    file = _file(spec, out)
    _save(model.network, file)
    fields: dict[str, Any] = {"id": spec.id, "file": file.name, "sha256": digest_file(file)}
    fields |= _architecture_fields(spec, out)
    if model.initial is not None:
        _save(model.initial, _file(spec, out, "-init"))
        fields["init_file"] = _file(spec, out, "-init").name
    fields |= _description(spec)
    lines = ["[[model]]", *(f"{to_key(key)} = {to_toml(value)}" for key, value in fields.items())]
    settings = {key: value for key, value in spec.settings.items() if value is not None}
    if settings:
        lines += ["[model.settings]", *(f"{to_key(key)} = {to_toml(value)}" for key, value in settings.items())]
    return "\n".join(lines)


def _save(network: Any, file: Path) -> None:
    """Write the bare network's weights, without the normalisation that the manifest states."""
    from safetensors.torch import save

    from measurebench.models.normalized import unnormalized
    from measurebench.store.folder import write_atomically

    weights = {key: tensor.contiguous().clone() for key, tensor in unnormalized(network).state_dict().items()}
    write_atomically(file, save(weights))


def _architecture_fields(spec: "ModelSpec", out: Path) -> dict[str, Any]:
    """Return architecture and normalisation; a file of the user's is copied beside the manifest."""
    from measurebench.models.manifest import copy_beside, name_beside

    copy_beside(str(spec.architecture), Path(spec.architecture_folder or "."), out)
    fields: dict[str, Any] = {"architecture": name_beside(str(spec.architecture))}
    if spec.architecture_kwargs:
        fields["architecture_kwargs"] = dict(spec.architecture_kwargs)
    mean, std = spec.normalization.mean, spec.normalization.std
    fields["normalization"] = {"mean": list(mean), "std": list(std)} if mean else "none"
    return fields


def _description(spec: "ModelSpec") -> dict[str, Any]:
    """Return what else the manifest knows of a model."""
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
