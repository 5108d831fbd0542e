"""The digest of a model before it is loaded, so that a run finds the records that exist already. Without torch."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from measurebench.core.digests import digest_file
from measurebench.core.importing import module_file
from measurebench.core.origins import BUILT_IN
from measurebench.core.plugins import has_plugins
from measurebench.core.specs import ModelSpec
from measurebench.core.trust import NamedCode

__all__ = ["architecture_file", "code_sha256", "identified", "model_digest", "named_code"]


def identified(spec: ModelSpec) -> ModelSpec:
    """Return the specification with the SHA-256 of its file, if the file exists."""
    if spec.source == "robustbench":
        return replace(spec, file_sha256=_noted(spec))
    path = Path(spec.locator)
    return replace(spec, file_sha256=digest_file(path)) if path.is_file() else spec


def _noted(spec: ModelSpec) -> str | None:
    """Return the hash that was noted when the weights of a RobustBench model were first used, if they were."""
    from measurebench.core.download import noted_sha256
    from measurebench.models.robustbench.zoo import combined_sha256, weights_folder

    dataset, threat, name = spec.locator.split("/")
    folder = weights_folder(dataset, threat)
    files = [folder / f"{name}.pt"] if (folder / f"{name}.pt").is_file() else sorted(folder.glob(f"{name}.pt_m*.pt"))
    hashes = [noted for file in files if (noted := noted_sha256(file))]
    return combined_sha256(hashes) if hashes and len(hashes) == len(files) else None


def model_digest(spec: ModelSpec) -> str:
    """Return the digest that ``load_model`` will give this model, as long as its files do not change."""
    known = identified(spec)
    initial = digest_file(Path(spec.initial)) if spec.initial and Path(spec.initial).is_file() else None
    return known.digest(initial, code_sha256(spec))


def code_sha256(spec: ModelSpec) -> str | None:
    """Return the hash of the third-party file that defines the architecture; None for a built-in one."""
    path = architecture_file(spec)
    return digest_file(path) if path and path.is_file() else _registered_sha256(spec)


def _registered_sha256(spec: ModelSpec) -> str | None:
    """Return the hash of the file that registered a third-party architecture under the specification's name."""
    name = spec.architecture or ""
    if not name or ":" in name or spec.source == "robustbench" or not has_plugins("architectures"):
        return None
    from measurebench.models import architectures

    found, known = architectures.find(name), architectures.all_architectures()
    origin = known.origin(found.name) if found and found.name in known else BUILT_IN
    return None if origin.is_built_in else origin.sha256


def named_code(specs: Iterable[ModelSpec]) -> list[NamedCode]:
    """Return the code that manifests name for these models, each once; what the user named is not among it.

    >>> named_code([ModelSpec("net", "local", "net.pt", architecture="resnet-18", manifest="models.toml")])
    []
    """
    found: dict[tuple[str, str], NamedCode] = {}
    for spec in specs:
        if spec.manifest is not None and ":" in (spec.architecture or ""):
            arguments = ", ".join(f"{name}={value!r}" for name, value in spec.architecture_kwargs.items())
            code = NamedCode(spec.manifest, f'model "{spec.id}": architecture', f"{spec.architecture}({arguments})")
            found.setdefault((spec.manifest, code.call), code)
    return list(found.values())


def architecture_file(spec: ModelSpec) -> Path | None:
    """Return the user's file that defines the architecture, or None; it is not imported."""
    place, colon, _ = (spec.architecture or "").rpartition(":")
    if not colon or spec.source == "robustbench":
        return None
    if place.endswith(".py"):
        return Path(spec.architecture_folder or ".").joinpath(place).resolve()
    found = module_file(place)
    return found if found and found.is_file() else None
