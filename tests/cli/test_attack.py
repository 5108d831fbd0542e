import re
from pathlib import Path

import numpy as np
import pytest
import torch

from measurebench.cli.app import run_command_line
from measurebench.models import architectures
from measurebench.reporting.figures.gallery import read_gallery


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


def picture_file(folder: Path, side: int) -> Path:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "p.png")
    return folder / "p.png"


def test_a_picture_becomes_grey_for_a_network_of_one_channel(reference: str, tmp_path: Path) -> None:
    out = tmp_path / "attack.png"
    assert run_command_line(["attack", reference, "--image", str(picture_file(tmp_path, 8)), "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_another_size_is_named_with_what_fits(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(picture_file(tmp_path, 20))
    arguments = ["attack", reference, "--image", picture, "--out", str(tmp_path / "attack.png")]
    assert run_command_line(arguments) == 2
    message = capsys.readouterr().err
    assert f"{picture}: expected images [1, 8, 8], as the network takes, got [3, 20, 20]" in message
    assert "--size 8" in message
    assert run_command_line([*arguments, "--size", "8"]) == 0


def test_images_of_another_dataset_are_named_with_what_fits(
    images_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(architectures.find("cnn-small").build().state_dict(), tmp_path / "net.pt")  # type: ignore[union-attr]
    arguments = ["attack", str(tmp_path / "net.pt"), "--architecture", "cnn-small", "--normalization", "cifar10"]
    arguments += ["--dataset", f"arrays:{images_file}", "--out", str(tmp_path / "attack.png")]
    assert run_command_line(arguments) == 2
    assert "expected images [3, 32, 32], as the network takes, got [1, 8, 8]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("besides", "message"),
    [
        ([], "one of --out FILE.png and --gallery DIR"),
        (["--out", "x.png", "--index", "4000"], "below 40"),
        (["--out", "x.png", "--target", "nothing"], "a class by name or number"),
        (["--out", "x.png", "--target", "99"], "a class below"),
        (["--out", "x.png", "--radius", "8"], "at most 1"),
        (["--out", "x.png", "--image", "none.png"], "no such file"),
        (["--out", "x.pdf"], "x.pdf: expected a name that ends in .png, got '.pdf'"),
        (["--out", "x.npz"], "x.npz: expected a name that ends in .png, got '.npz'"),
        (["--out", "png"], "png: expected a name that ends in .png, got 'png'"),
        (["--out", "x.png", "--target", "²"], "a class by name or number, got '²'"),
        (["--out", "x.png", "--norm", "L2"], "expected --radius beside L2"),
    ],
)
def test_bad_input_ends_with_one_message(
    reference: str,
    images_file: Path,
    besides: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["attack", reference, "--dataset", f"arrays:{images_file}", *besides]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_line_for_each_image_names_classes_confidences_and_distance(
    reference: str, images_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\nemu\n")
    arguments = ["attack", reference, "--dataset", f"arrays:{images_file}", "--classes", str(tmp_path / "names.txt")]
    assert run_command_line([*arguments, "--index", "3", "--out", str(tmp_path / "x.png")]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(
        r"image 3: (ant|bee|cat|dog|emu) \(\d+%\) -> (ant|bee|cat|dog|emu) \(\d+%\), distance 0\.\d{4}\n", out
    )
