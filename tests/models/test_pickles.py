"""What a pickle would import is told without running it, however it is written."""

import io
import pickle
from pathlib import Path

import pytest

from measurebench.models.formats import recognise
from measurebench.models.pickles import _imports, globals_of, harmless_globals
from tests.models.checkpoints import Canary, Evaluated, saved, state


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_imports_are_found_in_every_protocol(protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps(
        [Canary(tmp_path / "x"), Evaluated(tmp_path / "x"), Canary(tmp_path / "y")], protocol=protocol
    )
    names = set(_imports(io.BytesIO(content)))
    assert {name.rpartition(".")[2] for name in names} >= {"mkdir", "eval"}
    assert not (tmp_path / "x").exists()


def test_names_recalled_from_memory_are_followed() -> None:
    # "posix" and "mkdir" are kept, dropped, recalled and joined to a function.
    content = b"\x80\x04\x8c\x05posix\x94\x8c\x05mkdir\x94\x30\x30h\x00h\x01\x93\x8c\x01x\x85R."
    assert list(_imports(io.BytesIO(content))) == ["posix.mkdir"]


@pytest.mark.parametrize("legacy", [False, True])
def test_state_dict_needs_harmless_names_only(legacy: bool, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(saved({"state_dict": state(), "epoch": 3}, legacy))
    assert globals_of(tmp_path / "x.pt", recognise(tmp_path / "x.pt")) <= set(harmless_globals())


def test_harmless_names_hold_nothing_that_runs_code() -> None:
    for name in harmless_globals():
        assert not name.startswith(
            ("os.", "posix.", "builtins.", "subprocess.", "sys.", "io.", "functools.", "operator.")
        )
        assert name.rpartition(".")[2] not in {"eval", "exec", "getattr", "load", "loads", "open", "system", "partial"}
