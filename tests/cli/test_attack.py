from pathlib import Path

import numpy as np
import pytest
import torch

from measurebench.attacks.geometry import distance
from measurebench.cli.app import run_command_line
from measurebench.cli.attack import Subjects, attacked
from measurebench.core.threat import Norm, ThreatModel
from measurebench.models import load_model
from measurebench.reporting.gallery import read_gallery


@pytest.fixture(scope="module")
def reference(manifest: Path) -> str:
    return f"{manifest.parent}#{load_names(manifest)[0]}"


def load_names(manifest: Path) -> list[str]:
    import tomllib

    return [entry["id"] for entry in tomllib.loads(manifest.read_text())["model"]]


def test_one_image_becomes_one_picture(reference: str, images_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "attack.png"
    arguments = ["attack", reference, "--dataset", f"arrays:{images_file}", "--index", "2", "--out", str(out)]
    assert run_command_line(arguments) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_gallery_is_what_the_page_reads(reference: str, images_file: Path, tmp_path: Path) -> None:
    arguments = ["attack", reference, "--dataset", f"arrays:{images_file}", "--gallery", str(tmp_path / "gallery")]
    assert run_command_line([*arguments, "--count", "2", "--target", "1"]) == 0
    items = read_gallery(tmp_path / "gallery")
    assert [bool(item.target) for item in items] == [False, False, True, True]


def test_the_attack_stays_within_the_radius(reference: str) -> None:
    loaded = load_model(reference)
    images = np.random.default_rng(0).random((3, 1, 8, 8)).astype(np.float32)
    threat = ThreatModel.parse("Linf", "1/8")
    entries, pictures = attacked(loaded, Subjects(images, None, [0, 1, 2], ()), threat, None, 10, 0)
    for entry, (clean, _, adversarial) in zip(entries, pictures, strict=True):
        moved = distance(torch.from_numpy(adversarial[None]), torch.from_numpy(clean[None]), Norm.LINF)
        assert float(moved[0]) == pytest.approx(entry["distance"], abs=1e-6)
        assert 0 < entry["distance"] <= 1 / 8 + 1e-6


@pytest.mark.parametrize(
    ("besides", "message"),
    [
        ([], "one of --out FILE.png and --gallery DIR"),
        (["--out", "x.png", "--index", "4000"], "below 40"),
        (["--out", "x.png", "--target", "nothing"], "a class by name or number"),
        (["--out", "x.png", "--target", "99"], "a class below"),
        (["--out", "x.png", "--radius", "8"], "at most 1"),
        (["--out", "x.png", "--image", "none.png"], "no such file"),
    ],
)
def test_bad_input_ends_with_one_message(
    reference: str, images_file: Path, besides: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["attack", reference, "--dataset", f"arrays:{images_file}", *besides]) == 2
    assert message in capsys.readouterr().err
