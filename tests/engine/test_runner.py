import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from measurebench import read_records, run
from measurebench.core.errors import BadInputError, DamageWarning, MeasurebenchError
from measurebench.core.machine_faults import MachineError
from measurebench.core.records import Record
from measurebench.engine.runner import Quiet
from measurebench.measures.value import MeasureValue
from measurebench.store.examples import read_arrays
from measurebench.store.folder import ResultsFolder
from measurebench.store.tables import read_table
from measurebench.store.verdicts import write_verdicts
from tests.attacks.short import shorten_autoattack

MEASURES = "average_ce_pgd,average_ce,train_robust_acc"
OPTIONS: dict[str, Any] = {"measures": MEASURES, "attacks": "pgd", "workers": 1}
N_PAIRS = 4 + 3  # clean and PGD accuracy on two splits, three measures on one


def numbers(folder: Path) -> dict[tuple, tuple]:
    """Return what must not depend on how a run went, bit for bit."""
    return {
        record.key: (record.status, record.value, record.standard_error, record.reason)
        for record in read_records(folder)
    }


def lines(folder: Path) -> list[dict]:
    path = folder / "records.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def dataset(images_file: Path) -> str:
    return f"arrays:{images_file}"


@pytest.fixture(scope="module")
def whole(manifest: Path, images_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder measured without interruption, by one worker."""
    out = tmp_path_factory.mktemp("whole") / "out"
    summary = run(str(manifest), dataset(images_file), out, **OPTIONS)
    assert (summary.exit_status, summary.n_recorded) == (0, 3 * N_PAIRS)
    return out


def test_every_model_gets_its_row_with_a_gap(whole: Path) -> None:
    table = read_table(whole)
    assert sorted(table["model_id"]) == ["net0", "net1", "net2"]
    assert table["status"].tolist() == ["measured"] * 3
    gap = table["pgd_accuracy_train"] - table["pgd_accuracy_test"]
    assert (table["robust_gap_pgd"] == gap).all()
    assert (table["train_robust_acc"] == table["pgd_accuracy_train"]).all()
    assert table["setting_steps"].tolist() == [0, 1, 2]


def test_a_second_run_measures_nothing(whole: Path, manifest: Path, images_file: Path) -> None:
    before = (whole / "records.jsonl").read_bytes()
    summary = run(str(manifest), dataset(images_file), whole, **OPTIONS)
    assert (summary.n_recorded, summary.n_resumed) == (0, 3 * N_PAIRS)
    assert (whole / "records.jsonl").read_bytes() == before


def test_another_seed_is_another_configuration(whole: Path, manifest: Path, images_file: Path, tmp_path: Path) -> None:
    run(str(manifest), dataset(images_file), tmp_path / "out", seed=1, **OPTIONS)
    first, second = read_table(whole), read_table(tmp_path / "out")
    assert set(first["config_digest"]).isdisjoint(second["config_digest"])
    assert (first["average_ce"] == second["average_ce"]).all()
    assert (first["average_ce_pgd"] != second["average_ce_pgd"]).any()


def test_two_workers_give_the_numbers_of_one(whole: Path, manifest: Path, images_file: Path, tmp_path: Path) -> None:
    run(str(manifest), dataset(images_file), tmp_path / "out", **OPTIONS | {"workers": 2})
    assert numbers(tmp_path / "out") == numbers(whole)


def test_verdicts_lie_beside_the_records(whole: Path) -> None:
    table = read_table(whole).set_index("model_id")
    path = next((whole / "examples" / "net0").glob("*/test-pgd_accuracy.npz"))
    verdicts = read_arrays(path)
    assert verdicts is not None
    assert verdicts["robust"].mean() == table.loc["net0", "pgd_accuracy_test"]
    assert not verdicts["violation"].any()
    assert len(str(verdicts["input_digest"])) == 16


def command(manifest: Path, images_file: Path, out: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "measurebench", "run", str(manifest), "--dataset", dataset(images_file)),
        *("--out", str(out), "--measures", MEASURES, "--attacks", "pgd", *more),
    ]


@pytest.mark.parametrize(("n_records", "workers"), [(1, "1"), (9, "2"), (16, "1")])
def test_a_killed_run_finishes_with_the_same_numbers_and_measures_nothing_twice(
    whole: Path, manifest: Path, images_file: Path, tmp_path: Path, n_records: int, workers: str
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(command(manifest, images_file, out, "--workers", workers), start_new_session=True)
    deadline = time.monotonic() + 120
    while len(lines(out)) < n_records and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(lines(out)) >= n_records
    summary = run(str(manifest), dataset(images_file), out, **OPTIONS)
    assert summary.exit_status == 0
    assert numbers(out) == numbers(whole)
    keys = [Record.from_json(line, "test").key for line in lines(out)]
    assert len(keys) == len(set(keys)) == 3 * N_PAIRS


def test_ctrl_c_says_how_to_go_on_and_ends_with_130(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = command(manifest, images_file, out, "--workers", "1", "--train-examples", "40")
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not lines(out) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    if process.returncode != 0:  # it may have been done in time
        assert process.returncode == 130
        assert errors.endswith("measurebench: Interrupted. Records are kept; run the same command again to resume.\n")
    assert len(lines(out)) >= 1


def test_one_bad_model_is_a_failed_record_and_the_others_go_on(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "models"
    shutil.copytree(manifest.parent, folder)
    (folder / "net1.pt").write_text("<html><body>Quota exceeded</body></html>")
    summary = run(str(folder), dataset(images_file), tmp_path / "out", **OPTIONS)
    assert summary.exit_status == 1
    assert [(model, measure) for model, measure, _ in summary.failures] == [("net1", "load")]
    failed = [record for record in read_records(tmp_path / "out") if record.status == "failed"]
    assert len(failed) == 1
    assert "HTML" in failed[0].reason
    table = read_table(tmp_path / "out").set_index("model_id")
    assert table["status"].to_dict() == {"net0": "measured", "net1": "failed", "net2": "measured"}
    again = run(str(folder), dataset(images_file), tmp_path / "out", **OPTIONS)
    assert (again.exit_status, again.n_recorded) == (1, 0)


def test_a_mended_model_is_measured_on_the_next_run(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "models"
    shutil.copytree(manifest.parent, folder)
    good = (folder / "net1.pt").read_bytes()
    (folder / "net1.pt").write_bytes(good[:100])
    assert run(str(folder), dataset(images_file), tmp_path / "out", **OPTIONS).exit_status == 1
    (folder / "net1.pt").write_bytes(good)
    summary = run(str(folder), dataset(images_file), tmp_path / "out", **OPTIONS)
    assert (summary.exit_status, summary.n_recorded) == (0, N_PAIRS)


def test_only_bad_models_end_with_status_2(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    text = manifest.read_text().replace("nets.py:small", "nets.py:probabilities").replace("{ width = 4 }", "{ }")
    (manifest.parent / "probabilities.toml").write_text(text.split("[[model]]")[1].join(["[[model]]", ""]))
    summary = run(str(manifest.parent / "probabilities.toml"), dataset(images_file), tmp_path / "out", **OPTIONS)
    assert summary.exit_status == 2


def test_a_failing_measure_fails_alone(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from measurebench.measures.margins.average_ce import AverageCrossEntropy

    def broken(self: object, context: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(AverageCrossEntropy, "__call__", broken)
    summary = run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", **OPTIONS)
    assert summary.exit_status == 1
    records = {(record.measure, record.split): record for record in read_records(tmp_path / "out")}
    assert records["average_ce", "train"].reason.startswith("OutOfMemoryError: CUDA out of memory")
    assert records["train_robust_acc", "train"].status == "measured"
    monkeypatch.undo()
    assert run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", **OPTIONS).n_recorded == 0
    mended = run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", retry_failed=True, **OPTIONS)
    assert (mended.n_recorded, mended.exit_status) == (2, 0)


def test_two_runs_on_one_folder_do_not_mix(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    with (
        ResultsFolder.writing(tmp_path / "out", "0"),
        pytest.raises(BadInputError, match=f"no other run is writing to, got one in use by process {os.getpid()}"),
    ):
        run(str(manifest), dataset(images_file), tmp_path / "out", **OPTIONS)


def halving(network: Any, images: Any, labels: Any) -> Any:
    """Stand for an attack of somebody else's: it moves every pixel by more than the radius allows."""
    return (images + 0.2).clamp(0, 1)


def test_a_third_party_attack_without_a_valid_image_has_no_accuracy(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    options = OPTIONS | {"attacks": "pgd,tests.engine.test_runner:halving"}
    run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", **options)
    records = {(record.measure, record.split): record for record in read_records(tmp_path / "out")}
    record = records["halving_accuracy", "test"]
    assert record.status == "undefined"
    assert record.n == 40
    assert record.diagnostics["n_violations"] == 40
    assert "no valid adversarial image: 40 of 40 adversarial images leave the Linf 1/20 ball" in record.reason
    assert str(record.diagnostics["attack"]).startswith("tests.engine.test_runner:halving#")


def test_a_measure_that_ends_the_process_is_a_failure_like_any_other(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from measurebench.measures.margins.average_ce import AverageCrossEntropy

    def leave(*_: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(AverageCrossEntropy, "__call__", leave)
    summary = run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", **OPTIONS)
    assert summary.exit_status == 1
    assert {(name, reason) for _, name, reason in summary.failures} == {
        ("average_ce", "SystemExit: 0"),
        ("average_ce_pgd", "SystemExit: 0"),
    }


def still(network: Any, images: Any, labels: Any) -> Any:
    """Stand for an attack that does nothing."""
    return images


def test_an_attack_with_settings_has_columns_of_its_own(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    options = OPTIONS | {"attacks": "pgd:steps=3,restarts=2,pgd,tests.engine.test_runner:still"}
    run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", **options)
    measured = {record.measure for record in read_records(tmp_path / "out") if record.status == "measured"}
    assert measured >= {"pgd:steps=3,restarts=2_accuracy", "pgd_accuracy", "still_accuracy", "average_ce_pgd"}
    again = run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", **options)
    assert again.n_recorded == 0


def test_settings_that_contradict_the_shared_examples_are_refused(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match=r"expected settings that agree with pgd_steps = 20, got 'pgd:steps=10'"):
        run(str(manifest), dataset(images_file), tmp_path, attacks="pgd:steps=10", pgd_steps=20)


def test_measures_of_shared_examples_need_the_attack_that_makes_them(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match="expected pgd, which average_ce_pgd reads, got 'pgd:steps=3'"):
        run(str(manifest), dataset(images_file), tmp_path, measures="average_ce_pgd", attacks="pgd:steps=3")


def test_two_functions_of_one_name_never_share_a_column(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def still(network, images, labels):\n    return images\n")
    model, out = f"{manifest.parent}#net0", tmp_path / "out"
    run(model, dataset(images_file), out, measures="average_ce", attacks=f"{file}:still")
    with pytest.raises(BadInputError, match=r"expected mine.py:still, of which this folder has records of still_acc"):
        run(model, dataset(images_file), out, measures="average_ce", attacks="tests.engine.test_runner:still")
    file.write_text("def still(network, images, labels):\n    return images + 0\n")
    summary = run(model, dataset(images_file), out, measures="average_ce", attacks=f"{file}:still")
    assert summary.n_recorded == 2  # the changed function is measured again, on both splits


def test_no_attack_leaves_out_what_needs_one(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", measures="average_ce", attacks="none")
    assert {record.measure for record in read_records(tmp_path / "out")} == {"clean_accuracy", "average_ce"}
    with pytest.raises(BadInputError, match="--attacks: expected pgd, which average_ce_pgd reads, got 'none'"):
        run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "o", measures="average_ce_pgd", attacks="none")


SHORT: dict[str, Any] = {"measures": "average_ce", "attacks": "autoattack", "autoattack_examples": 20, "workers": 1}


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Shorten AutoAttack, and note how many searches the engine begins."""
    from measurebench.attacks.standard.slots import Examples

    shorten_autoattack(monkeypatch, apgd_steps=5, queries=20)
    begun, rows = [], Examples.rows

    def noted(self: Any, jobs: Any) -> Any:
        begun.append(len(jobs))
        return rows(self, jobs)

    monkeypatch.setattr(Examples, "rows", noted)
    return begun


def verdicts(folder: Path, attack: str = "autoattack_accuracy") -> dict[str, Any]:
    (path,) = folder.glob(f"examples/*/*/test-{attack}.npz")
    found = read_arrays(path)
    assert found is not None
    return found


def test_autoattack_resumes_by_example_and_grows(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, model, out = counted(monkeypatch), f"{manifest.parent}#net0", tmp_path / "out"
    run(model, dataset(images_file), out, **SHORT)
    first = sum(begun)
    assert first >= 10
    (out / "records.jsonl").unlink()
    run(model, dataset(images_file), out, **SHORT)
    assert sum(begun) == first
    summary = run(model, dataset(images_file), out, **SHORT | {"autoattack_examples": 40})
    assert summary.n_recorded == 1
    grown = sum(begun)
    run(model, dataset(images_file), tmp_path / "whole", **SHORT | {"autoattack_examples": 40})
    assert sum(begun) - grown == grown  # nothing was searched twice
    ours, whole = verdicts(out), verdicts(tmp_path / "whole")
    for name in ("robust", "broken_by", "step", "margin", "withstood_apgd_ce"):
        assert (ours[name] == whole[name]).all(), name
    row = read_table(out).iloc[0]
    assert row["n_autoattack"] == 40
    table = write_verdicts(out, tmp_path / "v.parquet")
    assert read_table(tmp_path / "v.parquet").equals(table)
    mine = table[table["measure"] == "autoattack_accuracy"]
    assert (len(mine), mine["robust"].mean()) == (40, row["autoattack_accuracy_test"])
    assert set(mine.loc[mine["correct"] & ~mine["robust"], "broken_by"]) <= {"apgd-ce", "apgd-t", "fab-t", "square"}
    assert mine.loc[mine["robust"], "broken_by"].isna().all()
    assert row["autoattack_accuracy_test"] == read_table(tmp_path / "whole").iloc[0]["autoattack_accuracy_test"]


def test_what_the_estimate_searched_autoattack_does_not_search_again(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, model, out = counted(monkeypatch), f"{manifest.parent}#net0", tmp_path / "out"
    run(model, dataset(images_file), out, **SHORT | {"attacks": "autoattack-sampled"})
    before = sum(begun)
    assert before
    run(model, dataset(images_file), out, **SHORT)
    assert sum(begun) == before  # of fewer than 40 that are left the sample takes all
    row = read_table(out).iloc[0]
    assert row["autoattack_sampled_accuracy_test"] == row["autoattack_accuracy_test"]
    record = next(r for r in read_records(out) if r.measure == "autoattack_sampled_accuracy")
    assert record.diagnostics["low"] == record.diagnostics["high"] == record.value
    assert record.standard_error


def test_a_killed_run_of_autoattack_goes_on_to_the_same_verdicts(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from measurebench.attacks.standard.saving import Saver
    from measurebench.engine.disk_blocks import DiskBlocks

    begun, model, out = counted(monkeypatch), f"{manifest.parent}#net0", tmp_path / "out"
    run(model, dataset(images_file), tmp_path / "whole", **SHORT)
    undisturbed, writes = sum(begun), 0
    put = DiskBlocks.put

    def dying(self: Any, name: str, arrays: Any) -> None:
        nonlocal writes
        writes += 1
        if writes == 4:
            raise KeyboardInterrupt
        put(self, name, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Saver, "after_pass", lambda self, rows: self.save(rows))
        patch.setattr(DiskBlocks, "put", dying)
        with pytest.raises(KeyboardInterrupt):
            run(model, dataset(images_file), out, **SHORT)
    assert not [r for r in read_records(out) if r.measure == "autoattack_accuracy"]
    begun.clear()
    run(model, dataset(images_file), out, **SHORT)
    assert 0 < sum(begun) < undisturbed
    assert numbers(out) == numbers(tmp_path / "whole")
    ours, whole = verdicts(out), verdicts(tmp_path / "whole")
    assert all((ours[name] == whole[name]).all() for name in whole if name != "distance")


def test_a_value_whose_examples_come_from_two_kinds_of_device_says_so(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from measurebench.attacks.standard.blocks import decoded, encoded

    counted(monkeypatch)
    model, out = f"{manifest.parent}#net0", tmp_path / "out"
    run(model, dataset(images_file), out, **SHORT)
    told = {r.measure: r.diagnostics for r in read_records(out)}
    assert "devices" not in told["autoattack_accuracy"]
    paths = [path for path in out.rglob("*apgd*") if path.is_file()]
    for path in paths:  # as a GPU would have written them
        arrays = decoded(path.read_bytes())
        path.write_bytes(encoded({**arrays, "devices": np.array(["cuda"])}))
    assert paths
    (out / "records.jsonl").unlink()
    run(model, dataset(images_file), out, **SHORT)
    told = {r.measure: r.diagnostics for r in read_records(out)}
    assert told["autoattack_accuracy"]["devices"] == "cpu, cuda"
    assert "devices" not in told["clean_accuracy"]


def test_blocks_keep_the_kinds_of_device_they_come_from(tmp_path: Path) -> None:
    from measurebench.engine.disk_blocks import DiskBlocks

    there, here = (DiskBlocks(tmp_path, "m", "c", "test", device) for device in ("cuda:1", "cpu"))
    there.put("block", {"a": np.arange(3)})
    found = here.get("block")
    assert list(found) == ["a"]
    assert here.devices == {"cpu", "cuda"}
    here.put("block", found)
    again = DiskBlocks(tmp_path, "m", "c", "test", "cuda:0")
    again.get("block")
    assert again.devices == {"cpu", "cuda"}


def deadly(network: Any, images: Any, labels: Any) -> Any:
    """Stand for an attack that the system kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_costs_the_measure_it_was_at_and_nothing_else(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    options = OPTIONS | {"attacks": "pgd,tests.engine.test_runner:deadly"}
    summary = run(str(manifest), dataset(images_file), tmp_path / "out", **options | {"workers": 2})
    assert summary.exit_status == 1
    records = read_records(tmp_path / "out")
    failed = {(r.model_id, r.measure, r.split): r.reason for r in records if r.status == "failed"}
    splits = ("train", "test")
    assert set(failed) == {(f"net{i}", "deadly_accuracy", split) for i in range(3) for split in splits}
    assert set(failed.values()) == {"the worker process was ended by SIGKILL (out of memory?)"}
    assert sum(r.status == "measured" for r in records) == 3 * N_PAIRS
    assert read_table(tmp_path / "out")["average_ce"].notna().all()
    again = run(str(manifest), dataset(images_file), tmp_path / "out", **options | {"workers": 2})
    assert again.n_recorded == 0


def losing(network: Any, images: Any, labels: Any) -> Any:
    """Stand for a fault after which every call to the GPU fails."""
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


def test_a_lost_gpu_costs_the_measure_it_was_lost_in_and_nothing_else(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    options = OPTIONS | {"attacks": "pgd,tests.engine.test_runner:losing"}
    run(str(manifest), dataset(images_file), tmp_path / "out", **options | {"workers": 2})
    records = read_records(tmp_path / "out")
    failed = {(r.model_id, r.measure, r.split): r.reason for r in records if r.status == "failed"}
    assert set(failed) == {(f"net{i}", "losing_accuracy", split) for i in range(3) for split in ("train", "test")}
    assert set(failed.values()) == {"AcceleratorError: CUDA error: an illegal memory access was encountered"}
    processes = {r.environment_digest for r in records}
    assert len(processes) == 1
    assert sum(r.status == "measured" for r in records) == 3 * N_PAIRS


class Fatal:
    """Ends the process that unpickles it."""

    id = "fatal"

    def digest(self) -> str:
        return ""

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return os._exit, (3,)


def test_workers_that_die_before_they_begin_end_the_run(manifest: Path, tmp_path: Path) -> None:
    from measurebench.engine.executors import measure_queue
    from measurebench.engine.options import RunOptions
    from measurebench.engine.plan import Task
    from measurebench.engine.scheduling.queue import BlockQueue

    fatal: Any = Fatal()
    task: Any = Task(fatal, "", fatal, (("average_ce", "train"),))
    options = RunOptions("digits", workers=2)
    with pytest.raises(
        MeasurebenchError, match="workers end before they begin: the worker process ended with status 3"
    ):
        list(measure_queue(BlockQueue([task, task]), 2, options, fatal, tmp_path))


def test_a_measure_that_fails_and_then_succeeds_on_fewer_examples_counts_as_measured(tmp_path: Path) -> None:
    from tests.store.test_folder import record

    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_record(record(measure="hess_trace", status="failed", value=None, reason="out of memory", n=500))
        folder.add_record(record(measure="hess_trace", n=128))
        folder.add_record(record(measure="autoattack_accuracy", split="test", n=64))
        folder.add_record(record(measure="autoattack_accuracy", split="test", n=128))
    records = read_records(tmp_path / "out")
    assert [(r.measure, r.status, r.n) for r in records] == [
        ("hess_trace", "measured", 128),
        ("autoattack_accuracy", "measured", 64),
        ("autoattack_accuracy", "measured", 128),
    ]


def test_numbers_that_are_not_finite_beside_a_value_do_not_end_the_run(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from measurebench.measures.margins.average_ce import AverageCrossEntropy

    strange = MeasureValue(1.0, float("nan"), None, {"largest": float("inf"), "smallest": 0.5}, 3)
    monkeypatch.setattr(AverageCrossEntropy, "__call__", lambda *_: strange)
    summary = run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", **OPTIONS)
    assert summary.exit_status == 0
    record = next(r for r in read_records(tmp_path / "out") if r.measure == "average_ce")
    assert (record.value, record.standard_error) == (1.0, None)
    assert (record.diagnostics["largest"], record.diagnostics["smallest"]) == ("inf", 0.5)


def test_a_worker_does_not_run_the_user_s_script_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a script that calls ``run`` with several workers needs no ``if __name__ == "__main__"``."""
    from multiprocessing.spawn import get_preparation_data

    from measurebench.engine.executors.local import without_main

    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None, raising=False)
    monkeypatch.setattr(main, "__file__", "script.py", raising=False)  # as of a script; a test's worker has none
    before = dict(vars(main))
    assert {"init_main_from_name", "init_main_from_path"} & set(get_preparation_data("worker"))
    with without_main():
        assert not {"init_main_from_name", "init_main_from_path"} & set(get_preparation_data("worker"))
    assert vars(main) == before


class Watcher:
    """Progress that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def planned(self, *what: Any) -> None:
        self.heard.append(("planned", *what))

    def started(self, model_id: str) -> None:
        self.heard.append(("started", model_id))

    def recorded(self, record: Record) -> None:
        self.heard.append(("recorded", record.model_id))

    def finished(self, model_id: str) -> None:
        self.heard.append(("finished", model_id))


def test_progress_hears_the_open_pairs_of_each_model_and_what_is_on_record(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", **OPTIONS)
    watcher = Watcher()
    models = [f"{manifest.parent}#net0", f"{manifest.parent}#net1"]
    run(models, dataset(images_file), tmp_path / "out", progress=watcher, **OPTIONS)
    assert watcher.heard[0] == ("planned", 2, {"net1": N_PAIRS}, N_PAIRS)
    assert watcher.heard[1] == ("started", "net1")
    assert watcher.heard[2:-1] == [("recorded", "net1")] * N_PAIRS
    assert watcher.heard[-1] == ("finished", "net1")


def test_shards_of_models_are_measured_apart(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    options = OPTIONS | {"measures": "num_params", "attacks": "none"}
    for shard, ids in (("1/2", {"net0", "net2"}), ("2/2", {"net1"})):
        run(str(manifest), dataset(images_file), tmp_path / shard[0], shard=shard, **options)
        assert {record.model_id for record in read_records(tmp_path / shard[0])} == ids


def test_a_measure_with_parameters_of_its_own_is_a_setting_of_the_run(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    """An instance and the file's [measure.ID] give one configuration, so that neither hides the other's records."""
    from measurebench.measures.smoothness.local_lip import LocalLipschitz

    reference, options = f"{manifest.parent}#net0", OPTIONS | {"attacks": "none"}
    run(
        reference,
        dataset(images_file),
        tmp_path / "a",
        **options | {"measures": ["num_params", LocalLipschitz(steps=2)]},
    )
    settings = {"local_lip": {"steps": 2}}
    run(
        reference,
        dataset(images_file),
        tmp_path / "b",
        measure_settings=settings,
        **options | {"measures": "num_params,local_lip"},
    )
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")
    run(reference, dataset(images_file), tmp_path / "c", **options | {"measures": [LocalLipschitz()]})
    assert set(numbers(tmp_path / "c")).isdisjoint(numbers(tmp_path / "a"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"models": torch.nn.Sequential(torch.nn.Linear(1, 1))},
            "got Sequential; measurebench.measure.* measures a network in memory",
        ),
        ({"models": [3]}, "expected references or specifications of models, got int"),
        ({"models": []}, "expected at least one, got none"),
        ({"measures": [object()]}, "expected ids or measures, got <object"),
        ({"measures": [torch.nn.ReLU]}, "expected ids or measures"),
        ({"measures": ["averge_ce"]}, "did you mean 'average_ce"),
    ],
)
def test_what_run_cannot_take_is_bad_input(
    changes: dict[str, Any], words: str, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    arguments = {"models": str(manifest), "dataset": dataset(images_file), "out": tmp_path / "out"} | OPTIONS | changes
    with pytest.raises(BadInputError, match=words):
        run(**arguments)
    assert not (tmp_path / "out").exists()


def test_specifications_and_references_mix_but_ids_may_not_repeat(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    from measurebench.models import resolve

    first, second, _ = resolve([str(manifest)])
    options = OPTIONS | {"measures": "num_params", "attacks": "none"}
    summary = run([first, second.reference], dataset(images_file), tmp_path / "out", **options)
    assert (summary.n_models, summary.exit_status) == (2, 0)
    with pytest.raises(BadInputError, match="a different id for every model of a run, got 'net0' twice"):
        run([first, replace(second, id="net0")], dataset(images_file), tmp_path / "out", **options)


def test_a_failed_load_is_written_once_and_told_each_time(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = tmp_path / "models"
    shutil.copytree(manifest.parent, folder)
    (folder / "net1.pt").write_text("<html>Quota exceeded</html>")
    options = OPTIONS | {"measures": "num_params", "attacks": "none"}
    run(str(folder), dataset(images_file), tmp_path / "out", **options)
    watcher, before = Watcher(), lines(tmp_path / "out")
    again = run(str(folder), dataset(images_file), tmp_path / "out", progress=watcher, **options)
    assert ("recorded", "net1") in watcher.heard
    assert (again.n_recorded, again.unusable) == (0, ["net1"])
    assert lines(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("n_models", "failures", "unusable", "status"),
    [
        (2, [], [], 0),
        (2, [("a", "average_ce", "why")], [], 1),
        (2, [("a", "load", "why")], ["a"], 1),
        (2, [("a", "load", "why"), ("b", "load", "why")], ["a", "b"], 2),
    ],
)
def test_the_exit_status_tells_all_some_and_none_apart(
    n_models: int, failures: list, unusable: list, status: int
) -> None:
    from measurebench.engine.runner import RunSummary

    assert RunSummary(Path("out"), n_models, failures=failures, unusable=unusable).exit_status == status


def test_every_run_leaves_its_command_and_options_as_provenance(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    from measurebench.engine.options import RunOptions
    from measurebench.engine.runner import run as run_models
    from measurebench.models import resolve

    options = RunOptions(dataset(images_file), measures="num_params", attacks="none", workers=1)
    for command in (["measurebench", "run"], ["again"]):
        run_models(resolve([f"{manifest.parent}#net0"]), options, tmp_path / "out", command=command)
    entries = ResultsFolder.open(tmp_path / "out").runs.read()
    assert [entry["command"] for entry in entries] == [["measurebench", "run"], ["again"]]
    assert [(entry["measures"], entry["attacks"]) for entry in entries] == [("num_params", "none")] * 2
    assert entries[0]["models"] == [f"{manifest.parent}#net0"]


def test_a_new_version_of_a_measure_is_measured_again_and_nothing_else(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from measurebench.measures.margins.average_ce import AverageCrossEntropy

    reference, options = f"{manifest.parent}#net0", OPTIONS | {"measures": "average_ce,num_params", "attacks": "none"}
    run(reference, dataset(images_file), tmp_path / "out", **options)
    info = AverageCrossEntropy.info
    newer = property(lambda self: replace(info.fget(self), version=7))  # type: ignore[attr-defined]
    monkeypatch.setattr(AverageCrossEntropy, "info", newer)
    before = lines(tmp_path / "out")
    assert run(reference, dataset(images_file), tmp_path / "out", **options).n_recorded == 1
    (new,) = lines(tmp_path / "out")[len(before) :]
    assert (new["measure"], new["measure_version"]) == ("average_ce", 7)


def test_an_earlier_configuration_comes_back_into_force_without_being_measured(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    reference, options = f"{manifest.parent}#net0", OPTIONS | {"measures": "num_params", "attacks": "none"}
    digests = []
    for seed in (0, 1, 0):
        summary = run(reference, dataset(images_file), tmp_path / "out", seed=seed, **options)
        digests.append(read_table(tmp_path / "out")["config_digest"].iloc[0])
    assert summary.n_recorded == 0
    assert digests[0] == digests[2] != digests[1]


def test_a_config_file_and_python_resume_each_other(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    from measurebench.cli.app import run_command_line

    reference = f"{manifest.parent}#net0"
    (tmp_path / "run.toml").write_text('measures = ["num_params"]\nattacks = "none"\ntrain-examples = 20\n')
    where = ["--dataset", dataset(images_file), "--out", str(tmp_path / "out"), "--config", str(tmp_path / "run.toml")]
    assert run_command_line(["run", reference, *where]) == 0
    again = run(
        reference, dataset(images_file), tmp_path / "out", measures="num_params", attacks="none", train_examples=20
    )
    assert (again.n_recorded, again.n_resumed) == (0, 3)


def raising(error: BaseException) -> Any:
    def call(*_: object, **__: object) -> None:
        raise error

    return call


def test_a_network_that_ends_the_process_is_a_failed_model(manifest: Path, images_file: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "models"
    shutil.copytree(manifest.parent, folder)
    for name, line in {"net0": "import sys; sys.exit(0)", "net1": "raise SystemExit('strange')"}.items():
        (folder / f"{name}.py").write_text(f"def small(width=6):\n    {line}\n")
    text = (folder / "models.toml").read_text()
    for number in (0, 1):
        text = text.replace(
            f'"net{number}.pt"\narchitecture = "nets.py', f'"net{number}.pt"\narchitecture = "net{number}.py'
        )
    (folder / "models.toml").write_text(text)
    summary = run(str(folder), dataset(images_file), tmp_path / "out", **OPTIONS)
    assert summary.exit_status == 1
    assert {model: reason for model, _, reason in summary.failures} == {
        "net0": "SystemExit: 0",
        "net1": "SystemExit: strange",
    }


FAULTS = [
    OSError(28, "No space left on device"),
    OSError(122, "Disk quota exceeded"),
    OSError(5, "Input/output error"),
    OSError(116, "Stale file handle"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__ + str(getattr(fault, "errno", "")))
@pytest.mark.parametrize("where", ["measure", "load", "verdicts", "wrapped"])
def test_a_fault_of_the_machine_stops_the_run_and_is_no_record(
    fault: BaseException, where: str, manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from measurebench.engine import model_run
    from measurebench.measures.margins.average_ce import AverageCrossEntropy

    def wrapped(*_: object, **__: object) -> None:
        try:
            raising(fault)()
        except BaseException as error:  # noqa: BLE001 - as a reader of checkpoints does
            raise BadInputError("net0.pt", "a whole checkpoint", str(error)) from None

    with monkeypatch.context() as patch:
        if where == "measure":
            patch.setattr(AverageCrossEntropy, "__call__", raising(fault))
        elif where == "verdicts":
            patch.setattr(model_run, "write_arrays", raising(fault))
        else:
            patch.setattr(model_run, "load_model", raising(fault) if where == "load" else wrapped)
        with pytest.raises(MachineError, match=r"net0.*; .* and run the same command again") as caught:
            run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", **OPTIONS)
        assert caught.value.exit_status == 1
    assert all(line["status"] == "measured" for line in lines(tmp_path / "out"))
    summary = run(f"{manifest.parent}#net0", dataset(images_file), tmp_path / "out", **OPTIONS)
    assert (summary.exit_status, len(lines(tmp_path / "out"))) == (0, N_PAIRS)


def test_a_fault_in_a_worker_stops_the_run(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full.py").write_text("def full(network, images, labels):\n    raise OSError(28, 'No space left')\n")
    options = OPTIONS | {"attacks": f"{tmp_path / 'full.py'}:full", "measures": "num_params", "workers": 2}
    with pytest.raises(MachineError, match="the disk is full"):
        run(str(manifest), dataset(images_file), tmp_path / "out", **options)
    assert all(line["status"] == "measured" for line in lines(tmp_path / "out"))


def test_models_on_a_drive_that_is_lost_during_a_run_are_no_failures(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    import shutil

    drive = tmp_path / "drive"
    shutil.copytree(manifest.parent, drive)

    class Unmount(Quiet):
        def finished(self, model_id: str) -> None:
            drive.rename(tmp_path / "gone")

    options = OPTIONS | {"measures": "num_params", "attacks": "none"}
    with pytest.raises(MachineError, match=r"net1: the folder .*drive is gone: mount the drive again"):
        run(str(drive / "models.toml"), dataset(images_file), tmp_path / "out", progress=Unmount(), **options)
    assert {line["model_id"] for line in lines(tmp_path / "out")} == {"net0"}


@pytest.mark.parametrize("lost", ["models.jsonl", "configs.jsonl", "environments.jsonl"])
def test_a_lost_catalogue_is_made_again_by_the_same_command(
    whole: Path, lost: str, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    import shutil

    out = tmp_path / "out"
    shutil.copytree(whole, out)
    before = read_table(out)
    (out / lost).unlink()
    summary = run(str(manifest), dataset(images_file), out, **OPTIONS)
    assert (summary.exit_status, summary.n_recorded) == (0, 0)
    assert read_table(out).equals(before)
    assert lost == "environments.jsonl" or (out / lost).is_file()


def test_a_damaged_line_is_measured_again_and_nothing_else(
    whole: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    import shutil

    out = tmp_path / "out"
    shutil.copytree(whole, out)
    content = (out / "records.jsonl").read_bytes()
    (out / "records.jsonl").write_bytes(content.replace(b'"value": 0.', b'"value": 1.', 1))
    with pytest.warns(DamageWarning, match="its checksum does not match"):
        summary = run(str(manifest), dataset(images_file), out, **OPTIONS)
    assert (summary.exit_status, summary.n_recorded) == (0, 1)
    assert numbers(out) == numbers(whole)


def test_damaged_verdicts_are_measured_again(whole: Path, manifest: Path, images_file: Path, tmp_path: Path) -> None:
    import shutil

    out = tmp_path / "out"
    shutil.copytree(whole, out)
    path = next((out / "examples" / "net0").glob("*/test-pgd_accuracy.npz"))
    good = path.read_bytes()
    path.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    with pytest.warns(DamageWarning, match="test-pgd_accuracy.npz is damaged"):
        summary = run(str(manifest), dataset(images_file), out, **OPTIONS)
    assert (summary.exit_status, summary.n_recorded) == (0, 1)
    assert path.read_bytes() == good
