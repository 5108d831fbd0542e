"""A model's digest is known before it is loaded, and follows everything that its function depends on."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from measurebench.core.specs import Normalization
from measurebench.models.identity import architecture_file, model_digest
from measurebench.models.references import resolve


@pytest.fixture
def folder(manifest: Path, tmp_path: Path) -> Path:
    shutil.copytree(manifest.parent, tmp_path / "copy")
    return tmp_path / "copy"


def test_digest_does_not_depend_on_the_place(manifest: Path, folder: Path) -> None:
    here, there = resolve([str(manifest.parent)]), resolve([str(folder)])
    assert [model_digest(spec) for spec in here[:3]] == [model_digest(spec) for spec in there[:3]]


def test_digest_follows_weights_code_settings_and_initial_weights(folder: Path) -> None:
    (spec,) = resolve([f"{folder}#net0"])
    digests = {model_digest(spec)}
    digests.add(model_digest(replace(spec, normalization=Normalization((0.5,), (0.5,)))))
    digests.add(model_digest(replace(spec, architecture_kwargs={"width": 5})))
    digests.add(model_digest(replace(spec, weights=("other",))))
    digests.add(model_digest(replace(spec, initial=str(folder / "net1.pt"))))
    (folder / "net0.pt").write_bytes((folder / "net1.pt").read_bytes())
    digests.add(model_digest(spec))
    (folder / "nets.py").write_text((folder / "nets.py").read_text() + "\n")
    digests.add(model_digest(spec))
    assert len(digests) == 7


def test_digest_ignores_what_only_describes_a_model(folder: Path) -> None:
    (spec,) = resolve([f"{folder}#net0"])
    other = replace(spec, id="other", defense="AT", run="r", cluster="c", expected_clean_accuracy=0.5, dataset="digits")
    assert model_digest(other) == model_digest(spec)


def test_file_that_defines_an_architecture_is_found_without_importing_it(folder: Path) -> None:
    (spec,) = resolve([f"{folder}#net0"])
    assert architecture_file(spec) == (folder / "nets.py").resolve()
    assert architecture_file(replace(spec, architecture="resnet-18")) is None
    module = architecture_file(replace(spec, architecture="json.decoder:JSONDecoder"))
    assert module is not None
    assert module.name == "decoder.py"
    assert architecture_file(replace(spec, architecture="no_such_module:net")) is None
