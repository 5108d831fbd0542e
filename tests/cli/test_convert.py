"""``measurebench convert``: what it writes loads to the same network."""

from pathlib import Path

import pytest
import torch

from measurebench.cli.app import run_command_line
from measurebench.models import load_model, resolve
from tests.models.checkpoints import saved, state

SHARED = Path(__file__).parents[2].parent / "shared"


def same_network(a: str, b: str, shape: tuple[int, ...]) -> bool:
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.equal(load_model(a).network(images), load_model(b).network(images))


def test_manifest_is_converted_with_all_it_says(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "converted"
    assert run_command_line(["convert", str(manifest), "--out", str(out)]) == 0
    before, after = resolve([str(manifest)]), resolve([str(out)])
    for old, new in zip(before, after, strict=True):
        assert (old.id, old.defense, old.threat_model, old.settings, old.architecture_kwargs) == (
            new.id, new.defense, new.threat_model, new.settings, new.architecture_kwargs,
        )  # fmt: skip
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


def test_robustbench_model_is_not_converted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_command_line(["convert", "robustbench:Wong2020Fast", "--out", str(tmp_path)]) == 2
    assert "a local checkpoint" in capsys.readouterr().err


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="published checkpoints are not here")
def test_published_checkpoints_convert_to_the_same_networks(tmp_path: Path) -> None:
    assert run_command_line(["convert", str(SHARED / "models"), "--out", str(tmp_path / "out")]) == 0
    for spec in resolve([str(SHARED / "models")]):
        assert same_network(spec.reference, f"{tmp_path / 'out'}#{spec.id}", (3, 32, 32))
