"""Tells by its own structure whether a file is whole: archives, safetensors and pickles say where they end.

Nothing in a file is run: of a pickle only the instructions are read, with stand-ins for all that it names.
"""

import errno
import gzip
import json
import pickle
import pickletools
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

__all__ = ["damage_of", "shows_its_end"]

_CHUNK = 1 << 20
_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number of torch.save before 1.6, as a pickle
_LONGEST_HEADER = 100_000_000  # bytes; the safetensors library refuses longer ones
# Bytes of one number in a storage of torch; the class of a storage is named in the pickle before the data.
_SIZES = {
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage", "QInt8Storage", "QUInt8Storage"), 1),
    "UntypedStorage": 1,
    "ComplexDoubleStorage": 16,
}


def damage_of(path: Path) -> str:
    """Return why a file is not whole, or an empty string where it is or where its format does not tell.

    Zip archives (``torch.save``, .npz) and gzip files are read once to compare their checksums; of safetensors,
    of pickles and of torch's older format the sizes are compared. Raises OSError where the file cannot be read.
    """
    kind = _kind(path)
    try:
        return {"zip": _zip, "gzip": _gzip, "safetensors": _safetensors, "legacy": _legacy, "pickle": _pickle}[kind](
            path
        )
    except KeyError:
        return ""


def shows_its_end(path: Path) -> bool:
    """Tell whether a file is of a format for which ``damage_of`` notices that its end is missing."""
    return bool(_kind(path))


def _kind(path: Path) -> str:
    """Return the format in one word, an empty string for one that does not tell its end."""
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 2:
        return "legacy" if head[2:].startswith(_LEGACY) else "pickle"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER:
        return "safetensors"
    return ""


def _zip(path: Path) -> str:
    """Compare the checksum of every member; torch's own reader does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, zlib.error, RuntimeError) as error:
        return f"the archive is cut short or damaged ({error})"
    except OSError as error:
        if error.errno != errno.EINVAL:  # a directory of the archive that points before the file's beginning
            raise
        return "the archive's directory is damaged"
    return f"the checksum of {bad} in the archive does not match" if bad else ""


def _gzip(path: Path) -> str:
    try:
        with gzip.open(path) as file:
            while file.read(_CHUNK):
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        return f"the archive is cut short or damaged ({error})"
    return ""


def _safetensors(path: Path) -> str:
    """Compare the size with the end of the last tensor, as the header names it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length)
    if len(text) < length:
        return f"the header of {length:,} bytes is cut short"
    try:
        header = json.loads(text)
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return "the header is damaged"
    expected = 8 + length + max(ends, default=0)
    return "" if size == expected else f"its header asks for {expected:,} bytes, and it has {size:,}"


def _pickle(path: Path) -> str:
    with path.open("rb") as file:
        if not _skip_pickle(file):
            return "the pickle does not end"
        rest = len(file.read(1))
    return "bytes follow the end of the pickle" if rest else ""


def _skip_pickle(file: IO[bytes]) -> bool:
    """Read the instructions of a pickle up to the last; tell whether it is there."""
    try:
        for _ in pickletools.genops(file):
            pass
    except Exception:  # noqa: BLE001 - what a damaged stream raises has no common class
        return False
    return True


class _Anything(dict[Any, Any]):
    """Stands for whatever a pickle names; nothing of it is imported or called."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, _state: Any) -> None:
        """Take a state and forget it."""

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def append(self, _item: Any) -> None:
        """Take an item and forget it."""

    def extend(self, _items: Any) -> None:
        """Take items and forget them."""

    add = update = append  # type: ignore[assignment]


class _Sizes(pickle.Unpickler):
    """Reads a pickle of torch's older format for the sizes of its storages, with stand-ins for all else."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")
        self.bytes_of: dict[str, int] = {}

    def find_class(self, _module: str, name: str) -> Any:
        """Return a stand-in that keeps the name."""
        return type(name, (_Anything,), {})

    def persistent_load(self, pid: Any) -> Any:
        """Note the size of a storage: ("storage", class, key, place, number of values, ...); a module is its class."""
        if pid[0] == "module":
            return pid[1]
        _, kind, key, _, count, *_ = pid
        self.bytes_of[str(key)] = _SIZES[kind.__name__] * int(count)
        return _Anything()


def _legacy(path: Path) -> str:
    """Compare the size with that of the storages: magic number, version, system, content, keys, then the data."""
    end = path.stat().st_size
    with path.open("rb") as file:
        try:
            if not all(_skip_pickle(file) for _ in range(3)):
                return "the pickles at its start do not end"
            sizes = _Sizes(file)
            sizes.load()
            keys = _Sizes(file).load()
            place = file.tell()
            for key in keys:
                place += 8 + sizes.bytes_of[str(key)]  # each begins with the number of its values
        except (OSError, MemoryError):
            raise
        except Exception:  # noqa: BLE001 - what a damaged stream raises has no common class
            return "the pickle of its content is cut short or damaged"
    return "" if place == end else f"its content asks for {place:,} bytes, and it has {end:,}"
