"""Reads checkpoint files. Code in a file never runs unless the user allows it."""

import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError
from measurebench.core.importing import search_working_folder
from measurebench.core.limits import HEADER_BYTES, TENSORS, LimitError
from measurebench.core.whole_files import damage_of
from measurebench.models.formats import Format, recognise
from measurebench.models.pickles import globals_of, harmless_globals
from measurebench.models.stand_ins import hostile, stand_ins
from measurebench.models.states import candidates
from measurebench.models.storages import check_storages

__all__ = ["Checkpoint", "read_checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read: format, SHA-256, and the nested content (dictionaries, lists, tensors).

    ``unread`` names the classes whose objects were replaced by inert stand-ins.
    """

    path: Path
    format: Format
    sha256: str
    content: Any
    unread: tuple[str, ...] = ()


def read_checkpoint(path: Path, *, allow_pickle: bool = False, sha256: str | None = None) -> Checkpoint:
    """Return the content of a checkpoint, all tensors on the CPU.

    Objects of unknown classes beside the weights are replaced by inert stand-ins; with ``allow_pickle`` their code
    runs. Raises BadInputError where the file is not a checkpoint, is damaged, cannot be read without running code, or
    is not the one whose hash was noted.
    """
    kind = recognise(path)
    digest = digest_file(path)
    if sha256 and digest != sha256:
        raise BadInputError(
            str(path),
            f"the file with SHA-256 {sha256[:16]}...",
            f"{digest[:16]}...",
            "has it been replaced or cut short?",
        )
    # With the hash, since both read the whole file: torch does not compare the checksums of its archives.
    if damage := damage_of(path):
        raise BadInputError(str(path), "a whole checkpoint", damage, "it was cut short or damaged: fetch it again")
    if kind.name == "safetensors":
        return Checkpoint(path, kind, digest, _read_safetensors(path))
    content, unread = _read_torch(path, kind, allow_pickle)
    return Checkpoint(path, kind, digest, content, unread)


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Read a safetensors file."""
    import safetensors
    from safetensors.torch import load_file

    TENSORS.check(_n_entries(path), str(path))
    try:
        return dict(load_file(path))
    except (safetensors.SafetensorError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise BadInputError(
            str(path),
            "a whole safetensors file",
            f"{type(error).__name__}: {_first_line(error)}",
            "it was cut short or damaged: fetch it again",
        ) from None


def _n_entries(path: Path) -> int:
    """Return how many tensors the header of a safetensors file describes, at most: each has one ``data_offsets``."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return file.read(min(length, HEADER_BYTES.allowed)).count(b"data_offsets")


def _read_torch(path: Path, kind: Format, allow_pickle: bool) -> tuple[Any, tuple[str, ...]]:
    """Read a file of torch.save, weights only unless code was allowed; also return what was left unread."""
    unknown = sorted(_needed_globals(path, kind) - set(harmless_globals()))
    if unknown and not allow_pickle:
        return _with_stand_ins(path, kind, unknown), tuple(unknown)
    if unknown:
        search_working_folder()  # its classes may be defined in the user's own files
    try:
        return _loaded(path, kind, [], runs_code=bool(unknown)), ()
    except Exception as error:  # noqa: BLE001 - what a damaged file raises has no common class
        raise _damaged(path, kind, error, bool(unknown)) from None


def _with_stand_ins(path: Path, kind: Format, unknown: list[str]) -> Any:
    """Read a file with inert stand-ins for what it names; there must be weights among what remains."""
    refusal = BadInputError(
        str(path),
        "tensors and plain values only",
        f"a pickle that would run {', '.join(unknown[:6])}",
        "if you trust its author, give --allow-pickle (it will run), or save the state_dict() alone",
    )
    if hostile(unknown):
        raise refusal
    try:
        content = _loaded(path, kind, stand_ins(unknown))
    except Exception:  # noqa: BLE001 - what an unusual pickle raises has no common class
        raise refusal from None
    if not any(candidates(content)):
        raise refusal
    return content


def _loaded(path: Path, kind: Format, more: list[Any], runs_code: bool = False) -> Any:
    """Load with torch; ``more`` are classes, with their names, that the weights-only unpickler may build."""
    if kind.name == "torch-zip" and not runs_code:
        check_storages(path, kind)
    named: list[Any] = [(value, name) for name, value in harmless_globals().items() if not name.startswith("torch")]
    # Sparse indices beyond the tensor's shape would be written outside its memory later on.
    checked = torch.sparse.check_sparse_tensor_invariants()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings(), torch.serialization.safe_globals(named + more), checked:
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=not runs_code)


def _needed_globals(path: Path, kind: Format) -> set[str]:
    """Return what unpickling would import; a stream that cannot be followed counts as damaged."""
    try:
        return globals_of(path, kind)
    except LimitError:
        raise
    except Exception as error:  # noqa: BLE001 - what a damaged file raises has no common class
        raise _damaged(path, kind, error, False) from None


def _damaged(path: Path, kind: Format, error: Exception, ran_code: bool) -> BadInputError:
    """Say that a file of a known format could not be read to its end."""
    came = f"{type(error).__name__}: {_first_line(error)}"
    if ran_code:
        hint = "its classes must be importable here, or ask its author for the state_dict() alone"
    elif isinstance(error, pickle.UnpicklingError) and "Unsupported" in str(error):
        hint = "save its state_dict() alone"
    else:
        hint = "it was cut short or damaged: fetch it again"
    return BadInputError(str(path), f"a whole {kind.title}", came, hint)


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's message, shortened."""
    lines = str(error).strip().splitlines()
    return lines[0].split(". ")[0][:160] if lines else "no message"
