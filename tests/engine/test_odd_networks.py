"""Runs of networks that public reports found to be measured wrongly: hooked weights, wrappers, fewer classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from measurebench import check_model, load_dataset, measure, run
from measurebench.core.errors import BadInputError
from measurebench.store.tables import read_table

CODE = """
import torch, warnings
from torch import nn

def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))

def hooked():
    network = plain()
    for index in (1, 3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nn.utils.weight_norm(network[index])
    return network

def wrapped():
    return nn.DataParallel(plain())

class Rooted(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = plain()
    def forward(self, images):
        centred = images - images.mean((1, 2, 3), keepdim=True)
        return self.body(images) + 0 * (centred / centred.std((1, 2, 3), keepdim=True)).flatten(1)[:, :1]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(CODE)
    digits = load_dataset("digits")
    few = {"x_train": digits.train.images[:60], "y_train": digits.train.labels[:60]}
    few |= {"x_test": digits.test.images[:40], "y_test": digits.test.labels[:40]}
    kept = {name: few[f"y_{name}"] < 9 for name in ("train", "test")}  # the digits without the nines
    np.savez(tmp_path / "few.npz", **{name: values[kept[name[2:]]] for name, values in few.items()})
    return tmp_path


def _saved(folder: Path, name: str) -> str:
    names: dict[str, Any] = {}
    exec(CODE, names)
    torch.manual_seed(0)
    torch.save(names[name]().state_dict(), folder / f"{name}.pt")
    return str(folder / f"{name}.pt")


def _options(folder: Path, name: str) -> dict[str, Any]:
    options = {"architecture": f"{folder / 'nets.py'}:{name}", "normalization": "none", "device": "cpu"}
    return options | {"measures": "path_norm,euclid_norm,num_params,average_ce", "attacks": "none", "workers": 1}


@pytest.mark.parametrize("name", ["hooked", "wrapped"])
def test_a_run_measures_the_network_inside(name: str, folder: Path) -> None:
    reference = _saved(folder, name)
    summary = run(reference, f"arrays:{folder / 'few.npz'}", folder / "out", **_options(folder, name))
    assert summary.exit_status == 0
    row = read_table(folder / "out").iloc[0]
    names: dict[str, Any] = {}
    exec(CODE, names)
    network = names[name]()
    network.load_state_dict(torch.load(reference))
    twin = nn.Sequential(*(network.module if name == "wrapped" else network))
    if name == "hooked":
        for index in (1, 3):
            nn.utils.remove_weight_norm(twin[index])
    split = load_dataset(f"arrays:{folder / 'few.npz'}").train
    ids = ["path_norm", "euclid_norm", "num_params", "average_ce"]
    expected = measure(twin, torch.from_numpy(split.images), torch.from_numpy(split.labels), ids)
    assert [row[item] for item in ids] == pytest.approx([expected[item].value for item in ids], rel=1e-6)
    assert row["n_parameters"] == row["num_params"] == 64 * 12 + 12 + 12 * 10 + 10


def test_labels_may_lack_the_highest_class_unless_the_number_of_classes_is_said(folder: Path) -> None:
    reference, data = _saved(folder, "plain"), f"arrays:{folder / 'few.npz'}"
    assert load_dataset(data).n_classes == 9
    options = _options(folder, "plain")
    assert run(reference, data, folder / "out", **options).exit_status == 0
    assert run(reference, data, folder / "out10", classes=10, **options).exit_status == 0
    assert run(reference, data, folder / "out11", classes=11, **options).exit_status == 2
    with pytest.raises(BadInputError, match="at least 9, which its labels need, got 8"):
        run(reference, data, folder / "out8", classes=8, **options)


def test_a_check_takes_more_outputs_than_labels_and_counts_outputs_that_are_nan(folder: Path) -> None:
    options = {"normalization": "none", "device": "cpu", "attack_examples": 0}
    data = f"arrays:{folder / 'few.npz'}"
    lines = check_model(_saved(folder, "plain"), data, architecture=f"{folder / 'nets.py'}:plain", **options).lines  # type: ignore[arg-type]
    assert [line.verdict for line in lines if line.subject == "preflight"] == ["ok"]
    arrays = dict(np.load(folder / "few.npz"))
    arrays["x_test"][[20, 25]] = 0.0
    np.savez(folder / "blank.npz", **arrays)
    blank = f"arrays:{folder / 'blank.npz'}"
    lines = check_model(_saved(folder, "Rooted"), blank, architecture=f"{folder / 'nets.py'}:Rooted", **options).lines  # type: ignore[arg-type]
    n = len(arrays["x_test"])
    told = [line.text for line in lines if line.subject == "output"]
    wanted = f"the output is NaN for 2 of {n} images, which count as wrong; no measure can use them"
    assert told == [wanted]
