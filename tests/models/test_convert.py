"""``convert_checkpoint`` from Python; what it writes is tested with the command in tests/cli/test_convert.py."""

import inspect
from pathlib import Path

import pytest
import torch

import measurebench
from measurebench.core.errors import BadInputError
from measurebench.core.option_fields import options_of
from measurebench.engine.options import RunOptions
from measurebench.models.convert import convert_checkpoint


def test_it_returns_specifications_that_load_to_the_same_networks(manifest: Path, tmp_path: Path) -> None:
    (spec,) = measurebench.convert_checkpoint(f"{manifest.parent}#net1", tmp_path / "out")
    assert spec.reference == f"{tmp_path / 'out'}#net1"
    assert Path(spec.locator) == (tmp_path / "out" / "net1.safetensors").resolve()
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    old = measurebench.load_model(f"{manifest.parent}#net1").network(images)
    assert torch.equal(measurebench.load_model(spec).network(images), old)


def test_only_the_models_that_were_asked_for_are_returned(manifest: Path, tmp_path: Path) -> None:
    convert_checkpoint(f"{manifest.parent}#net0", tmp_path / "out")
    assert [spec.id for spec in convert_checkpoint(f"{manifest.parent}#net2", tmp_path / "out")] == ["net2"]


def test_a_taken_id_is_refused_and_nothing_is_written(manifest: Path, tmp_path: Path) -> None:
    convert_checkpoint(f"{manifest.parent}#net0", tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(BadInputError, match="expected ids that are not in it yet, got 'net0'"):
        convert_checkpoint(str(manifest), tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_options_that_a_run_has_too_have_its_defaults() -> None:
    declared = options_of(RunOptions)
    shared = [item for name, item in inspect.signature(convert_checkpoint).parameters.items() if name in declared]
    assert [item.name for item in shared] == ["architecture", "normalization", "weights", "allow_pickle", "trust_code"]
    assert all(item.default == declared[item.name].default for item in shared)
