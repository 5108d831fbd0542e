"""Reads and checks the manifest ``models.toml``, which describes checkpoints."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.files import write_atomically
from measurebench.core.limits import NAME_LENGTH, TEXT_BYTES
from measurebench.core.plain_values import plain_value
from measurebench.core.reading import kind_of, parse_toml
from measurebench.core.specs import ModelSpec, Normalization, Setting
from measurebench.core.threat import ThreatModel

__all__ = ["Fraction", "Manifest", "ModelEntry", "NormalizationEntry", "copy_beside", "name_beside", "read_manifest"]

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
# Tables, digests and JSON take no other numbers: neither NaN and infinity nor integers of more than 64 bits.
Finite = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]

# pydantic reports a value that fits none of its kinds once for each kind, whose name ends or interrupts its place.
_KINDS = ("str", "int", "float", "bool", "constrained-int", "NormalizationEntry", "list[union[str,int]]")
_WORDS = {
    "a valid list": "a list",
    "a valid dictionary": "a table",
    "a valid string": "text",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
}

# Not the function itself: older pydantic would give a second argument to whatever takes one.
Plain = Annotated[Any, AfterValidator(lambda value: plain_value(value))]


class _Strict(BaseModel):
    """A table in which unknown keys are errors, and text is never read as a number nor a number as text."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NormalizationEntry(_Strict):
    """``normalization = { mean = [...], std = [...] }``, one number per channel."""

    mean: Annotated[list[Finite], Field(min_length=1)]
    std: Annotated[list[Annotated[Finite, Field(gt=0.0)]], Field(min_length=1)]


class ModelEntry(_Strict):
    """One ``[[model]]`` of a manifest."""

    id: Annotated[str, Field(min_length=1)]
    file: Annotated[str, Field(min_length=1)]
    architecture: Annotated[str, Field(min_length=1)]
    architecture_kwargs: dict[str, Plain] = {}
    normalization: str | NormalizationEntry | None = None
    weights: str | list[str | int] = []
    init_file: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    dataset: str | None = None
    defense: str | None = None
    norm: str | None = None
    radius: str | Finite | Whole | None = None
    expected_clean_accuracy: Fraction | None = None
    run: str | None = None
    cluster: str | None = None
    settings: dict[str, str | Whole | Finite | bool] = {}


class Manifest(_Strict):
    """A whole ``models.toml``."""

    model: Annotated[list[ModelEntry], Field(min_length=1)]


def read_manifest(path: Path, source: str = "local", prefix: str | None = None) -> list[ModelSpec]:
    """Return the specifications of a manifest's models, in its order, without reading weights.

    ``prefix`` begins each reference (default: the manifest's path and ``#``). Raises BadInputError, which names the
    file, the field, what was expected and what came.
    """
    manifest = _validated(parse_toml(path, TEXT_BYTES, "a manifest models.toml"), path)
    ids = [entry.id for entry in manifest.model]
    NAME_LENGTH.check(max(map(len, ids)), f"{path}: id")
    if repeated := sorted(name for name, count in Counter(ids).items() if count > 1):
        raise BadInputError(f"{path}: id", "a different id for every model", f"{repeated[0]!r} twice")
    start = f"{path}#" if prefix is None else prefix
    folder = path.resolve().parent
    return [_spec(entry, path, folder, source, start) for entry in manifest.model]


def _validated(value: dict[str, Any], path: Path) -> Manifest:
    """Check the values against the manifest's fields; the first error is the one reported."""
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        raise _plain(error, value, path) from None


def _plain(error: ValidationError, value: dict[str, Any], path: Path) -> BadInputError:
    """Turn pydantic's first error into a sentence with the field's place in the file."""
    errors = error.errors(include_url=False)
    first = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
    place = _place(first)
    field = _field_name(place, value)
    if first["type"] == "extra_forbidden":
        known = _fields_beside(place)
        hint = near_names(str(place[-1]), known)
        return BadInputError(f"{path}: {field}", f"one of the keys {', '.join(known)}", repr(place[-1]), hint)
    if first["type"] == "missing":
        hint = "a manifest is a list of [[model]] tables" if place == ["model"] else ""
        return BadInputError(f"{path}: {field}", f"the key {place[-1]!r}", "a table without it", hint)
    kinds = list(dict.fromkeys(_wanted(item["msg"]) for item in errors if _place(item) == place))
    return BadInputError(f"{path}: {field}", ", or ".join(kinds), _shown(first["input"]))


def _place(error: ErrorDetails) -> list[int | str]:
    """Return where an error stands, without pydantic's names for the kinds that a value may have."""
    return [part for part in error["loc"] if part not in _KINDS]


def _wanted(message: str) -> str:
    """Return what a message of pydantic asks for, in the manifest's words."""
    wanted = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return _WORDS.get(wanted, wanted[:1].lower() + wanted[1:])


def _shown(value: Any) -> str:
    """Return a value as a message shows it; a long number is not written out, which Python refuses."""
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of {value.bit_length()} bits"
    return repr(value)[:200]


def _field_name(place: list[Any], value: dict[str, Any]) -> str:
    """Name a field by its model's id: ``model "resnet20": radius``."""
    models = value.get("model")
    if len(place) > 1 and place[0] == "model" and isinstance(models, list) and isinstance(place[1], int):
        entry = models[place[1]]
        name = entry.get("id", f"number {place[1] + 1}") if isinstance(entry, dict) else f"number {place[1] + 1}"
        return ": ".join([f'model "{name}"', ".".join(str(part) for part in place[2:])]).removesuffix(": ")
    return ".".join(str(part) for part in place)


def _fields_beside(place: list[Any]) -> list[str]:
    """Return the keys that are known where an unknown one stood."""
    if len(place) == 1:
        return list(Manifest.model_fields)
    entry: type[BaseModel] = NormalizationEntry if "normalization" in place else ModelEntry
    return list(entry.model_fields)


def _spec(entry: ModelEntry, path: Path, folder: Path, source: str, prefix: str) -> ModelSpec:
    """Make a specification of an entry; files are relative to the manifest's folder."""
    where = f'{path}: model "{entry.id}"'
    return ModelSpec(
        id=entry.id,
        source=source,
        locator=str(_existing(folder / entry.file, f"{where}: file")),
        reference=prefix + entry.id,
        dataset=entry.dataset,
        file_sha256=entry.sha256,
        threat_model=_threat_model(entry, where),
        architecture=entry.architecture,
        architecture_kwargs=entry.architecture_kwargs,
        architecture_folder=str(folder),
        normalization=_normalization(entry.normalization, f"{where}: normalization"),
        weights=(entry.weights,) if isinstance(entry.weights, str) else tuple(entry.weights),
        initial=str(_existing(folder / entry.init_file, f"{where}: init_file")) if entry.init_file else None,
        defense=entry.defense,
        settings=_settings(entry.settings),
        run=entry.run,
        cluster=entry.cluster,
        expected_clean_accuracy=entry.expected_clean_accuracy,
        manifest=str(path),
    )


def name_beside(architecture: str) -> str:
    """Return how a manifest names an architecture whose file lies beside it: without the file's folder.

    >>> name_beside("/home/me/nets.py:small"), name_beside("resnet-18")
    ('nets.py:small', 'resnet-18')
    """
    place, _, attribute = architecture.rpartition(":")
    return f"{Path(place).name}:{attribute}" if place.endswith(".py") else architecture


def copy_beside(architecture: str, source_folder: Path, folder: Path) -> None:
    """Copy the file that an architecture names, if it names one, to where a manifest in ``folder`` looks for it.

    Raises BadInputError if the folder holds another file of that name.
    """
    place = architecture.rpartition(":")[0]
    if not place.endswith(".py"):
        return
    source, copy = source_folder / place, folder / Path(place).name
    if not copy.is_file():
        write_atomically(copy, source.read_bytes())
    elif copy.read_bytes() != source.read_bytes():
        raise BadInputError(str(copy), f"the same file as {source}", "one that differs", "choose another --out")


def _settings(settings: dict[str, str | int | float | bool]) -> dict[str, Setting]:
    """Return the settings in the wider type of a specification, which can also say None."""
    return dict(settings)


def _existing(path: Path, where: str) -> Path:
    """Return the path of a file that is there."""
    if not path.is_file():
        if path.exists():
            raise BadInputError(where, "a checkpoint file", f"{path}: {kind_of(path)}")
        beside = sorted(p.name for p in path.parent.iterdir() if p.is_file()) if path.parent.is_dir() else []
        raise BadInputError(where, f"the file {path}", "no such file", near_names(path.name, beside))
    return path


def _threat_model(entry: ModelEntry, where: str) -> ThreatModel | None:
    """Read norm and radius, which come together or not at all."""
    if entry.norm is None and entry.radius is None:
        return None
    if entry.norm is None or entry.radius is None:
        missing = "norm" if entry.norm is None else "radius"
        raise BadInputError(where, "norm and radius together", f"an entry without {missing}")
    return ThreatModel.parse(entry.norm, entry.radius, f"{where}: radius")


def _normalization(value: str | NormalizationEntry | None, where: str) -> Normalization:
    """Read a normalisation; nothing said means none, unless the file itself holds one."""
    if value is None:
        return Normalization(stated=False)
    if isinstance(value, str):
        return Normalization.named(value, where)
    if len(value.mean) != len(value.std):
        raise BadInputError(where, "as many numbers in std as in mean", f"{len(value.std)} and {len(value.mean)}")
    return Normalization(tuple(value.mean), tuple(value.std))
