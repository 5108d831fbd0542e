"""Verifies what measurebench has stored: a results folder, a folder of trained models, or the cache of downloads."""

import warnings
from pathlib import Path
from typing import Literal

from measurebench.core.download import kept_damage, noted_sha256
from measurebench.core.errors import BadInputError, DamageWarning
from measurebench.core.files import is_temporary
from measurebench.core.whole_files import damage_of
from measurebench.store.verification import Fault, verify_results
from measurebench.training.checkpoints import files_of, manifest_text
from measurebench.training.summaries import read_training_summary, summary_damage

__all__ = ["Fault", "Kind", "kind_of_folder", "verify_folder"]

Kind = Literal["results folder", "training folder", "download cache"]
_AGAIN = "the same train command trains the run again"


def kind_of_folder(path: Path) -> Kind:
    """Return what kind of folder this is. Raises BadInputError where it is none that measurebench writes."""
    if path.is_dir():
        if (path / "measurebench.json").is_file() or (path / "records.jsonl").is_file():
            return "results folder"
        if (path / "runs").is_dir() and ((path / "weights").is_dir() or (path / "states").is_dir()):
            return "training folder"
        if next(path.rglob("*.sha256"), None) is not None:
            return "download cache"
    got = "no such folder" if not path.exists() else "another folder" if path.is_dir() else "a file"
    raise BadInputError(str(path), "a results folder, a folder of trained models, or a cache of downloads", got)


def verify_folder(path: str | Path) -> list[Fault]:
    """Return what is damaged or missing in a folder, and what mends it; an empty list where all is whole.

    Every file that has a checksum is read. Nothing is changed. Raises BadInputError where the folder is none of
    measurebench's.
    """
    folder = Path(path)
    kind = kind_of_folder(folder)
    if kind == "results folder":
        return verify_results(folder)
    return _training_faults(folder) if kind == "training folder" else _cache_faults(folder)


def _training_faults(folder: Path) -> list[Fault]:
    faults: dict[str, Fault] = {}
    for path in sorted((folder / "runs").glob("*.json")):
        if damage := summary_damage(path):
            faults[str(path)] = Fault(str(path), f"damaged: {damage}", _AGAIN)
            continue
        summary = read_training_summary(path)
        if summary["status"] != "finished":
            continue
        files = files_of(folder, summary)
        for file, what in files.damages(summary):
            remedy = f"remove {path} too to have the run trained again" if file == files.curves else _AGAIN
            faults.setdefault(str(file), Fault(str(file), what, remedy))
    for path in sorted((folder / "states").glob("*.pt")):
        if damage := damage_of(path):
            faults[str(path)] = Fault(str(path), f"damaged: {damage}", "the run starts afresh")
        elif refusal := _state_refusal(path):
            faults[str(path)] = Fault(str(path), refusal, "remove the file to train from the start")
    return [*faults.values(), *_manifest_faults(folder), *_left_over(folder)]


def _state_refusal(path: Path) -> str:
    """Return why a run could not go on from a whole file of a state; empty where it could."""
    from measurebench.training.trainer import saved_identity

    try:
        saved_identity(path)
    except BadInputError as error:
        return f"expected {error.expected}, got {error.got}"
    return ""


def _manifest_faults(folder: Path) -> list[Fault]:
    """Return what is wrong with the manifest, which the train command makes from the summaries each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)  # damaged summaries are faults of their own
        text, n = manifest_text(folder)
    path = folder / "models.toml"
    if not n or (path.is_file() and path.read_bytes() == text.encode()):
        return []
    what = "not as the summaries of the runs say" if path.is_file() else "missing"
    return [Fault(str(path), what, "the same train command writes it again")]


def _cache_faults(folder: Path) -> list[Fault]:
    """Return the files that are not as they were fetched, and downloads that broke off."""
    faults = []
    for path in sorted(child for child in folder.rglob("*") if child.is_file() and not child.name.endswith(".sha256")):
        if path.name.endswith(".partial"):
            size = path.stat().st_size
            if size:
                faults.append(Fault(str(path), f"{size:,} bytes of a download that broke off", "the next use goes on"))
        elif damage := kept_damage(path):
            faults.append(Fault(str(path), damage, "the next use fetches it again"))
    for note in sorted(folder.rglob("*.sha256")):
        kept = note.with_name(note.name.removesuffix(".sha256"))
        if not kept.is_file():
            faults.append(Fault(str(note), "the file that it describes is missing", "the next use fetches it again"))
        elif noted_sha256(kept) is None:
            what = "no SHA-256, so that the file beside it is compared with none"
            faults.append(Fault(str(note), what, "remove both; the next use fetches the file again"))
    return faults + _left_over(folder)


def _left_over(folder: Path) -> list[Fault]:
    found = [child for child in sorted(folder.rglob("*")) if is_temporary(child)]
    return [Fault(str(child), "left over from a killed process", "it does no harm; remove it") for child in found]
