"""Detects the format of a checkpoint from its first bytes, whatever its name ends in."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

from measurebench.core.errors import BadInputError
from measurebench.core.limits import HEADER_BYTES, PICKLE_BYTES

__all__ = ["LEGACY_MAGIC", "Format", "recognise"]

LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# torch.save does not compress: an archive that unpacks to much more than its size could fill the memory.
_EXPANSION = 4


@dataclass(frozen=True)
class Format:
    """A format that can be read: ``torch-zip``, ``torch-legacy`` or ``safetensors``.

    ``prefix`` is the member of a zip file that holds the pickle.
    """

    name: str
    title: str
    prefix: str = ""


_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer",
        "the weights themselves were not fetched: run `git lfs pull`",
    ),
    (b"\x89HDF", "an HDF5 file", "Keras weights must be converted to PyTorch first"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a rar archive", "unpack it first"),
    (b"\x93NUMPY", "a numpy array", "weights come as a state dict of torch.save or safetensors"),
    (b"\x89PNG", "a PNG picture", "is this the right file?"),
    (b"\xff\xd8\xff", "a JPEG picture", "is this the right file?"),
    (b"%PDF", "a PDF document", "is this the right file?"),
    (b"\x7fELF", "a program", "is this the right file?"),
    (b"MZ", "a program", "is this the right file?"),
    (b"#!", "a script", "is this the right file?"),
    (b"GGUF", "a GGUF file", "PyTorch weights are needed"),
)


def recognise(path: Path) -> Format:
    """Return the format of a checkpoint file. Raises BadInputError, which says what the file is instead."""
    head = _head(path)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_format(path)
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") and head[2:].startswith(LEGACY_MAGIC):
        return Format("torch-legacy", "checkpoint of torch.save (the format before 1.6)")
    if _is_safetensors(head, path.stat().st_size):
        return Format("safetensors", "safetensors file")
    raise _foreign(path, head)


def _head(path: Path) -> bytes:
    """Return the first bytes of a file that can be read and is not empty."""
    if path.is_dir():
        raise BadInputError(str(path), "a checkpoint file", "a folder")
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except FileNotFoundError:
        raise BadInputError(str(path), "a checkpoint file", "no such file") from None
    except OSError as error:
        raise BadInputError(str(path), "a file that can be read", error.strerror or str(error)) from None
    if not head:
        raise BadInputError(str(path), "a checkpoint", "an empty file", "the download broke off: fetch it again")
    return head


def _zip_format(path: Path) -> Format:
    """Tell torch's zip files from other archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadInputError(
            str(path),
            "a whole checkpoint of torch.save",
            f"the start of one without its end ({error})",
            "it was cut short: fetch it again",
        ) from None
    unpacked = sum(member.file_size for member in members)
    if unpacked > _EXPANSION * path.stat().st_size + 1_000_000:
        raise BadInputError(
            str(path),
            "a checkpoint of torch.save, which is not compressed",
            f"an archive that unpacks to {unpacked:,} bytes",
        )
    PICKLE_BYTES.check(max((m.file_size for m in members if m.filename.endswith("data.pkl")), default=0), str(path))
    names = [member.filename for member in members]
    pickled = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
    if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
        raise BadInputError(
            str(path),
            "weights (a state dict)",
            "a TorchScript program",
            "save the original network's state_dict() instead",
        )
    if len(pickled) == 1:
        return Format("torch-zip", "checkpoint of torch.save", pickled[0])
    inside = ", ".join(names[:4]) or "nothing"
    raise BadInputError(str(path), "a checkpoint of torch.save", f"a zip archive holding {inside}", "unpack it first")


def _is_safetensors(head: bytes, size: int) -> bool:
    """Tell a safetensors file: the header's length in eight bytes, then JSON."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= HEADER_BYTES.allowed and size >= 10


def _foreign(path: Path, head: bytes) -> BadInputError:
    """Name what came in place of a checkpoint."""
    expected = "a checkpoint (.pt, .pth, .th, .ckpt, .safetensors)"
    for magic, title, hint in _FOREIGN:
        if head.startswith(magic):
            return BadInputError(str(path), expected, title, hint)
    if head[257:262] == b"ustar":
        return BadInputError(str(path), expected, "a tar archive", "unpack it first")
    if head[8:9] == b"{":
        length = int.from_bytes(head[:8], "little")
        if length <= path.stat().st_size:
            HEADER_BYTES.check(length, str(path))
        return BadInputError(str(path), expected, f"a safetensors file whose header claims {length:,} bytes")
    if head[:1] == b"\x80":
        return BadInputError(
            str(path),
            expected,
            "a pickle that torch.save did not write",
            "it was not opened, since a pickle can run any code; save weights with torch.save or safetensors",
        )
    return BadInputError(str(path), expected, *_text_or_bytes(head))


def _text_or_bytes(head: bytes) -> tuple[str, str]:
    """Describe content that has no magic number: a web page, other text, or bytes."""
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff \r\n\t").lower()
    if text.startswith(("<!doctype", "<html", "<?xml", "<head", "<body")) or "<html" in text:
        return (
            "a web page (HTML)",
            "a quota or login page was saved: open the address in a browser and save the file",
        )
    if "\ufffd" not in text and all(letter.isprintable() or letter in "\r\n\t" for letter in text):
        return f"text beginning {text[:40]!r}", "is this the right file?"
    return f"bytes beginning {head[:8].hex(' ')}", "is this the right file?"
