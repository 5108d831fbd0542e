"""Lists what a pickle would import, by reading its instructions without executing them."""

import argparse
import collections
import pickletools
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from measurebench.core.limits import PICKLE_BYTES
from measurebench.models.formats import Format

__all__ = ["globals_of", "harmless_globals"]

_TEXT = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "SHORT_BINSTRING", "BINSTRING", "STRING")
_LEGACY_PICKLES = 5  # in one file, one after the other: magic number, protocol, system, content, storage keys


def globals_of(path: Path, kind: Format) -> set[str]:
    """Return the names (``module.name``) that unpickling a file would import; nothing is executed."""
    if kind.name == "torch-zip":
        with zipfile.ZipFile(path) as archive, archive.open(kind.prefix) as stream:
            return set(_imports(stream))
    found: set[str] = set()
    with path.open("rb") as stream:
        for _ in range(_LEGACY_PICKLES):
            found |= set(_imports(stream))
    return found


def _imports(stream: IO[bytes]) -> Iterator[str]:
    """Yield what one pickle imports; strings that it memoizes are followed, since names may be built from them."""
    texts: list[str] = []
    memo: dict[int, str] = {}
    top = ""
    start, allowed = stream.tell(), PICKLE_BYTES.allowed
    for opcode, argument, position in pickletools.genops(stream):
        if (position or 0) - start > allowed:
            PICKLE_BYTES.check((position or 0) - start, getattr(stream, "name", "pickle"))
        if opcode.name in _TEXT:
            top = str(argument)
            texts.append(top)
        elif opcode.name in ("BINGET", "LONG_BINGET", "GET"):
            top = memo.get(_number(argument), "?")
            texts.append(top)
        elif opcode.name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[_number(argument)] = top
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = top
        elif opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
            top = "?"
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:]) if len(texts) > 1 else "an unnamed function"
            top = "?"
        elif opcode.name in ("EXT1", "EXT2", "EXT4"):
            yield f"extension {argument}"
        else:
            top = "?"


def _number(argument: Any) -> int:
    """Read a place in the pickle's memory."""
    return int(argument)


@cache
def harmless_globals() -> dict[str, Any]:
    """Return what a file may rebuild without permission: tensors, numpy scalars and arrays, plain namespaces."""
    found: dict[str, Any] = {"collections.OrderedDict": collections.OrderedDict}
    found["collections.defaultdict"] = collections.defaultdict
    found["collections.Counter"] = collections.Counter
    found |= {"__builtin__.complex": complex, "__builtin__.set": set}
    found["argparse.Namespace"] = argparse.Namespace
    found |= {f"torch._utils.{name}": getattr(torch._utils, name) for name in _REBUILDERS}
    found |= {f"torch.{name}": value for name, value in vars(torch).items() if name.endswith("Storage")}
    found |= {f"torch.{name}": v for name, v in vars(torch).items() if isinstance(v, (torch.dtype, torch.qscheme))}
    found["torch.serialization._get_layout"] = torch.serialization._get_layout
    found |= {f"torch.{name}": getattr(torch, name) for name in ("Size", "device", "Tensor")}
    found["torch.storage.UntypedStorage"] = torch.UntypedStorage
    found["torch.nn.parameter.Parameter"] = torch.nn.Parameter
    found |= _numpy_globals()
    return found


_REBUILDERS = (
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_tensor_v3",
    "_rebuild_qtensor",
    "_rebuild_sparse_tensor",
    "_rebuild_parameter",
    "_rebuild_parameter_with_state",
)


def _numpy_globals() -> dict[str, Any]:
    """Return numpy's rebuilding functions under their old and new homes."""
    import _codecs

    from numpy._core import multiarray

    found: dict[str, Any] = {
        "numpy.dtype": np.dtype,
        "numpy.ndarray": np.ndarray,
        "_codecs.encode": _codecs.encode,
    }
    for home in ("numpy.core.multiarray", "numpy._core.multiarray"):
        found[f"{home}.scalar"] = multiarray.scalar
        found[f"{home}._reconstruct"] = multiarray._reconstruct
    found |= {f"numpy.dtypes.{name}": getattr(np.dtypes, name) for name in np.dtypes.__all__}
    return found
