"""A model's digest is known before it is loaded, and follows everything that its function depends on."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from measurebench.core.digests import digest_file
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


REGISTERING = """
from measurebench.models.architectures import architecture
from torch import nn


@architecture("of-a-plugin", image_shape=(1, 8, 8))
def of_a_plugin(n_classes=10, in_channels=1):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, n_classes))  # {comment}
"""


def test_the_code_that_registers_an_architecture_is_part_of_the_digest(tmp_path: Path) -> None:
    # In processes of their own, since an architecture stays registered.
    code = (
        "import sys, measurebench; from measurebench.core.specs import ModelSpec;"
        "from measurebench.models.identity import code_sha256; measurebench.load_plugin('mine.py');"
        "print(*(code_sha256(ModelSpec('m', 'local', 'm.pt', architecture=a)) for a in ('of-a-plugin', 'resnet-18')))"
    )
    found = []
    for comment in ("one", "two"):
        (tmp_path / "mine.py").write_text(REGISTERING.format(comment=comment))
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        found.append(done.stdout.split())
        assert found[-1] == [digest_file(tmp_path / "mine.py"), "None"]
    assert found[0] != found[1]
