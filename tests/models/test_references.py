"""Every form of reference names models without loading them, and without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from measurebench.core.errors import BadInputError
from measurebench.models import references
from measurebench.models.references import digits_specs, resolve


def test_manifest_folder_file_and_single_model_resolve_alike(manifest: Path) -> None:
    folder = manifest.parent
    ids = ["net0", "net1", "net2"]
    assert [spec.id for spec in resolve([str(folder)])] == ids
    assert [spec.id for spec in resolve([str(manifest)])] == ids
    assert [spec.reference for spec in resolve([f"{folder}#net1"])] == [f"{folder}#net1"]
    assert [spec.id for spec in resolve([f"{folder}#net[02]"])] == ["net0", "net2"]


def test_a_model_named_twice_is_measured_once(manifest: Path) -> None:
    folder = manifest.parent
    assert len(resolve([str(folder), f"{folder}#net1"])) == 3


def test_a_manifest_is_read_once_however_many_of_its_models_are_named(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    whole = references.read_manifest
    monkeypatch.setattr(references, "read_manifest", lambda path, **how: read.append(path) or whole(path, **how))
    named = [f"{manifest.parent}#net{i}" for i in (2, 0, 1)]
    assert [spec.id for spec in resolve(named)] == ["net2", "net0", "net1"]
    assert read == [manifest]


def test_references_in_specifications_resolve_to_themselves(manifest: Path) -> None:
    for spec in resolve([str(manifest.parent)]):
        assert resolve([spec.reference]) == [spec]


def test_dataset_is_noted_where_a_model_names_none(manifest: Path) -> None:
    assert {spec.dataset for spec in resolve([str(manifest)], dataset="digits")} == {"digits"}


@pytest.mark.parametrize(
    ("dataset", "family"),
    [("cifar10:robustbench", "cifar10"), ("arrays:mine.npz", "cifar10"), ("cifar100:robustbench", "cifar100")],
)
def test_robustbench_models_are_found_for_every_dataset_they_may_be_measured_on(dataset: str, family: str) -> None:
    specs = resolve(["robustbench:Linf/*"], dataset=dataset)
    assert {spec.dataset for spec in specs} == {family}
    assert specs == resolve(["robustbench:Linf/*"], dataset=family)


def test_lone_checkpoint_takes_architecture_and_normalisation(manifest: Path) -> None:
    file = manifest.parent / "net0.pt"
    (spec,) = resolve([str(file)], architecture="cnn-small", normalization="cifar10", allow_pickle=True)
    assert (spec.id, spec.architecture, spec.allow_pickle) == ("net0", "cnn-small", True)
    assert spec.normalization.mean == (0.4914, 0.4822, 0.4465)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("{folder}#nte1", ["one of 3 models", "did you mean"]),
        ("{folder}/model.toml", ["no such file"]),
        ("{folder}/net9.pt", ["no such file or folder", "did you mean"]),
        ("robustbench:Linf/Wong2020Fats", ["did you mean 'Wong2020Fast'"]),
        ("robustbench:L3/Wong2020Fast", ["Linf/ID or L2/ID"]),
        ("digits:nothing-like-it", ["digits:nothing-like-it"]),
    ],
)
def test_reference_to_nothing_says_what_is_near(reference: str, words: list[str], manifest: Path) -> None:
    with pytest.raises(BadInputError) as caught:
        resolve([reference.format(folder=manifest.parent)])
    assert [word for word in words if word not in str(caught.value)] == []


def test_folder_without_manifest_says_how_to_name_its_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "x.pth").touch()
    with pytest.raises(BadInputError, match=r"models\.toml.*x\.pth.*--architecture"):
        resolve([str(tmp_path)])


def test_two_models_of_one_id_are_refused(manifest: Path, tmp_path: Path) -> None:
    other = tmp_path / "models.toml"
    other.write_text(f'[[model]]\nid = "net0"\nfile = "{manifest.parent / "net0.pt"}"\narchitecture = "cnn-small"\n')
    with pytest.raises(BadInputError, match="'net0' twice"):
        resolve([str(manifest), str(other)])


def test_shipped_zoo_has_unique_ids_and_known_defenses() -> None:
    specs = digits_specs()
    assert len({spec.id for spec in specs}) == len(specs) > 0
    assert {spec.dataset for spec in specs} == {"digits"}
    assert all(spec.reference == f"digits:{spec.id}" for spec in specs)


def test_resolving_needs_no_torch(manifest: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['robustbench'] = None\n"
        "from measurebench.models import resolve\n"
        f"print(len(resolve([{str(manifest)!r}, 'robustbench:Linf/*'])))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "79"
