"""The example package, installed as other people's packages are: a wheel, outside the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from measurebench.core.digests import digest_file
from measurebench.models.references import resolve
from measurebench.store.folder import read_records
from measurebench.store.recorded_infos import recorded_infos

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "measurebench-example"
ORIGIN = "measurebench-example 0.1.0"

# In one process, since importing torch takes longer than all the rest.
SCRIPT = """
import contextlib, io, json, sys
from pathlib import Path
from measurebench.cli.app import run_command_line

def command(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run_command_line(arguments)
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}

model, folder = sys.argv[1], Path(sys.argv[2])
few = ("--train-examples", "20", "--test-examples", "20", "--attacks", "pgd", "--workers", "1")
run = ("run", model, "--dataset", "digits", "--measures", "top_two_gap,num_params", *few, "--out", str(folder / "out"))
training = ("--architecture", "example-mlp", "--defense", "ALP", "--beta", "0.5", "--epochs", "1", "--steps", "1")
results = {
    "plugins": command("plugins", "--json"),
    "measures": command("measures", "--json"),
    "card": command("measures", "top_two_gap"),
    "architectures": command("models", "architectures", "--json"),
    "run": command(*run),
    "again": command(*run),
    "export": command("export", str(folder / "out"), "--out", str(folder / "models.csv")),
    "train": command("train", "--dataset", "stripes", *training, "--out", str(folder / "trained")),
    "measured": command("run", str(folder / "trained"), "--dataset", "stripes", "--measures", "top_two_gap", *few,
                        "--out", str(folder / "stripes")),
}
(folder / "results.json").write_text(json.dumps(results))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of the example package without network and unpack it as an installer does."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; nox installs it")
    folder = tmp_path_factory.mktemp("example")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=EXAMPLE, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def python(site: Path, *arguments: str, cwd: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(site: Path) -> Path:
    """Run the commands of a study with the example package installed."""
    python(site, "-c", SCRIPT, resolve(["digits:*"])[0].reference, str(site.parent), cwd=site.parent)
    return site.parent


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((folder / "results.json").read_text())
    failed = {name: result for name, result in found.items() if result["status"] != 0}
    assert not failed
    return found


def test_what_the_package_adds_is_listed_with_name_and_version(results: dict[str, dict[str, Any]]) -> None:
    rows = json.loads(results["plugins"]["out"])
    found = {(row["kind"], row["name"], row["origin"]) for row in rows}
    expected = {
        ("measures", "top_two_gap", ORIGIN),
        ("datasets", "stripes", ORIGIN),
        ("architectures", "example-mlp", ORIGIN),
        ("objectives", "ALP", ORIGIN),
    }
    assert expected <= found
    assert all(row["origin"] == ORIGIN for row in rows)


def test_lists_show_the_measure_and_the_architecture(results: dict[str, dict[str, Any]]) -> None:
    origins = {row["id"]: row["origin"] for row in json.loads(results["measures"]["out"])}
    assert origins["top_two_gap"] == ORIGIN
    assert origins["path_norm"] == "measurebench"
    built = {row["architecture"]: row["origin"] for row in json.loads(results["architectures"]["out"])}
    assert built["example-mlp"] == ORIGIN
    assert ORIGIN in results["card"]["out"]


def test_records_say_which_package_version_and_code_a_value_is_from(folder: Path, results: Any, site: Path) -> None:
    records = {record.measure: record for record in read_records(folder / "out")}
    sha256 = digest_file(site / "measurebench_example" / "measure.py")
    assert records["top_two_gap"].status == "measured"
    assert records["top_two_gap"].diagnostics["origin"] == ORIGIN
    assert records["top_two_gap"].diagnostics["origin_sha256"] == sha256
    assert "origin" not in records["num_params"].diagnostics


def test_a_second_run_finds_the_records(results: dict[str, dict[str, Any]]) -> None:
    assert "0 new records and 6 from earlier runs" in results["again"]["out"]


def test_the_value_is_in_the_table_and_its_info_beside_it(folder: Path, results: Any) -> None:
    table = pd.read_csv(folder / "models.csv")
    values = {record.measure: record.value for record in read_records(folder / "out")}
    assert table["top_two_gap"].tolist() == [values["top_two_gap"]]
    assert recorded_infos(folder / "models.csv")["top_two_gap"].title == "Gap between the two largest logits"
    assert recorded_infos(folder / "out") == recorded_infos(folder / "models.csv")


def test_a_third_party_network_trained_with_a_third_party_defense_is_measured(folder: Path, results: Any) -> None:
    gaps = [record for record in read_records(folder / "stripes") if record.measure == "top_two_gap"]
    assert gaps
    assert all(record.value is not None and record.value >= 0 for record in gaps)


def test_the_package_s_own_tests_pass(site: Path, tmp_path: Path) -> None:
    tests = [str(EXAMPLE / "tests" / "test_contracts.py")]
    python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), *tests, cwd=tmp_path)
