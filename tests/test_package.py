"""The package as users get it: the wheel outside the checkout, and the analysing half without torch."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import measurebench

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and unpack it where nothing of the checkout is."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; nox installs it")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run_from_wheel(folder: Path, code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_carries_zoo_and_split(wheel_folder: Path) -> None:
    code = (
        "import json, measurebench; from measurebench.models.references import resolve;"
        "model = measurebench.load_model(resolve(['digits:*'])[0]);"
        "data = measurebench.load_dataset('digits');"
        "print(json.dumps([measurebench.__file__, len(resolve(['digits:*'])), len(data.train), len(data.test)]))"
    )
    place, n_models, n_train, n_test = json.loads(run_from_wheel(wheel_folder, code))
    assert Path(place).is_relative_to(wheel_folder)
    assert n_models >= 24
    assert (n_train, n_test) == (500, 940)


def test_the_wheel_stays_small(wheel_folder: Path) -> None:
    zoo = sum(path.stat().st_size for path in (wheel_folder / "measurebench" / "data" / "digits").rglob("*"))
    assert zoo < 5_000_000


def test_the_analysing_half_runs_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None;"
        "import measurebench.core.records, measurebench.store.tables, measurebench.stats, measurebench.reporting;"
        "print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "fine\n", done.stderr


def test_every_public_name_is_there_and_documented() -> None:
    for name in measurebench.__all__:
        assert getattr(measurebench, name).__doc__
    assert set(measurebench.__all__) <= set(dir(measurebench))
    with pytest.raises(AttributeError, match="has no attribute 'measures_'"):
        _ = measurebench.measures_
