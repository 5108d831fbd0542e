"""Adversarial images that a run keeps, and that a later run takes up again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from measurebench import load_dataset, load_model, read_records, run
from measurebench.attacks.supplied import Supplied
from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.engine.options import RunOptions
from measurebench.models.references import resolve
from measurebench.store.adversarial import read_adversarial, write_adversarial
from measurebench.store.tables import read_table
from tests.attacks.short import shorten_autoattack

MEASURES = "average_ce_pgd,prob_margin_pgd,train_robust_acc,average_ce"
OPTIONS: dict[str, Any] = {
    "measures": MEASURES,
    "attacks": "pgd",
    "workers": 1,
    "radius": "1/8",
    "save_adversarial": True,
}


@pytest.fixture(scope="module")
def kept(manifest: Path, images_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kept") / "out"
    assert run(str(manifest), f"arrays:{images_file}", out, **OPTIONS).exit_status == 0
    return out


def file_of(folder: Path, model: str, split: str = "test", attack: str = "pgd_accuracy") -> Path:
    (found,) = (folder / "adversarial" / model).glob(f"*/{split}-{attack}.npz")
    return found


def changed(path: Path, to: Path, **arrays: Any) -> Path:
    with np.load(path) as archive:
        content = {name: archive[name] for name in archive.files} | arrays
    np.savez(to, **{name: values for name, values in content.items() if values is not None})
    return to


def files(folder: Path, model: str = "net0") -> list[Path]:
    return [file_of(folder, model, split) for split in ("train", "test")]


def test_saved_images_lie_in_the_ball_and_are_misclassified_exactly_where_the_verdict_says(
    kept: Path, manifest: Path, images_file: Path
) -> None:
    data, broken, robust = load_dataset(f"arrays:{images_file}"), [], []
    for spec in resolve([str(manifest)]):
        network = load_model(spec).network
        for split in ("train", "test"):
            clean = data.split(split)
            with np.load(file_of(kept, spec.id, split)) as saved:
                assert saved["index"].tolist() == clean.indices.tolist()
                assert saved["label"].tolist() == clean.labels.tolist()
                difference = np.abs(saved["adversarial"].astype(float) - clean.images).reshape(len(clean), -1).max(1)
                assert difference.max() <= 1 / 8 + 1e-6
                assert np.allclose(difference, saved["distance"])
                with torch.no_grad():
                    right = network(torch.from_numpy(saved["adversarial"])).argmax(1).numpy() == clean.labels
                assert (right == saved["robust"])[saved["correct"]].all()
                assert not saved["robust"][~saved["correct"]].any()
                broken.append(saved["correct"] & ~saved["robust"])
                robust.append(saved["robust"])
    assert np.concatenate(broken).sum() > 20
    assert np.concatenate(robust).sum() > 20


def test_a_round_trip_gives_equal_numbers_under_the_name_of_supplied_images(
    kept: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    run(
        f"{manifest}#net0",
        f"arrays:{images_file}",
        tmp_path / "again",
        **OPTIONS | {"attacks": "none", "adversarial": files(kept)},
    )
    first = read_table(kept).set_index("model_id").loc["net0"]
    again = read_table(tmp_path / "again").set_index("model_id").loc["net0"]
    for name in MEASURES.split(","):
        assert again[name] == first[name]
    for split in ("train", "test"):
        assert again[f"supplied_accuracy_{split}"] == first[f"pgd_accuracy_{split}"]
    assert again["robust_gap_supplied"] == first["robust_gap_pgd"]
    assert np.isnan(float(again["pgd_accuracy_test"] or "nan"))
    assert again["config_digest"] != first["config_digest"]
    assert not (tmp_path / "again" / "adversarial").exists()


def test_supplied_images_of_other_values_give_other_numbers(
    kept: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    clean = load_dataset(f"arrays:{images_file}").test
    path = changed(file_of(kept, "net0"), tmp_path / "clean.npz", adversarial=clean.images)
    run(
        f"{manifest}#net0",
        f"arrays:{images_file}",
        tmp_path / "out",
        **OPTIONS | {"attacks": "none", "adversarial": path, "measures": "average_ce,average_ce_pgd", "split": "test"},
    )
    values = {record.measure: record.value for record in read_records(tmp_path / "out") if record.split == "test"}
    assert values["average_ce"] == values["average_ce_pgd"]
    assert values["supplied_accuracy"] == values["clean_accuracy"]


def test_a_finished_folder_gets_the_images_afterwards_and_only_once(
    kept: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    arguments = (f"{manifest}#net1", f"arrays:{images_file}", tmp_path / "out")
    run(*arguments, **OPTIONS | {"save_adversarial": False})
    assert not (tmp_path / "out" / "adversarial").exists()
    assert run(*arguments, **OPTIONS).n_recorded == 2
    assert run(*arguments, **OPTIONS).n_recorded == 0
    assert file_of(tmp_path / "out", "net1").read_bytes() == file_of(kept, "net1").read_bytes()
    path = file_of(tmp_path / "out", "net1")
    path.write_bytes(path.read_bytes()[:-200])
    assert run(*arguments, **OPTIONS).n_recorded == 1
    assert path.read_bytes() == file_of(kept, "net1").read_bytes()


def test_autoattack_adds_images_to_those_that_are_kept(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_autoattack(monkeypatch)
    arguments = (f"{manifest}#net0", f"arrays:{images_file}", tmp_path / "out")
    options = OPTIONS | {"attacks": "autoattack", "measures": "clean_accuracy"}
    run(*arguments, **options, autoattack_examples=8)
    path = file_of(tmp_path / "out", "net0", attack="autoattack_accuracy")
    eight = read_adversarial(path)
    run(*arguments, **options, autoattack_examples=20)
    twenty = read_adversarial(path)
    assert len(twenty.indices) == 20
    assert (twenty.images[:8] == eight.images).all()
    run(*arguments, **options, autoattack_examples=8)
    assert read_adversarial(path).digest() == twenty.digest()


def test_rows_of_other_weights_never_join_a_file(kept: Path, tmp_path: Path) -> None:
    with np.load(file_of(kept, "net0")) as archive:
        arrays = {name: archive[name] for name in archive.files}
    columns = {name for name, values in arrays.items() if values.ndim}
    half = {name: values[:20] if name in columns else values for name, values in arrays.items()}
    rest = {name: values[20:] if name in columns else values for name, values in arrays.items()}
    write_adversarial(tmp_path / "file.npz", half)
    write_adversarial(tmp_path / "file.npz", rest)
    assert sorted(read_adversarial(tmp_path / "file.npz").indices) == sorted(arrays["index"])
    write_adversarial(tmp_path / "file.npz", rest | {"model_digest": np.array("another")})
    assert len(read_adversarial(tmp_path / "file.npz").indices) == 20


def refused(manifest: Path, images_file: Path, tmp_path: Path, *paths: Path, **options: Any) -> str:
    with pytest.raises(BadInputError) as caught:
        run(
            f"{manifest}#net0",
            f"arrays:{images_file}",
            tmp_path / "refused",
            **{
                "attacks": "none",
                "measures": "clean_accuracy",
                "workers": 1,
                "radius": "1/8",
                "adversarial": list(paths),
                **options,
            },
        )
    assert not (tmp_path / "refused" / "records.jsonl").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "arrays", "expected"),
    [
        ("net1", {}, "expected adversarial images of net0 (weights "),
        (
            "net0",
            {"radius": np.array("1/10")},
            "expected adversarial images within Linf 1/8, got Linf 1/10; use",
        ),
        ("net0", {"norm": np.array("L2")}, "expected adversarial images within Linf 1/8, got L2 1/8"),
        ("net0", {"norm": np.array("L7")}, "norm: expected Linf or L2, got 'L7'"),
        ("net0", {"split": np.array("validation")}, "split: expected train or test, got 'validation'"),
        ("net0", {"split": None}, "expected the array 'split', got only "),
        ("net0", {"index": np.arange(40) + 1}, "a file without 1 of them (first missing index: 0)"),
        ("net0", {"index": np.zeros(40, dtype=int)}, "index: expected each example once, got 0 twice"),
        ("net0", {"index": np.arange(39)}, "index: expected one value for each of 40 images"),
        ("net0", {"label": np.full(40, 7)}, "label of image "),
        ("net0", {"image_digest": np.full(40, "0" * 16)}, "image_digest of image "),
        ("net0", {"adversarial": np.full((40, 1, 8, 8), 0.5, np.float32)}, "expected an image within Linf 1/8 of the"),
        ("net0", {"adversarial": np.full((40, 1, 8, 8), np.nan, np.float32)}, "expected finite pixels"),
        ("net0", {"adversarial": np.full((40, 1, 8, 8), 1.1, np.float32)}, "expected pixels in [0, 1], got [1.1, 1.1]"),
        ("net0", {"adversarial": np.zeros((40, 1, 4, 4), np.float32)}, "expected images of shape [1, 8, 8], got shape"),
        ("net0", {"adversarial": np.zeros((40, 1, 8, 8), int)}, "adversarial: expected floats [n, ...], got int64"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_before_anything_is_measured(
    model: str, arrays: dict[str, Any], expected: str, kept: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    path = changed(file_of(kept, model), tmp_path / "file.npz", **arrays)
    told = refused(manifest, images_file, tmp_path, path)
    assert str(path) in told
    assert expected in told


def test_a_damaged_file_is_a_clear_error_wherever_it_is_damaged(
    kept: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    content = file_of(kept, "net0").read_bytes()
    path = tmp_path / "file.npz"
    for place in np.linspace(0, len(content) - 1, 40, dtype=int).tolist():
        path.write_bytes(content[:place])
        assert "expected an .npz file of adversarial images" in refused(manifest, images_file, tmp_path, path)
    told = set()
    for place in np.linspace(0, len(content) - 1, 300, dtype=int).tolist():
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            found = read_adversarial(path)
        except BadInputError as error:
            told.add(str(error).partition("; ")[0].partition(", got")[0])
        else:  # a byte of the archive's own bookkeeping, which changes no array
            assert found.digest() == read_adversarial(file_of(kept, "net0")).digest()
    assert told >= {f"{path}: expected an .npz file of adversarial images"}


def test_no_file_two_files_of_one_split_and_a_split_without_a_file_are_refused(
    kept: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    assert "no such file" in refused(manifest, images_file, tmp_path, tmp_path / "none.npz")
    twice = changed(file_of(kept, "net0"), tmp_path / "twice.npz")
    told = refused(manifest, images_file, tmp_path, file_of(kept, "net0"), twice)
    assert "expected one file for the test split of net0" in told
    told = refused(manifest, images_file, tmp_path, twice, measures="average_ce_pgd")
    assert "of the train split, which average_ce_pgd reads, got those of the test split; add such" in told


def test_images_of_fewer_examples_are_refused_with_the_number_to_ask_for(
    kept: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    with np.load(file_of(kept, "net0")) as archive:
        first = {name: archive[name][:12] for name in ("adversarial", "index", "label", "image_digest")}
    path = changed(
        file_of(kept, "net0"),
        tmp_path / "twelve.npz",
        **first | dict.fromkeys(("correct", "robust", "distance", "violation")),
    )
    assert "use --test-examples 12" in refused(manifest, images_file, tmp_path, path)
    options = {
        "attacks": "none",
        "measures": "clean_accuracy",
        "workers": 1,
        "radius": "1/8",
        "adversarial": path,
        "test_examples": 12,
    }
    run(f"{manifest}#net0", f"arrays:{images_file}", tmp_path / "out", **options)
    assert read_table(tmp_path / "out")["n_test"].tolist() == [12]


def test_images_without_the_digest_of_a_model_fit_any(
    kept: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    path = changed(file_of(kept, "net1"), tmp_path / "transfer.npz", model_digest=None)
    options = {"attacks": "none", "measures": "clean_accuracy", "workers": 1, "radius": "1/8", "adversarial": path}
    run([f"{manifest}#net0", f"{manifest}#net1"], f"arrays:{images_file}", tmp_path / "out", **options)
    table = read_table(tmp_path / "out").set_index("model_id")
    own = read_table(kept).set_index("model_id")["pgd_accuracy_test"]
    assert table.loc["net1", "supplied_accuracy_test"] == own["net1"]
    assert table.loc["net0", "supplied_accuracy_test"] > own["net0"]


def test_the_command_line_ends_with_status_2_and_one_line(
    kept: Path, manifest: Path, images_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", f"{manifest}#net0", "--dataset", f"arrays:{images_file}", "--out", str(tmp_path / "out")]
    arguments += ["--attacks", "none", "--measures", "clean_accuracy", "--workers", "1", "--radius", "1/8"]
    assert run_command_line([*arguments, "--adversarial", str(file_of(kept, "net1"))]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    paths = ",".join(str(path) for path in files(kept))
    assert run_command_line([*arguments, "--adversarial", paths]) == 0


def test_supplied_images_stand_in_for_pgd_alone() -> None:
    from measurebench.engine import plan

    options = RunOptions("digits", attacks="pgd,square")
    assert [attack.info.id for attack in plan.chosen_attacks(options)] == ["pgd", "square"]
    assert Supplied().info.examples == "pgd"
    with pytest.raises(BadInputError, match="no such file"):
        plan.chosen_attacks(replace(options, adversarial=("none.npz",)))
