"""Chooses the writer of a format by its name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from measurebench.core.errors import BadInputError, near_names
from measurebench.store.formats.croissant import write_croissant
from measurebench.store.formats.every_eval_ever import write_every_eval_ever
from measurebench.store.formats.huggingface import write_hugging_face

__all__ = ["NAMES", "export_format"]

NAMES = ("table", "croissant", "every-eval-ever", "huggingface")
"""What ``--format`` takes; ``table`` is the table of models."""


def export_format(
    name: str, folders: Sequence[Path], out: Path, *, organization: str = "", hub_dataset: str = ""
) -> list[Path]:
    """Write results in a format of another project, and return the files that were written.

    ``croissant`` describes one study's folder and writes one file; the others read results folders and write a folder
    with files for each model. Raises BadInputError for an unknown name and for input that the format cannot hold.
    """
    if name not in NAMES[1:]:
        raise BadInputError("--format", " or ".join(NAMES), repr(name), near_names(name, NAMES))
    if name == "croissant":
        if len(folders) != 1:
            raise BadInputError("--format croissant", "one folder of a study", f"{len(folders)} folders")
        return [write_croissant(folders[0], out)]
    write: Callable[[Path], list[Path]] = {
        "every-eval-ever": lambda folder: write_every_eval_ever(folder, out, organization=organization),
        "huggingface": lambda folder: write_hugging_face(folder, out, dataset=hub_dataset),
    }[name]
    return [path for folder in folders for path in write(folder)]
