"""A manifest is checked at the door: file, field, what was expected, what came."""

from pathlib import Path

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.specs import Normalization
from measurebench.models.manifest import read_manifest

ENTRY = {"id": '"a"', "file": '"a.pt"', "architecture": '"resnet-18"'}


def written(folder: Path, extra: str = "", **fields: str) -> Path:
    (folder / "a.pt").touch()
    lines = [f"{key} = {value}" for key, value in (ENTRY | fields).items() if value]
    path = folder / "models.toml"
    path.write_text("[[model]]\n" + "\n".join(lines) + "\n" + extra)
    return path


def test_every_field_reaches_the_specification(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[model.settings]\nsteps = 10\nextra_data = false\noptimizer = 'SGD'\n",
        normalization='"imagenet"',
        weights='["state_dict", 0]',
        defense='"AT"',
        norm='"linf"',
        radius='"8/255"',
        expected_clean_accuracy="0.9",
        run='"r"',
        cluster='"c"',
        architecture_kwargs="{ width = 2 }",
        dataset='"cifar10"',
    )
    (spec,) = read_manifest(path)
    assert (spec.id, spec.weights, spec.run, spec.cluster, spec.dataset) == (
        "a",
        ("state_dict", 0),
        "r",
        "c",
        "cifar10",
    )
    assert spec.threat_model is not None
    assert str(spec.threat_model) == "Linf 8/255"
    assert spec.settings == {"steps": 10, "extra_data": False, "optimizer": "SGD"}
    assert spec.normalization == Normalization.named("imagenet")
    assert spec.architecture_kwargs == {"width": 2}
    assert spec.reference == f"{path}#a"
    assert spec.expected_clean_accuracy == 0.9


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"normalisation": '"none"'}, ["'normalisation'", "did you mean 'normalization'"]),
        ({"expected_clean_accuracy": "91.7"}, ['model "a"', "expected_clean_accuracy", "91.7"]),
        ({"expected_clean_accuracy": '"0.9"'}, ["expected_clean_accuracy", "'0.9'"]),
        ({"file": '"b.pt"'}, ["file", "no such file", "did you mean 'a.pt'"]),
        ({"file": '"."'}, ["file", "folder"]),
        ({"file": ""}, ["the key 'file'"]),
        ({"radius": '"8"', "norm": '"Linf"'}, ["radius", "'8'", "did you mean 8/255?"]),
        ({"radius": '"8/255"'}, ["norm and radius together"]),
        ({"norm": '"L1"', "radius": '"1"'}, ["Linf or L2", "'L1'"]),
        ({"normalization": '"cifar"'}, ["none, cifar10, imagenet", "'cifar'"]),
        ({"normalization": "{ mean = [0.5, 0.5], std = [0.5] }"}, ["as many numbers"]),
        ({"normalization": "{ mean = [0.5], std = [0.0] }"}, ["normalization", "0.0"]),
        ({"init_file": '"none.pt"'}, ["init_file", "no such file"]),
        ({"sha256": '"abc"'}, ["sha256", "'abc'"]),
        ({"id": '"a"', "settings": "{ steps = [1] }"}, ["settings"]),
        (
            {"settings": "{ date = 2020-01-01 }"},
            ["settings.date: expected text, or a whole number, or a number, or true or false"],
        ),
        (
            {"radius": "inf", "norm": '"Linf"'},
            ["radius: expected text, or a finite number, or a whole number, got inf"],
        ),
        ({"weights": "1.5"}, ["weights: expected text, or a list, got 1.5"]),
    ],
)
def test_mistake_is_named_with_file_field_and_value(tmp_path: Path, fields: dict[str, str], words: list[str]) -> None:
    path = written(tmp_path, **fields)
    with pytest.raises(BadInputError) as caught:
        read_manifest(path)
    message = str(caught.value)
    assert str(path) in message
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"[[model]\n", "valid TOML"),
        (b"[[models]]\nid = 'a'\n", "did you mean 'model'"),
        (b"", "'model'"),
        (b"\xff\xfe[[model]]", "UTF-8"),
        (b"model = 3\n", "list"),
    ],
)
def test_file_that_is_no_manifest_is_named(tmp_path: Path, text: bytes, word: str) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(text)
    with pytest.raises(BadInputError, match=word):
        read_manifest(path)


def test_repeated_id_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text() * 2)
    with pytest.raises(BadInputError, match="'a' twice"):
        read_manifest(path)
