"""Resolves model references of every form to specifications, without loading a model."""

import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.paths import as_text, data_folder
from measurebench.core.specs import ModelSpec, Normalization
from measurebench.models.manifest import read_manifest

__all__ = [
    "CHECKPOINT_ENDINGS",
    "FORMS",
    "INITIAL_STEMS",
    "checkpoint_spec",
    "digits_specs",
    "resolve",
    "weights_place",
]

FORMS = "digits:ID, robustbench:Linf/ID, a folder or models.toml, DIR#ID, or a checkpoint file"
INITIAL_STEMS = ("init", "initial")
CHECKPOINT_ENDINGS = (".pt", ".pth", ".th", ".model", ".ckpt", ".safetensors", ".tar", ".bin", ".pkl")


def resolve(
    references: Sequence[str],
    *,
    architecture: str | None = None,
    normalization: str | Normalization | None = None,
    weights: str | Sequence[str | int] | None = None,
    dataset: str | None = None,
    allow_pickle: bool = False,
    trust_code: bool = False,
) -> list[ModelSpec]:
    """Return the specifications that the references name, in order, each model once.

    ``architecture``, ``normalization`` and ``weights`` (a key, or a path of keys, to the state dict inside the file)
    are those of a single checkpoint. ``dataset`` is noted for models that name none; for RobustBench it chooses the
    list of models. ``allow_pickle`` lets files run their code, ``trust_code`` lets code run that manifests name. Raises
    BadInputError, with near names, for a reference that names nothing.

    >>> [spec.id for spec in resolve(["digits:resnet-at-10-b64-s0-*"])]
    ['resnet-at-10-b64-s0-best', 'resnet-at-10-b64-s0-last']
    """
    if isinstance(references, str):
        references = [references]
    found: dict[str, ModelSpec] = {}
    read = cache(read_manifest)  # once, however many of its models are named one by one
    for reference in references:
        for spec in _resolve_one(reference, architecture, normalization, dataset, read):
            found.setdefault(spec.reference, spec if spec.dataset else replace(spec, dataset=dataset))
    _check_ids(list(found.values()))
    place = weights_place(weights)
    return [
        replace(
            spec,
            allow_pickle=allow_pickle,
            trust_code=trust_code,
            weights=place if place and not spec.manifest and spec.source == "local" else spec.weights,
        )
        for spec in found.values()
    ]


def weights_place(weights: str | Sequence[str | int] | None) -> tuple[str | int, ...]:
    """Return where a state dict lies in a file, as a path of keys: of a key, or of keys in a list of TOML.

    Raises BadInputError for anything else.

    >>> weights_place("ema"), weights_place('["state_dict", 0]'), weights_place(None)
    (('ema',), ('state_dict', 0), ())
    """
    found: Any = weights
    if isinstance(weights, str) and weights.startswith("["):
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            found = tomllib.loads(f"place = {weights}")["place"]
    place = () if found is None else (found,) if isinstance(found, str) else tuple(found)
    if not all(isinstance(key, str | int) and not isinstance(key, bool) for key in place):
        raise BadInputError("weights", 'a key such as ema, or keys such as ["state_dict", 0]', repr(weights))
    return place


def _resolve_one(
    reference: str,
    architecture: str | None,
    normalization: str | Normalization | None,
    dataset: str | None,
    read: Callable[..., list[ModelSpec]],
) -> list[ModelSpec]:
    """Resolve one reference by its form."""
    kind, colon, name = reference.partition(":")
    if colon and kind == "digits":
        return _chosen(digits_specs(), name or "*", reference)
    if colon and kind == "robustbench":
        from measurebench.models.robustbench.zoo import zoo_specs

        return zoo_specs(name or "*", _zoo_family(dataset))
    path, _, name = (
        reference.rpartition("#") if "#" in reference and not Path(reference).exists() else (reference, "", "*")
    )
    place = Path(path).expanduser()
    if place.is_dir() and architecture and not (place / "models.toml").is_file():
        return _from_training_run(place, architecture, normalization)
    if place.is_dir() or place.suffix == ".toml":
        return _from_manifest(place, name or "*", reference, read)
    if place.is_file():
        return [checkpoint_spec(place, architecture, normalization)]
    raise _unknown(reference, place)


_USERS = ("arrays", "csv", "imagefolder", "items", "torchvision")  # images of the user, whatever they show


def _zoo_family(dataset: str | None) -> str:
    """Return whose networks are meant: a data set's order of images does not matter, the user's images are cifar10."""
    family = (dataset or "cifar10").partition(":")[0]
    return "cifar10" if family in _USERS else family


def digits_specs() -> list[ModelSpec]:
    """Return the specifications of the networks for digits that are part of measurebench."""
    specs = read_manifest(data_folder("digits", "models.toml"), source="digits", prefix="digits:")
    return [spec if spec.dataset else replace(spec, dataset="digits") for spec in specs]


def _from_manifest(place: Path, pattern: str, reference: str, read: Callable[..., list[ModelSpec]]) -> list[ModelSpec]:
    """Return the models of a folder's manifest whose id fits the pattern."""
    path = place / "models.toml" if place.is_dir() else place
    if place.is_dir() and not path.is_file():
        checkpoints = [p.name for p in sorted(place.iterdir()) if p.suffix in CHECKPOINT_ENDINGS]
        hint = (
            f"name one of its checkpoints, such as {place / checkpoints[0]}, with --architecture and "
            "--normalization, or write a manifest"
            if checkpoints
            else "see the README for a manifest of five lines"
        )
        raise BadInputError(str(place), "a folder with a manifest models.toml", "a folder without one", hint)
    prefix = f"{place}#"
    return _chosen(read(path, prefix=prefix), pattern, reference)


def _from_training_run(folder: Path, architecture: str, normalization: str | Normalization | None) -> list[ModelSpec]:
    """Return the checkpoints of a folder without a manifest as one training run; ``init`` holds its first weights."""
    files = sorted(path for path in folder.iterdir() if path.suffix in CHECKPOINT_ENDINGS)
    initial = next((str(path.resolve()) for path in files if path.stem in INITIAL_STEMS), None)
    chosen = [path for path in files if path.stem not in INITIAL_STEMS]
    if not chosen:
        raise BadInputError(str(folder), "checkpoints, or a manifest models.toml", "a folder without either")
    name = as_text(folder.resolve().name)
    return [
        replace(
            checkpoint_spec(path, architecture, normalization),
            id=f"{name}-{as_text(path.stem)}",
            initial=initial,
            run=name,
        )
        for path in chosen
    ]


def _chosen(specs: list[ModelSpec], pattern: str, reference: str) -> list[ModelSpec]:
    """Return the specifications whose id fits a shell pattern; at least one."""
    if chosen := [spec for spec in specs if fnmatchcase(spec.id, pattern)]:
        return chosen
    ids = [spec.id for spec in specs]
    hint = near_names(pattern, ids) or f"known: {', '.join(ids[:8])}{', ...' if len(ids) > 8 else ''}"
    raise BadInputError(reference, f"one of {len(ids)} models", repr(pattern), hint)


def checkpoint_spec(path: Path, architecture: str | None, normalization: str | Normalization | None) -> ModelSpec:
    """Return the specification of one checkpoint; if no normalisation is given, the file itself must hold one."""
    if isinstance(normalization, str):
        normalization = Normalization.parse(normalization, "--normalization")
    return ModelSpec(
        id=as_text(path.stem),
        source="local",
        locator=str(path.resolve()),
        reference=as_text(str(path)),
        architecture=architecture,
        architecture_folder=str(Path.cwd()),
        normalization=normalization or Normalization(stated=False),
    )


def _unknown(reference: str, place: Path) -> BadInputError:
    """Say what a reference may be, and what lies near the one that came."""
    beside = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
    hint = near_names(place.name, beside) or near_names(reference, ["digits:*", "robustbench:Linf/*"])
    return BadInputError(f"model {reference!r}", FORMS, "no such file or folder", hint)


def _check_ids(specs: list[ModelSpec]) -> None:
    """Two models of one run may not share an id: records are kept under it."""
    seen: dict[str, str] = {}
    for spec in specs:
        if spec.id in seen:
            raise BadInputError(
                f"models {seen[spec.id]} and {spec.reference}",
                "a different id for every model of a run",
                f"{spec.id!r} twice",
                "rename one in its manifest",
            )
        seen[spec.id] = spec.reference
