"""What a pickle would import is told without running it, however it is written."""

import io
import pickle
from pathlib import Path

import pytest
import torch

from measurebench.core.errors import BadInputError
from measurebench.models import checkpoint
from measurebench.models.checkpoint import read_checkpoint
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


def full_checkpoint() -> dict[str, object]:
    """What a training script keeps: a schedule, a parameter with an attribute of its own, plain Python values."""
    weights = {name: torch.nn.Parameter(tensor, requires_grad=False) for name, tensor in state().items()}
    weights["fc.bias"].note = "kept"  # type: ignore[attr-defined]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [5, 5, 8])
    return {"state_dict": weights, "scheduler": schedule.state_dict(), "seen": {1, 2}, "root": 1j}


@pytest.mark.parametrize("legacy", [False, True])
def test_what_torch_itself_takes_for_plain_is_read(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(saved(full_checkpoint(), legacy))
    names = globals_of(path, recognise(path))
    wanted = {"collections.Counter", "torch._utils._rebuild_parameter_with_state"}
    assert names >= wanted | {"__builtin__.complex", "__builtin__.set"}
    assert read_checkpoint(path).content["scheduler"]["milestones"] == {5: 2, 8: 1}


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_refuses_what_our_own_reading_of_a_file_would_miss(
    legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(saved(full_checkpoint() | {"x": Canary(tmp_path / "canary")}, legacy))
    monkeypatch.setattr(checkpoint, "globals_of", lambda *_: set())
    with pytest.raises(BadInputError, match="UnpicklingError"):
        read_checkpoint(path)
    assert not (tmp_path / "canary").exists()


def test_harmless_names_hold_nothing_that_runs_code() -> None:
    for name in harmless_globals():
        assert not name.startswith(
            ("os.", "posix.", "builtins.", "subprocess.", "sys.", "io.", "functools.", "operator.")
        )
        assert name.rpartition(".")[2] not in {"eval", "exec", "getattr", "load", "loads", "open", "system", "partial"}
