"""A file's format is told by its first bytes, whatever its ending says."""

from pathlib import Path

import pytest

from measurebench.models.formats import recognise
from tests.models.checkpoints import safetensors_bytes, saved, state


@pytest.mark.parametrize("ending", [".pt", ".pth", ".th", ".model", ".ckpt", ".safetensors", ".bin", ""])
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (saved(state()), "torch-zip"),
        (saved(state(), legacy=True), "torch-legacy"),
        (safetensors_bytes(), "safetensors"),
    ],
    ids=["zip", "legacy", "safetensors"],  # not the bytes: torch 2.8 writes addresses, which differ between workers
)
def test_format_is_recognised_under_any_ending(content: bytes, name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{ending}"
    path.write_bytes(content)
    assert recognise(path).name == name


def test_recognising_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules['torch'] = None; import measurebench.models.formats"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
