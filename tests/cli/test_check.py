"""``measurebench check``: says what a model is, what is wrong with it, and ends with the right status."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from measurebench.cli.app import run_command_line
from tests.models.checkpoints import ARCHITECTURE_FILE, hostile_files, saved, state

SHARED = Path(__file__).parents[2].parent / "shared"
NO_ATTACK = ["--attack-examples", "0"]


def checked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = run_command_line(["check", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_sound_model_passes_with_its_facts(
    manifest: Path, images_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = checked(capsys, f"{manifest.parent}#net0", "--dataset", f"arrays:{images_file}")
    assert (status, err) == (0, "")
    for word in ("format: checkpoint of torch.save", 'weights at "state_dict"', "parameters", "normalization: none"):
        assert word in out
    assert "clean accuracy: " in out
    assert "withstand PGD-10 (Linf 1/20)" in out


def test_several_models_are_checked_one_after_another(
    manifest: Path, images_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = checked(capsys, manifest, "--dataset", f"arrays:{images_file}", *NO_ATTACK, "--json")
    assert status == 0
    results = json.loads(out)
    assert [result["id"] for result in results] == ["net0", "net1", "net2"]
    assert {line["verdict"] for result in results for line in result["lines"]} == {"ok"}


def test_published_accuracy_that_is_not_reached_is_wrong(
    manifest: Path, images_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = manifest.read_text().replace('id = "net0"', 'id = "net0"\nexpected_clean_accuracy = 0.05')
    copy = manifest.parent / "published.toml"
    copy.write_text(text)
    status, out, err = checked(capsys, f"{copy}#net0", "--dataset", f"arrays:{images_file}", *NO_ATTACK)
    assert status == 2
    assert "WRONG clean accuracy: expected 0.0500 as published" in out
    assert err.startswith("measurebench: clean accuracy: expected 0.0500")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("architecture", "word"),
    [("probabilities", "softmax out of the network"), ("training_mode", "training mode")],
)
def test_network_that_misbehaves_is_wrong(
    architecture: str, word: str, manifest: Path, images_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = manifest.parent / f"{architecture}.pt"
    torch.save(torch.load(manifest.parent / "net2.pt")["state_dict"], file)
    status, _, err = checked(
        capsys,
        file,
        "--architecture",
        f"{manifest.parent / 'nets.py'}:{architecture}",
        "--normalization",
        "none",
        "--dataset",
        f"arrays:{images_file}",
        *NO_ATTACK,
    )
    assert status == 2
    assert word in err


def test_untried_model_says_what_to_give(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = checked(capsys, f"{manifest.parent}#net0")
    assert status == 0
    assert "give --dataset to run the preflight" in out


def test_warnings_of_autoattack_are_shown_on_request(
    manifest: Path, images_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from measurebench.attacks.autoattack import ShardResult
    from measurebench.cli import masking

    def warns(network: object, images: torch.Tensor, *rest: object) -> ShardResult:
        return ShardResult(images, ("it seems to be a randomized defense",), 3)

    monkeypatch.setattr(masking, "attack_shard", warns)
    arguments = [f"{manifest.parent}#net0", "--dataset", f"arrays:{images_file}", "--attack-examples", "2"]
    status, out, _ = checked(capsys, *arguments, "--autoattack")
    assert status == 0
    assert "AutoAttack: 2 of 2 correct images withstand it" in out
    assert "hint  AutoAttack's warning: it seems to be a randomized defense" in out
    assert "AutoAttack" not in checked(capsys, *arguments)[1]


def test_wrong_dataset_is_told_from_a_wrong_model(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = checked(capsys, f"{manifest.parent}#net0", "--dataset", "digits", *NO_ATTACK)
    assert status == 2
    assert "expected 10 classes, got 5" in err


def test_missing_normalisation_is_asked_for_with_what_each_would_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    (tmp_path / "nets.py").write_text(ARCHITECTURE_FILE)
    (tmp_path / "x.pt").write_bytes(saved(state()))
    images, labels = np.random.default_rng(0).random((20, 3, 32, 32)), np.arange(20) % 10
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    status, out, _ = checked(
        capsys,
        tmp_path / "x.pt",
        "--architecture",
        f"{tmp_path / 'nets.py'}:small",
        "--dataset",
        f"arrays:{tmp_path / 'x.npz'}",
    )
    assert status == 2
    for name in ("none", "cifar10", "imagenet"):
        assert f"with --normalization {name}: " in out


def test_hostile_corpus_gives_one_clear_message_each_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nets.py").write_text(ARCHITECTURE_FILE)
    seen = set()
    files = hostile_files(tmp_path / "canary")
    for name, (content, word) in files.items():
        (tmp_path / name).write_bytes(content)
        status, _, err = checked(
            capsys, tmp_path / name, "--architecture", f"{tmp_path / 'nets.py'}:small", "--normalization", "none"
        )
        assert status == 2, name
        assert err.startswith("measurebench: "), name
        assert err.count("\n") == 1, name
        assert word in err, name
        assert name in err, name
        seen.add(err.replace(name, ""))
    assert len(files) >= 40
    assert len(seen) >= 40
    assert not (tmp_path / "canary").exists()


def test_masked_gradients_are_hinted_at() -> None:
    from tests.cli.masked import lines_for

    masked, plain = lines_for(masked=True), lines_for(masked=False)
    assert [line.subject for line in masked if line.verdict == "hint"]
    assert all("gradient masking" in line.subject for line in masked if line.verdict == "hint")
    assert not [line for line in plain if line.verdict == "hint"]


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="real CIFAR-10 images are not here")
def test_real_published_resnet18_is_told_for_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    package = importlib.util.find_spec("pyautoattack")
    assert package is not None
    assert package.submodule_search_locations is not None
    file = Path(package.submodule_search_locations[0]) / "examples" / "model_test.pt"
    arguments = [file, "--dataset", "cifar10", "--data-dir", SHARED / "cifar10", "--attack-examples", "8"]
    status, _, err = checked(capsys, *arguments, "--normalization", "none")
    assert status == 2
    assert "the built-in architecture 'resnet-18' fits" in err
    status, out, _ = checked(capsys, *arguments, "--normalization", "none", "--architecture", "resnet-18")
    assert status == 0
    assert "clean accuracy: 0.9433 (283 of 300 test images)" in out
    assert "it has no robustness" in out
