"""Puts packages with the interfaces of torchattacks, foolbox and art where Python finds them."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARIES = Path(__file__).parent / "libraries"
NAMES = ("torchattacks", "foolbox", "art")


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in NAMES}
    for name in before:
        del sys.modules[name]
    monkeypatch.syspath_prepend(LIBRARIES)
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in NAMES]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def no_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make their import fail, also where they are installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] in NAMES]:
        monkeypatch.delitem(sys.modules, name)
    for name in NAMES:
        monkeypatch.setitem(sys.modules, name, None)
