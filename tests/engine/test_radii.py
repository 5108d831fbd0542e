"""Several radii in one run: a row for each, in one folder, and none hides another."""

from pathlib import Path
from typing import Any

import pytest

from measurebench import read_records, read_status, run
from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel
from measurebench.engine.options import RunOptions
from measurebench.store.tables import read_table
from measurebench.store.verdicts import read_verdicts

OPTIONS: dict[str, Any] = {"measures": "average_ce_pgd", "attacks": "pgd", "workers": 1}
RADII = ("1/20", "1/8")


@pytest.fixture(scope="module")
def swept(manifest: Path, images_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swept") / "out"
    summary = run([f"{manifest}#net0", f"{manifest}#net1"], f"arrays:{images_file}", out, radius=RADII, **OPTIONS)
    assert (summary.exit_status, summary.n_models, summary.n_recorded) == (0, 2, 2 * 2 * 5)
    return out


def test_every_model_has_a_row_for_each_radius_the_latest_first(swept: Path) -> None:
    table = read_table(swept)
    assert table["model_id"].tolist() == ["net0", "net0", "net1", "net1"]
    assert table["radius"].tolist() == [0.125, 0.05, 0.125, 0.05]
    assert table["config_digest"].nunique() == 2
    assert (table.groupby("model_id")["clean_accuracy_test"].nunique() == 1).all()
    by_radius = table.groupby("radius")["pgd_accuracy_test"].mean()
    assert by_radius[0.125] < by_radius[0.05]
    assert set(read_verdicts(swept)["radius"]) == {0.05, 0.125}


def test_a_sweep_has_the_values_of_runs_at_each_radius(
    swept: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    for radius in RADII:
        run(f"{manifest}#net0", f"arrays:{images_file}", tmp_path / "single", radius=radius, **OPTIONS)
    assert {r.key: r.value for r in read_records(tmp_path / "single")} == {
        r.key: r.value for r in read_records(swept) if r.model_id == "net0"
    }
    assert (
        read_table(tmp_path / "single")
        .drop(columns="reason")
        .equals(read_table(swept)[lambda table: table["model_id"] == "net0"].drop(columns="reason"))
    )


def test_a_second_sweep_measures_nothing_and_writes_nothing(swept: Path, manifest: Path, images_file: Path) -> None:
    before = {name: (swept / name).read_bytes() for name in ("records.jsonl", "models.jsonl")}
    summary = run(str(manifest) + "#net0", f"arrays:{images_file}", swept, radius=RADII, **OPTIONS)
    assert (summary.n_recorded, summary.n_resumed) == (0, 10)
    assert {name: (swept / name).read_bytes() for name in before} == before


def test_every_radius_of_a_sweep_comes_back_into_force(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    def measured(**of: Any) -> list[str]:
        run(f"{manifest}#net0", f"arrays:{images_file}", tmp_path / "out", **OPTIONS, **of)
        return read_table(tmp_path / "out")["config_digest"].tolist()

    first = measured(radius=RADII)
    later = measured(radius=RADII[0], seed=1)[0]
    assert measured(radius=RADII[1])[0] == first[0]  # the latest entry of the model is of the sweep, one radius is not
    again = measured(radius=RADII)
    assert again.index(first[1]) < again.index(later)
    before = (tmp_path / "out" / "models.jsonl").read_bytes()
    assert measured(radius=RADII) == again
    assert (tmp_path / "out" / "models.jsonl").read_bytes() == before


def test_status_counts_every_record_and_says_which_radius(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = read_status(swept)
    assert sum(model.measured for model in models) == len(read_records(swept)) == 20
    assert [(model.id, model.threat) for model in models] == [
        (name, threat) for name in ("net0", "net1") for threat in ("Linf 0.125", "Linf 0.05")
    ]
    assert run_command_line(["status", str(swept)]) == 0
    out = capsys.readouterr().out
    assert "2 models in 4 configurations, 20 values" in out
    assert "net0 (Linf 0.05): 5 measured" in out


def test_a_second_seed_at_one_radius_is_told_apart_by_its_configuration(
    manifest: Path, images_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        run(f"{manifest}#net0", f"arrays:{images_file}", tmp_path / "out", seed=seed, **OPTIONS)
    digests = read_table(tmp_path / "out")["config_digest"]
    assert len(set(digests)) == 2
    run_command_line(["status", str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert all(f"net0 (Linf 0.05, configuration {digest}): 5 measured" in out for digest in digests)


def test_radii_are_taken_once_each_in_the_order_of_the_user() -> None:
    own = ThreatModel.parse("L2", "0.5")
    options = RunOptions("digits", radius="8/255, 2/255,8/255,0.5")
    assert options.radius == "8/255,2/255,0.5"
    assert [str(threat) for threat in options.threats_of(own)] == ["L2 8/255", "L2 2/255", "L2 0.5"]
    assert RunOptions("digits", radius=[0.1, "1/5"]).radius == "0.1,1/5"
    assert [str(threat) for threat in RunOptions("digits").threats_of(own)] == ["L2 0.5"]
    for wrong in ("2/255,,8/255", "2/255,large", []):
        with pytest.raises(BadInputError, match="radius: expected a number or a fraction such as"):
            RunOptions("digits", radius=wrong)
