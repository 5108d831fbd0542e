"""``measurebench convert``: what it writes loads to the same network."""

from pathlib import Path

import pytest
import torch

from measurebench.cli.app import run_command_line
from measurebench.core.specs import ModelSpec
from measurebench.models import load_model, resolve
from tests.models.checkpoints import saved, state

SHARED = Path(__file__).parents[2].parent / "shared"


def same_network(a: str | ModelSpec, b: str | ModelSpec, shape: tuple[int, ...]) -> bool:
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.equal(load_model(a).network(images), load_model(b).network(images))


def test_manifest_is_converted_with_all_it_says(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "converted"
    assert run_command_line(["convert", str(manifest), "--out", str(out)]) == 0
    before, after = resolve([str(manifest)]), resolve([str(out)])
    for old, new in zip(before, after, strict=True):
        assert (old.id, old.defense, old.threat_model, old.settings, old.architecture_kwargs) == (
            new.id,
            new.defense,
            new.threat_model,
            new.settings,
            new.architecture_kwargs,
        )
        assert new.file_sha256 is not None
        assert new.locator.endswith(".safetensors")
        assert same_network(old.reference, new.reference, (1, 8, 8))


def test_second_model_is_added_and_the_same_id_refused(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "converted"
    for name in ("net0", "net1"):
        assert run_command_line(["convert", f"{manifest.parent}#{name}", "--out", str(out)]) == 0
    assert [spec.id for spec in resolve([str(out)])] == ["net0", "net1"]
    capsys.readouterr()
    assert run_command_line(["convert", f"{manifest.parent}#net1", "--out", str(out)]) == 2
    assert "'net1'" in capsys.readouterr().err


def test_normalisation_inside_a_mair_file_is_stated_in_the_manifest(tmp_path: Path) -> None:
    from tests.models.checkpoints import ARCHITECTURE_FILE

    (tmp_path / "nets.py").write_text(ARCHITECTURE_FILE)
    extras = {"n_classes": torch.tensor(10), "mean": torch.full((3,), 0.5), "std": torch.full((3,), 0.25)}
    content = {"rmodel": {f"model.{key}": value for key, value in state().items()} | extras}
    (tmp_path / "at.pth").write_bytes(saved(content))
    out = tmp_path / "out"
    architecture = f"{tmp_path / 'nets.py'}:small"
    assert (
        run_command_line(["convert", str(tmp_path / "at.pth"), "--architecture", architecture, "--out", str(out)]) == 0
    )
    (spec,) = resolve([str(out)])
    assert (spec.normalization.mean, spec.normalization.std) == ((0.5,) * 3, (0.25,) * 3)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        old = load_model(str(tmp_path / "at.pth"), architecture=architecture).network(images)
        assert torch.equal(load_model(spec).network(images), old)


def test_damaged_conversion_is_noticed(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "converted"
    run_command_line(["convert", f"{manifest.parent}#net0", "--out", str(out)])
    content = bytearray((out / "net0.safetensors").read_bytes())
    content[-1] ^= 1
    (out / "net0.safetensors").write_bytes(bytes(content))
    capsys.readouterr()
    assert run_command_line(["check", f"{out}#net0"]) == 2
    assert "SHA-256" in capsys.readouterr().err


def lone(folder: Path, name: str = "net.pt", more: str = "", initial: bool = False) -> Path:
    """A manifest of one small network under the id that is given."""
    from tests.models.checkpoints import ARCHITECTURE_FILE

    folder.mkdir()
    (folder / "nets.py").write_text(ARCHITECTURE_FILE)
    (folder / "net.pt").write_bytes(saved(state()))
    (folder / "first.pt").write_bytes(saved(state(seed=1)))
    entry = f'[[model]]\nid = "{name}"\nfile = "net.pt"\narchitecture = "nets.py:small"\n'
    (folder / "models.toml").write_text(entry + ('init_file = "first.pt"\n' if initial else "") + more)
    return folder


def test_the_user_s_own_checkpoint_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = lone(tmp_path / "own")
    (own / "models.toml").unlink()
    assert run_command_line(["convert", str(own / "net.pt"), "--out", str(own), *architecture_of(own)]) == 0
    file = own / "net.safetensors"
    (own / "models.toml").unlink()
    before = file.read_bytes(), file.stat().st_mtime_ns
    assert run_command_line(["convert", str(file), "--out", str(own), *architecture_of(own)]) == 2
    assert "the model's own file" in capsys.readouterr().err
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert not (own / "models.toml").exists()


def architecture_of(folder: Path) -> list[str]:
    return ["--architecture", f"{folder / 'nets.py'}:small", "--normalization", "none"]


@pytest.mark.parametrize("taken", ["net.safetensors", "net-init.safetensors"])
def test_a_file_that_is_there_already_stays(taken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, out = lone(tmp_path / "own", "net", initial=True), tmp_path / "out"
    out.mkdir()
    (out / taken).write_text("precious")
    assert run_command_line(["convert", str(own), "--out", str(out)]) == 2
    assert f"{out / taken}: expected a file name that is free" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [taken]
    assert (out / taken).read_text() == "precious"


def test_two_models_never_share_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = '[[model]]\nid = "net-init"\nfile = "net.pt"\narchitecture = "nets.py:small"\n'
    own, out = lone(tmp_path / "own", "net", other, initial=True), tmp_path / "out"
    assert run_command_line(["convert", str(own), "--out", str(out)]) == 2
    assert "net-init.safetensors" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", ["../escaped", "sub/dir", "..", "a b"])
def test_any_id_becomes_one_file_in_the_folder(name: str, tmp_path: Path) -> None:
    own, out = lone(tmp_path / "own", name, initial=True), tmp_path / "out"
    assert run_command_line(["convert", str(own), "--out", str(out)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"own", "out"}
    (spec,) = resolve([str(out)])
    assert spec.id == name
    assert Path(spec.locator).parent == out
    assert same_network(resolve([str(own)])[0], spec, (3, 32, 32))


def test_a_conversion_that_fails_leaves_no_files_in_the_way_of_the_next(tmp_path: Path) -> None:
    other = '[[model]]\nid = "broken"\nfile = "first.pt"\narchitecture = "nets.py:broken"\n'
    own, out = lone(tmp_path / "own", "net", other), tmp_path / "out"
    assert run_command_line(["convert", str(own), "--out", str(out)]) == 1
    assert list(out.glob("*.safetensors")) == []
    assert run_command_line(["convert", f"{own}#net", "--out", str(out)]) == 0


def test_settings_of_any_name_survive(tmp_path: Path) -> None:
    settings = {"learning rate": 0.1, "a.b": 'say "hi"', "plain_one-2": True, "größe": 3}
    more = '[model.settings]\n"learning rate" = 0.1\n"a.b" = "say \\"hi\\""\nplain_one-2 = true\n"größe" = 3\n'
    own, out = lone(tmp_path / "own", "net", more), tmp_path / "out"
    assert resolve([str(own)])[0].settings == settings
    assert run_command_line(["convert", str(own), "--out", str(out)]) == 0
    assert resolve([str(out)])[0].settings == settings


def test_robustbench_model_is_not_converted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_command_line(["convert", "robustbench:Wong2020Fast", "--out", str(tmp_path)]) == 2
    assert "a local checkpoint" in capsys.readouterr().err


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="published checkpoints are not here")
def test_published_checkpoints_convert_to_the_same_networks(tmp_path: Path) -> None:
    assert run_command_line(["convert", str(SHARED / "models"), "--out", str(tmp_path / "out")]) == 0
    for spec in resolve([str(SHARED / "models")]):
        assert same_network(spec.reference, f"{tmp_path / 'out'}#{spec.id}", (3, 32, 32))
