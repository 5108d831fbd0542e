from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from measurebench.core.errors import BadInputError
from measurebench.models import load_model
from measurebench.models.tensor_kinds import same_values
from tests.models.checkpoints import ARCHITECTURE_FILE, safetensors_bytes, saved, state


def _quantised(weight: Tensor) -> Tensor:
    return torch.quantize_per_tensor(weight, float(weight.abs().max()) / 127, 0, torch.qint8)


def _per_channel(weight: Tensor) -> Tensor:
    scales = weight.abs().flatten(1).amax(1) / 127
    return torch.quantize_per_channel(weight, scales, torch.zeros(len(weight), dtype=torch.int64), 0, torch.qint8)


# What a kind does to the network's last matrix [10, 256], and its greatest error relative to the largest weight.
KINDS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "qint8 (quantised)": (_quantised, 0.5 / 127),
    "qint8 per channel": (_per_channel, 0.5 / 127),
    "float32 (sparse_coo)": (lambda weight: weight.to_sparse(), 0.0),
    "float32 (sparse_csr)": (lambda weight: weight.to_sparse_csr(), 0.0),
    "float8_e4m3fn": (lambda weight: weight.to(torch.float8_e4m3fn), 1 / 16),
    "float8_e5m2": (lambda weight: weight.to(torch.float8_e5m2), 1 / 8),
}


def _load(folder: Path, content: bytes, **options: bool) -> tuple[nn.Module, tuple[str, ...]]:
    (folder / "nets.py").write_text(ARCHITECTURE_FILE)
    (folder / "net.pt").write_bytes(content)
    reference, architecture = str(folder / "net.pt"), f"{folder / 'nets.py'}:small"
    model = load_model(reference, architecture=architecture, normalization="none", **options)  # type: ignore[arg-type]
    return model.network, model.notes


@pytest.mark.filterwarnings(
    "ignore:Sparse CSR:UserWarning", "ignore:.*quantize_per_tensor.*", "ignore:.*TypedStorage.*"
)
@pytest.mark.parametrize("allow_pickle", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_unusual_tensor_is_read_as_floats_and_the_notes_say_so(
    kind: str, allow_pickle: bool, tmp_path: Path
) -> None:
    change, error = KINDS[kind]
    weights = state()
    network, notes = _load(
        tmp_path, saved(weights | {"fc.weight": change(weights["fc.weight"])}), allow_pickle=allow_pickle
    )
    difference = (network.get_parameter("fc.weight") - weights["fc.weight"]).abs().max()
    assert float(difference) <= error * float(weights["fc.weight"].abs().max()) + 1e-9
    named = kind.replace(" per channel", " (quantised)")
    assert f"1 tensors stored as {named}, read as dense floats" in notes


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (torch.ones(10, 256, dtype=torch.complex64), "fc.weight: expected real weights, got complex64"),
        (torch.ones(10, 256, dtype=torch.int8), "fc.weight: expected weights in floating point, got int8"),
        (torch.ones(10, 256, dtype=torch.bool), "expected weights in floating point, got bool"),
        (torch.ones(10, 256, dtype=torch.int64), "got int64; integers without a scale"),
    ],
)
def test_numbers_that_are_no_weights_are_refused(weight: Tensor, words: str, tmp_path: Path) -> None:
    contents = [saved(state() | {"fc.weight": weight})]
    with suppress(KeyError):  # safetensors before 0.7 does not write complex numbers
        contents.append(safetensors_bytes(state() | {"fc.weight": weight}))
    for content in contents:
        with pytest.raises(BadInputError, match=words):
            _load(tmp_path, content)


def test_a_sparse_tensor_of_a_huge_shape_is_refused_before_it_is_made_dense(tmp_path: Path) -> None:
    huge = torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (1 << 30, 1 << 30))
    with pytest.raises(BadInputError, match="of another shape"):
        _load(tmp_path, saved(state() | {"fc.weight": huge}))


def test_sparse_indices_beyond_the_shape_are_refused(tmp_path: Path) -> None:
    inside = torch.sparse_coo_tensor(torch.tensor([[9], [255]]), torch.ones(1), (10, 256), check_invariants=True)
    content = saved(state() | {"fc.weight": inside})
    assert content.count((255).to_bytes(8, "little")) == 1
    (tmp_path / "content").write_bytes(content)
    for beyond in (256, 1 << 40, -1):
        damaged = content.replace((255).to_bytes(8, "little"), beyond.to_bytes(8, "little", signed=True))
        with pytest.raises(BadInputError):
            _load(tmp_path, damaged)


def test_equality_is_of_values_whatever_the_kind() -> None:
    weight = torch.eye(3)
    assert same_values(weight.to_sparse(), weight.to_sparse())
    assert not same_values(weight.to_sparse(), weight)
    assert not same_values(weight.to_sparse(), (2 * weight).to_sparse())
    assert not same_values(weight, torch.eye(2))


def test_a_pickled_network_in_data_parallel_is_unwrapped(tmp_path: Path) -> None:
    inside = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    (tmp_path / "whole.pt").write_bytes(saved(nn.DataParallel(inside)))
    model = load_model(str(tmp_path / "whole.pt"), normalization="none", allow_pickle=True)
    assert isinstance(model.network, nn.Sequential)
    assert model.n_parameters == 1930


def test_an_architecture_that_returns_data_parallel_is_unwrapped(tmp_path: Path) -> None:
    code = "from torch import nn\n\ndef net():\n"
    code += "    return nn.DataParallel(nn.Sequential(nn.Flatten(), nn.Linear(192, 10)))\n"
    (tmp_path / "wrapped.py").write_text(code)
    inside = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    for content in (inside.state_dict(), nn.DataParallel(inside).state_dict()):
        (tmp_path / "net.pt").write_bytes(saved(content))
        architecture = f"{tmp_path / 'wrapped.py'}:net"
        model = load_model(str(tmp_path / "net.pt"), normalization="none", architecture=architecture)
        assert isinstance(model.network, nn.Sequential)
        assert torch.equal(model.network[1].weight, inside[1].weight)
