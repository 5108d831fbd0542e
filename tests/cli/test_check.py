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
    assert err.startswith(f"measurebench: {copy}#net0: clean accuracy: expected 0.0500 as published")
    assert err.count("\n") == 1
    assert "clean accuracy" not in out


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
    from measurebench.attacks.autoattack import AutoAttack
    from measurebench.attacks.protocol import AttackResult

    def warns(_self: object, _network: object, images: torch.Tensor, *_rest: object) -> AttackResult:
        return AttackResult(images, ("it seems to be a randomized defense",), 3)

    monkeypatch.setattr(AutoAttack, "__call__", warns)
    arguments = [f"{manifest.parent}#net0", "--dataset", f"arrays:{images_file}", "--attack-examples", "2"]
    status, out, _ = checked(capsys, *arguments, "--autoattack")
    assert status == 0
    assert "AutoAttack: 2 of 2 correct images withstand it" in out
    assert "hint AutoAttack's warning: it seems to be a randomized defense" in out
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


@pytest.mark.parametrize(
    ("options", "threat"),
    [
        ([], "Linf 1/20"),
        (["--radius", "1/10"], "Linf 1/10"),
        (["--norm", "L2", "--radius", "0.5"], "L2 0.5"),
    ],
)
def test_the_threat_model_is_the_model_s_own_or_the_one_asked_for(
    options: list[str], threat: str, manifest: Path, images_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"{manifest.parent}#net0", "--dataset", f"arrays:{images_file}", "--attack-examples", "4", *options]
    status, out, _ = checked(capsys, *arguments)
    assert status == 0
    assert f"withstand PGD-10 ({threat})" in out
    own = "the model's own" if not options else "as asked for; the model's own is Linf 1/20"
    assert f"threat model: attacked at {threat}, {own}" in out


def test_an_assumed_threat_model_is_told(
    manifest: Path, images_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the one under which ``run`` measures such a model: Linf 8/255, whatever the data set."""
    text = manifest.read_text().replace('norm = "Linf"\nradius = "1/20"\n', "")
    copy = manifest.parent / "nameless.toml"
    copy.write_text(text)
    status, out, _ = checked(capsys, f"{copy}#net0", "--dataset", f"arrays:{images_file}", "--attack-examples", "4")
    assert status == 0
    assert "hint threat model: attacked at Linf 8/255; the model names none of its own (another: --norm and" in out
    assert "withstand PGD-10 (Linf 8/255)" in out


def test_another_norm_without_a_radius_is_refused(
    manifest: Path, images_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = checked(capsys, f"{manifest.parent}#net0", "--dataset", f"arrays:{images_file}", "--norm", "L2")
    assert (status, out) == (2, "")
    assert "--norm: expected --radius beside L2, got no radius; the model's own is Linf 1/20" in err


def test_json_holds_what_is_wrong_and_stderr_counts_it(
    manifest: Path, images_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    shutil.copytree(manifest.parent, tmp_path / "models")
    (tmp_path / "models" / "net1.pt").write_bytes(b"no checkpoint")
    reference = str(tmp_path / "models" / "models.toml")
    status, out, err = checked(capsys, reference, "--dataset", f"arrays:{images_file}", *NO_ATTACK, "--json")
    assert status == 2
    verdicts = {result["id"]: [line["verdict"] for line in result["lines"]] for result in json.loads(out)}
    assert verdicts["net1"] == ["WRONG"]
    assert "WRONG" not in verdicts["net0"] + verdicts["net2"]
    assert err == "measurebench: 1 of 3 models have lines with the verdict WRONG\n"


def test_a_normalisation_may_be_given_as_a_table(
    manifest: Path, images_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = manifest.parent / "net2.pt"
    architecture = ["--architecture", f"{manifest.parent / 'nets.py'}:small", *NO_ATTACK]
    status, out, err = checked(
        capsys,
        file,
        *architecture,
        "--dataset",
        f"arrays:{images_file}",
        "--normalization",
        "{ mean = [0], std = [1] }",
    )
    assert (status, err) == (0, "")
    assert "normalization: mean (0), std (1)" in out
    status, _, err = checked(capsys, file, *architecture, "--normalization", "{ mean = [0, 0], std = [1] }")
    assert status == 2
    assert "--normalization: expected as many numbers in std as in mean, got 1 and 2" in err


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


def test_a_radius_that_is_not_the_models_own_is_said(
    manifest: Path, images_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"{manifest.parent}#net0", "--dataset", f"arrays:{images_file}", "--attack-examples", "2"]
    status, out, _ = checked(capsys, *arguments, "--radius", "8/255")
    assert status == 0
    assert "hint threat model: attacked at Linf 8/255, as asked for; the model's own is Linf 1/20" in out
    status, out, _ = checked(capsys, *arguments)
    assert "ok   threat model: attacked at Linf 1/20, the model's own" in out
