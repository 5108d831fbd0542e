"""Checkpoints that tests write: every usual form, and files that only look like one."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from functools import cache
from pathlib import Path

import torch
from torch import nn


def network(n_classes: int = 10, seed: int = 0) -> nn.Module:
    """A small network for 3x32x32 images with every kind of key: convolution, batch norm, linear."""
    torch.manual_seed(seed)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 4, 3, stride=4, padding=1),
            bn1=nn.BatchNorm2d(4),
            relu=nn.ReLU(),
            flat=nn.Flatten(),
            fc=nn.Linear(256, n_classes),
        )
    )


def state(n_classes: int = 10, seed: int = 0) -> dict[str, torch.Tensor]:
    """The network's weights."""
    return dict(network(n_classes, seed).state_dict())


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    """The weights under a wrapper's prefix."""
    return {prefix + key: value for key, value in state().items()}


ARCHITECTURE_FILE = """
from collections import OrderedDict
from torch import nn

def small(n_classes=10):
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 4, 3, stride=4, padding=1), bn1=nn.BatchNorm2d(4), relu=nn.ReLU(), flat=nn.Flatten(),
        fc=nn.Linear(256, n_classes)))

def broken():
    raise KeyError("width")

def nothing():
    return None
"""


def saved(content: object, legacy: bool = False) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


class Canary:
    """A pickle of this makes a folder when it is loaded by code that runs pickles."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


class Evaluated:
    """A pickle of this evaluates Python when it is loaded by code that runs pickles."""

    def __init__(self, path: Path) -> None:
        self.text = f"__import__('os').mkdir({str(path)!r})"

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (self.text,)


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def safetensors_bytes(weights: dict[str, torch.Tensor] | None = None) -> bytes:
    """A whole safetensors file."""
    from safetensors.torch import save

    return save(weights or state())


@cache
def hostile_files(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Return files that must be refused: name to content and a word that the message must hold."""
    good, old, safe = saved(state()), saved(state(), legacy=True), safetensors_bytes()
    nan, infinite = state(), state()
    nan["conv1.weight"][0, 0, 0, 0] = float("nan")
    infinite["fc.bias"][3] = float("inf")
    transposed = state() | {"fc.weight": state()["fc.weight"].T.contiguous()}
    pruned = {key: value for key, value in state().items() if key != "fc.bias"}
    header = b'{"x":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}'
    overlapping = (
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}'
    )
    script = {"net/data.pkl": b"x", "net/code/__torch__.py": b"x", "net/constants.pkl": b"x"}
    return {
        "empty.pt": (b"", "empty"),
        "one_byte.pt": (b"\x80", "pickle"),
        "spaces.pth": (b"    \n   ", "text"),
        "quota_page.pt": (b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title>", "web page"),
        "indented_page.pt": (b"\r\n\r\n  <HTML lang='en'><body>Sign in", "web page"),
        "xml.pt": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page"),
        "error.json.pt": (b'{"message": "Not Found", "status": 404}', "text"),
        "lfs_pointer.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n", "Git LFS"),
        "gzip.pt": (b"\x1f\x8b\x08\x00rest of it", "gzip"),
        "bzip2.pt": (b"BZh91AY&SYrest", "bzip2"),
        "xz.pt": (b"\xfd7zXZ\x00rest", "xz"),
        "seven.pt": (b"7z\xbc\xaf\x27\x1crest", "7z"),
        "rar.pt": (b"Rar!\x1a\x07\x00rest", "rar"),
        "tar.pt.tar": (b"weights.pt".ljust(257, b"\x00") + b"ustar\x0000" + b"\x00" * 300, "tar archive"),
        "picture.pt": (b"\x89PNG\r\n\x1a\nrest", "PNG"),
        "photo.pt": (b"\xff\xd8\xff\xe0rest", "JPEG"),
        "paper.pt": (b"%PDF-1.7 rest", "PDF"),
        "program.pt": (b"\x7fELF\x02\x01\x01rest", "program"),
        "script.pt": (b"#!/bin/sh\ntouch x\n", "script"),
        "keras.h5": (b"\x89HDF\r\n\x1a\nrest", "HDF5"),
        "array.npy": (b"\x93NUMPY\x01\x00rest", "numpy"),
        "noise.pt": (bytes(range(200, 256)) * 20, "bytes beginning"),
        "zeros.pt": (b"\x00" * 4096, "bytes beginning"),
        "archive.pt": (zipped({"weights/model.pt": b"x", "readme.txt": b"y"}), "zip archive"),
        "empty_archive.pt": (zipped({}), "zip archive"),
        "bomb.pt": (zipped({"archive/data.pkl": b"\x00" * 60_000_000}, zipfile.ZIP_DEFLATED), "unpacks to"),
        "program.torchscript.pt": (zipped(script), "TorchScript"),
        "truncated_half.pt": (good[: len(good) // 2], "cut short"),
        "truncated_end.pt": (good[:-30], "cut short"),
        "truncated_legacy.th": (old[: len(old) - 700], "whole"),
        "truncated_legacy_head.th": (old[:60], "whole"),
        "garbled_pickle.pt": (zipped({"archive/data.pkl": b"\x80\x02}q\x00(X\xff\xff"}), "whole"),
        "storage_missing.pt": (_without_storage(good), "whole"),
        "plain_pickle.pt": (pickle.dumps({"a": 1}), "pickle that torch.save did not write"),
        "plain_canary.pt": (pickle.dumps(Canary(canary)), "pickle that torch.save did not write"),
        "canary.pt": (saved({"state_dict": state(), "x": Canary(canary)}), "mkdir"),
        "canary_legacy.th": (saved({"state_dict": state(), "x": Canary(canary)}, legacy=True), "mkdir"),
        "eval.pt": (saved(Evaluated(canary)), "eval"),
        "whole_module.pt": (saved(network()), "would run"),
        "path_alone.pt": (saved({"path": Path("x")}), "would run pathlib"),
        "safe_truncated.safetensors": (safe[: len(safe) // 2], "safetensors"),
        "safe_no_header.safetensors": (safe[:12], "safetensors"),
        "safe_huge_header.safetensors": (struct.pack("<Q", 1 << 40) + b'{"x":1}', "header claims"),
        "safe_huge_tensor.safetensors": (struct.pack("<Q", len(header)) + header, "safetensors"),
        "safe_overlapping.safetensors": (
            struct.pack("<Q", len(overlapping)) + overlapping + b"\x00" * 12,
            "safetensors",
        ),
        "safe_not_json.safetensors": (struct.pack("<Q", 20) + b"{not json at all....", "safetensors"),
        "one_tensor.pt": (saved(torch.zeros(3)), "one tensor"),
        "numbers.pt": (saved({"epoch": 3, "accuracy": 0.9}), "a dictionary with"),
        "text.pt": (saved("see the release page"), "str"),
        "empty_dictionary.pt": (saved({}), "no keys"),
        "optimizer_only.pt": (saved({"optimizer": {"state": {}, "param_groups": []}}), "state dict"),
        "two_candidates.pt": (saved({"best": state(), "last": state(seed=1)}), 'weights = "best"'),
        "stages.pt": (saved({"state_dict": [state(), state(seed=1)]}), "['state_dict', 0]".replace("'", '"')),
        "nan.pt": (saved(nan), "NaN"),
        "infinite.pt": (saved(infinite), "infinite"),
        "transposed.pt": (saved(transposed), "transposed"),
        "classes.pt": (saved(state(n_classes=100)), "[100, 256]"),
        "missing_key.pt": (saved(pruned), "fc.bias"),
        "extra_key.pt": (saved(state() | {"head.weight": torch.zeros(2, 2)}), "head.weight"),
        "half_prefixed.pt": (saved(_half_prefixed()), "the file lacks"),
        "renamed.pt": (saved({key.replace("conv1", "stem"): v for key, v in state().items()}), "stem.weight"),
        "normalised.pt": (saved(state() | _kept(mean=0.4, std=0.2)), "own buffers"),
        "huge_storage.pt": (_with_storage_of(good, _count(2**40)), "whole"),
        "huge_storage.th": (old.replace(_count(108), _count(2**40)), "whole"),
        "negative_storage.pt": (_with_storage_of(good, _count(-1)), "whole"),
    }


def _count(number: int) -> bytes:
    """A whole number as a pickle writes it: in one byte, or in eight."""
    return b"K" + bytes([number]) if 0 <= number < 256 else b"\x8a\x08" + struct.pack("<q", number)


def _with_storage_of(content: bytes, count: bytes) -> bytes:
    """A torch zip file that claims another size for the storage of 108 numbers."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    assert _count(108) in members[name]
    return zipped(members | {name: members[name].replace(_count(108), count)})


def _kept(**values: float) -> dict[str, torch.Tensor]:
    """Buffers of a normalisation."""
    return {name: torch.full((3,), value) for name, value in values.items()}


def _without_storage(content: bytes) -> bytes:
    """A torch zip file from which one storage is missing."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if not name.endswith("data/0")}
    return zipped(members)


def _half_prefixed() -> dict[str, torch.Tensor]:
    """Weights of which only some carry a wrapper's prefix."""
    return {("module." if key.startswith("conv") else "") + key: value for key, value in state().items()}
