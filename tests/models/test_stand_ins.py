"""Objects of unknown classes beside the weights are left unread, and their code never runs."""

import copyreg
import io
import itertools
import sys
import types
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from measurebench import check_model
from measurebench.core.errors import BadInputError
from measurebench.models.checkpoint import read_checkpoint
from measurebench.models.loading import load_model
from measurebench.models.references import weights_place
from measurebench.models.stand_ins import StandIn, stand_ins
from tests.models.checkpoints import ARCHITECTURE_FILE, network, prefixed, saved, state

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
MAIR = ("mair", "mair.defenses", "mair.defenses.rm")
MEAN, STD = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010])


class Meter:
    def __init__(self, name: str) -> None:
        self.name, self.history, self.val = name, {1: 0.5, 2: 0.25}, 0.25


class RecordManager:
    """The attributes of the record manager that MAIR's trainer writes into its files."""

    def __init__(self) -> None:
        self.records = OrderedDict(Epoch=Meter("Epoch"), Clean=Meter("Clean"))
        self.record_type, self.save_path, self.log, self.count = "Epoch", "runs", ["[AT]"], 2
        self.best_option = {"PGD(Val)": "HB"}
        self._init_time, self._progress_times = datetime(2023, 5, 1, 12, 30), [0.25]
        self._spinner = itertools.cycle(["-", "/", "|", "\\"])


@pytest.fixture
def without_mair(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Name the classes as MAIR does, in a module that can be imported only while the files are written."""
    module = types.ModuleType("mair.defenses.rm")
    for made in (RecordManager, Meter):
        monkeypatch.setattr(made, "__module__", module.__name__)
        setattr(module, made.__name__, made)
    for name in MAIR:
        monkeypatch.setitem(sys.modules, name, module)
    yield
    assert "mair" not in sys.modules


def trainer_file(twice: bool = False, **changed: Any) -> bytes:
    """Return the bytes of a file that MAIR's trainer saves; ``twice`` as when two saves share one dictionary."""
    rmodel = {"n_classes": torch.tensor(10), "mean": MEAN, "std": STD} | prefixed("model.")
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    parameter.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [100, 150])
    once = {
        "accumulated_epoch": 2,
        "accumulated_iter": 20,
        "curr_epoch": 2,
        "curr_iter": 10,
        "rmodel": rmodel,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "scheduler_type": "Epoch",
        "minimizer": {"records": {"loss_0": [1.5]}, "rho": 0.005},
        "recordmanager": RecordManager(),
        "record_info": OrderedDict({"Epoch": 2, "Clean(Tr)": 71.5, "s/it": np.float64(0.25), "lr": 0.1}),
    }
    again = {f"{key}_1": value for key, value in once.items()} if twice else {}
    return torch_bytes(OrderedDict(once | again | changed))


def torch_bytes(content: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python means to give up pickling itertools.cycle
        torch.save(content, buffer)
    return buffer.getvalue()


def loaded(folder: Path, content: bytes, **options: Any) -> Any:
    (folder / "nets.py").write_text(ARCHITECTURE_FILE)
    (folder / "best.pth").write_bytes(content)
    for name in MAIR:
        sys.modules.pop(name, None)
    return load_model(str(folder / "best.pth"), architecture=f"{folder / 'nets.py'}:small", **options)


def expected() -> torch.Tensor:
    with torch.no_grad():
        return network().eval()((IMAGES - MEAN.view(1, 3, 1, 1)) / STD.view(1, 3, 1, 1))


@pytest.mark.usefixtures("without_mair")
@pytest.mark.parametrize("twice", [False, True])
def test_mair_trainer_files_load_without_mair_and_with_their_normalisation(twice: bool, tmp_path: Path) -> None:
    model = loaded(tmp_path, trainer_file(twice))
    assert torch.allclose(model.network(IMAGES), expected(), atol=1e-5)
    assert model.spec.weights == ("rmodel",)
    assert any("left unread" in note and "mair.defenses.rm.RecordManager" in note for note in model.notes)


@pytest.mark.usefixtures("without_mair")
def test_two_networks_that_differ_are_both_named_and_weights_chooses(tmp_path: Path) -> None:
    other = {"n_classes": torch.tensor(10), "mean": MEAN, "std": STD}
    other |= {f"model.{key}": value for key, value in state(seed=1).items()}
    content = trainer_file(rmodel_1=other)
    with pytest.raises(BadInputError, match=r"say which: --weights rmodel, or weights = .rmodel. in a manifest"):
        loaded(tmp_path, content)
    model = loaded(tmp_path, content, weights="rmodel")
    assert torch.allclose(model.network(IMAGES), expected(), atol=1e-5)
    second = loaded(tmp_path, content, weights=["rmodel_1"])
    assert not torch.allclose(second.network(IMAGES), expected(), atol=1e-2)


@pytest.mark.usefixtures("without_mair")
def test_normalisation_of_zeros_and_ones_is_none(tmp_path: Path) -> None:
    rmodel = prefixed("model.") | {"n_classes": torch.tensor(10), "mean": torch.zeros(3), "std": torch.ones(3)}
    model = loaded(tmp_path, trainer_file(rmodel=rmodel))
    assert model.spec.normalization.mean == ()
    assert torch.allclose(model.network(IMAGES), network().eval()(IMAGES), atol=1e-6)


class Canary:
    """Sings when a file that holds it is opened with its code: it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path


def sing(path: str) -> Canary:
    Path(path).mkdir()
    return Canary(Path(path))


@pytest.mark.parametrize("legacy", [False, True])
def test_code_of_an_unknown_class_does_not_run(legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file names a function of a module that can be imported here, so that only the stand-in keeps it silent."""
    monkeypatch.setitem(copyreg.dispatch_table, Canary, lambda canary: (sing, (str(canary.path),)))
    content = saved({"state_dict": state(), "trainer": Canary(tmp_path / "sung")}, legacy=legacy)
    (tmp_path / "net.pt").write_bytes(content)
    found = read_checkpoint(tmp_path / "net.pt")
    assert not (tmp_path / "sung").exists()
    assert found.unread == (f"{__name__}.sing",)
    assert torch.equal(found.content["state_dict"]["fc.bias"], state()["fc.bias"])
    assert isinstance(found.content["trainer"], StandIn)
    read_checkpoint(tmp_path / "net.pt", allow_pickle=True)
    assert (tmp_path / "sung").exists()


def test_weights_inside_an_unknown_object_are_not_guessed(tmp_path: Path) -> None:
    """A tensor that an unknown function would build is missing, so the state dict is none: the file is refused."""
    (tmp_path / "net.pt").write_bytes(saved({"fc.weight": torch.ones(2, 2), "fc.bias": Path("x")}))
    with pytest.raises(BadInputError, match=r"would run pathlib.*allow-pickle"):
        read_checkpoint(tmp_path / "net.pt")


def test_stand_ins_of_two_names_are_two_classes() -> None:
    (first, _), (second, name) = stand_ins(["a.B", "a.C"])
    assert first is not second
    assert name == "a.C"
    assert repr(second()) == "<an object of a.C, left unread>"


@pytest.mark.parametrize("wrong", ["[true]", "[1.5]", "[[1]]", "[1"])
def test_weights_that_are_no_path_of_keys_are_refused(wrong: str) -> None:
    if wrong == "[1":
        assert weights_place(wrong) == ("[1",)
    else:
        with pytest.raises(BadInputError, match=r"weights: expected a key such as ema"):
            weights_place(wrong)


@pytest.mark.usefixtures("without_mair")
def test_check_says_what_was_left_unread(tmp_path: Path) -> None:
    loaded(tmp_path, trainer_file())
    found = check_model(str(tmp_path / "best.pth"), architecture=f"{tmp_path / 'nets.py'}:small", weights="rmodel")
    assert any("RecordManager" in line.text for line in found.lines)
