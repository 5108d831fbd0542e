"""Writes and reads galleries: clean image, perturbation and adversarial image, made by ``measurebench attack``."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.file_sets import finish_set, write_set
from measurebench.core.limits import TEXT_BYTES
from measurebench.core.reading import kind_of, parse_json, reading

__all__ = ["PICTURES", "GalleryItem", "read_gallery", "write_gallery"]

PICTURES = ("clean", "perturbation", "adversarial")
_OURS = re.compile(r"\d{3,}-(clean|perturbation|adversarial)\.png")


@dataclass(frozen=True)
class GalleryItem:
    """One attacked image; ``clean``, ``perturbation`` and ``adversarial`` are PNG files as ``data:`` addresses.

    ``true`` and ``target`` may be empty (unknown, untargeted); ``factor`` is how much the perturbation was amplified
    for showing, ``distance`` its size in pixel units.
    """

    model_id: str
    index: int
    true: str
    clean_label: str
    clean_confidence: float
    adversarial_label: str
    adversarial_confidence: float
    target: str
    factor: float
    distance: float
    threat_model: str
    attack: str
    clean: str
    perturbation: str
    adversarial: str
    source: str = ""

    @property
    def fooled(self) -> bool:
        """Whether the attack succeeded: the target was reached, or, without a target, the prediction changed."""
        if self.target:
            return self.adversarial_label == self.target
        return self.adversarial_label != self.clean_label


_FIELDS: dict[str, Any] = {field.name: field.type for field in fields(GalleryItem)}


def write_gallery(
    folder: Path, entries: Sequence[Mapping[str, Any]], pictures: Sequence[tuple[bytes, bytes, bytes]]
) -> Path:
    """Write ``folder/gallery.json`` and three PNG files per entry (clean, perturbation, adversarial); return its path.

    ``entries`` hold the fields of ``GalleryItem`` except for the pictures. Of an earlier gallery, entries of the same
    model and source are replaced and the others are kept, all at once.
    """
    rows: list[dict[str, Any]] = []
    contents: dict[str, bytes] = {}
    kept = _kept(folder, {_subject(entry) for entry in entries})
    together = [*kept, *zip(entries, pictures, strict=True)]
    for i, (entry, files) in enumerate(together):
        names = {kind: f"{i:03d}-{kind}.png" for kind in PICTURES}
        contents |= dict(zip(names.values(), files, strict=True))
        rows.append({**entry, **names})
    contents["gallery.json"] = json.dumps(rows, indent=1, ensure_ascii=False).encode() + b"\n"
    earlier = [path.name for path in folder.glob("*.png") if _OURS.fullmatch(path.name)]
    write_set(folder, contents, earlier)
    return folder / "gallery.json"


def _kept(folder: Path, replaced: set[tuple[str, str]]) -> list[tuple[Mapping[str, Any], tuple[bytes, bytes, bytes]]]:
    """Return the entries of an earlier gallery that stay, with their pictures; none of one that cannot be read."""
    try:
        read_gallery(folder)
        entries = json.loads((folder / "gallery.json").read_text(encoding="utf-8"))
    except (BadInputError, OSError, ValueError):
        return []
    staying = [entry for entry in entries if _subject(entry) not in replaced]
    names = [[folder / Path(entry[kind]).name for kind in PICTURES] for entry in staying]
    return [
        (entry, (clean.read_bytes(), change.read_bytes(), adversarial.read_bytes()))
        for entry, (clean, change, adversarial) in zip(staying, names, strict=True)
    ]


def _subject(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return whose images an entry shows: the model, and the picture file where there is one."""
    return str(entry["model_id"]), str(entry.get("source", ""))


def read_gallery(folder: Path) -> tuple[GalleryItem, ...]:
    """Read ``folder/gallery.json`` and the PNG files that it names; () where there is no gallery.

    Raises BadInputError for a file that is not such a list, for an entry with a missing or wrong field, and for a
    picture that is missing or not a PNG.
    """
    path = folder / "gallery.json"
    finish_set(folder)
    if not path.is_file():
        return ()
    entries = parse_json(path, TEXT_BYTES, "a list of attacked images")
    if not isinstance(entries, list):
        raise BadInputError(str(path), "a list of attacked images", type(entries).__name__)
    return tuple(_item(entry, folder, f"{path}, entry {i + 1}") for i, entry in enumerate(entries))


def _item(entry: Any, folder: Path, where: str) -> GalleryItem:
    if not isinstance(entry, dict) or (missing := sorted(set(_FIELDS) - set(entry) - {"source"})):
        raise BadInputError(
            where,
            "an object with the fields of an attacked image",
            f"without {missing[0]!r}" if isinstance(entry, dict) else type(entry).__name__,
        )
    values = {}
    for name, kind in _FIELDS.items():
        try:
            values[name] = kind(entry.get(name, "") if name == "source" else entry[name])
        except (TypeError, ValueError, OverflowError):
            raise BadInputError(f"{where}: {name}", kind.__name__, repr(entry[name])[:80]) from None
    for name in PICTURES:
        # Only the last part of the path counts, so that a gallery cannot embed files from outside its own folder.
        values[name] = _address(folder / Path(values[name]).name, where)
    return GalleryItem(**values)


def _address(path: Path, where: str) -> str:
    expected = f"the PNG file {path.name}"
    with reading(where, expected):
        if not path.is_file() or not (content := path.read_bytes()).startswith(b"\x89PNG"):
            raise BadInputError(where, expected, kind_of(path) if not path.is_file() else "another format")
    return "data:image/png;base64," + base64.b64encode(content).decode()
