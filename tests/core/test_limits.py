"""Small inputs that ask for endless work are refused at once, with the name of the limit and how to lift it."""

import io
import json
import os
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from measurebench.core import limits
from measurebench.core.errors import BadInputError
from measurebench.core.limits import LIMITS, Limit, LimitError
from measurebench.core.option_fields import read_toml
from measurebench.datasets import load_dataset
from measurebench.engine.options import RunOptions
from measurebench.gallery.subjects import read_class_names
from measurebench.models.checkpoint import read_checkpoint
from measurebench.models.manifest import read_manifest
from measurebench.models.states import candidates, fit, wrapper_prefix
from measurebench.reporting.figures.gallery import read_gallery
from measurebench.reporting.figures.pictures import read_picture
from measurebench.reporting.leaderboard.entries import leaderboard
from measurebench.stats.analysis_files import read_analysis
from measurebench.store.examples import read_arrays
from measurebench.store.tables import read_table
from measurebench.training.extra import with_extra_file
from measurebench.training.fleet import Source, train_all
from measurebench.training.grid import expand, read_grid
from measurebench.training.single import single_training


@contextmanager
def cheap(seconds: float = 10.0, megabytes: float = 200.0) -> Iterator[None]:
    """Bound what a refusal costs; the machine may be busy, so that the time is many times what is needed."""
    start = time.process_time()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < seconds
    assert peak < megabytes * 1e6


def test_every_limit_has_a_reason_and_a_variable_of_its_own() -> None:
    assert len({limit.variable for limit in LIMITS}) == len(LIMITS)
    assert all(limit.reason and limit.unit and limit.usual > 0 for limit in LIMITS)
    defined = {name for name, value in vars(limits).items() if isinstance(value, Limit)}
    assert {limit.name for limit in LIMITS} == defined


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_a_limit_names_itself_and_is_lifted_as_it_says(limit: Limit, monkeypatch: pytest.MonkeyPatch) -> None:
    limit.check(limit.usual, "x")
    with pytest.raises(LimitError) as caught:
        limit.check(limit.usual + 1, "x")
    told = str(caught.value)
    assert told.startswith(f"x: expected at most {limit.usual:,} {limit.unit}, got {limit.usual + 1:,}; {limit.reason}")
    name, value = told.rpartition(" ")[2].split("=")
    monkeypatch.setenv(name, value)
    limit.check(limit.usual + 1, "x")


def test_a_variable_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("many", "-1", "1e9", "٣", "9" * 30):
        monkeypatch.setenv("MEASUREBENCH_MAX_GRID_RUNS", wrong)
        with pytest.raises(BadInputError, match="MEASUREBENCH_MAX_GRID_RUNS: expected a whole number"):
            limits.GRID_RUNS.check(1, "x")


READERS = {
    "a table": lambda path: read_table(path.with_suffix(".csv")),
    "a table as JSON": lambda path: read_table(path.with_suffix(".json")),
    "a table as Parquet": lambda path: read_table(path.with_suffix(".parquet")),
    "a manifest": lambda path: read_manifest(path.with_suffix(".toml")),
    "a grid": lambda path: read_grid(path.with_suffix(".toml"), "digits"),
    "a configuration": lambda path: read_toml(RunOptions, path.with_suffix(".toml"), "run"),
    "arrays": lambda path: load_dataset(f"arrays:{path.with_suffix('.npz')}"),
    "extra images": lambda path: with_extra_file(load_dataset("digits"), str(path.with_suffix(".npz"))),
    "a picture": lambda path: read_picture(path.with_suffix(".png"), None),
    "names of classes": lambda path: read_class_names(path.with_suffix(".txt")),
    "a checkpoint": lambda path: read_checkpoint(path.with_suffix(".pt")),
    "a gallery": lambda path: read_gallery(path.parent),
    "an analysis": lambda path: read_analysis(path.parent),
    "the leaderboard": lambda path: leaderboard("Linf", path.parent),
}
SUFFIXES = (".csv", ".json", ".parquet", ".toml", ".npz", ".png", ".txt", ".pt")


@pytest.mark.parametrize("what", [name for name in READERS if name not in ("a checkpoint", "a gallery")])
def test_a_pipe_is_refused_and_never_waited_for(what: str, tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        os.mkfifo(tmp_path / f"pipe{suffix}")
    os.mkfifo(tmp_path / "analysis.json")
    with cheap(), pytest.raises(BadInputError, match="a pipe|no such file"):
        READERS[what](tmp_path / "pipe")


@pytest.mark.parametrize("what", ["a table", "a manifest", "a grid", "a configuration", "arrays", "a picture"])
def test_a_device_is_refused(what: str, tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    with cheap(), pytest.raises(BadInputError, match="a device"):
        READERS[what](tmp_path / "zero")


def test_a_pipe_among_the_summaries_of_training_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    os.mkfifo(tmp_path / "runs" / "other.json")
    runs = single_training({"defense": "Standard", "epochs": 1}, "digits")
    with cheap(), pytest.raises(BadInputError, match="a pipe"):
        train_all(runs, Source("digits"), tmp_path)


@pytest.mark.parametrize("what", ["a manifest", "a grid", "a configuration", "names of classes"])
def test_text_of_gigabytes_is_refused_by_its_size(what: str, tmp_path: Path) -> None:
    for suffix in (".toml", ".txt"):
        with (tmp_path / f"huge{suffix}").open("wb") as file:
            file.truncate(10**10)
    with cheap(), pytest.raises(LimitError, match="got 10,000,000,000; .*MEASUREBENCH_MAX_TEXT_BYTES=10000000000"):
        READERS[what](tmp_path / "huge")


@pytest.mark.parametrize("what", ["a manifest", "a grid", "a configuration"])
@pytest.mark.parametrize("depth", [100, 5000])
def test_deep_nesting_is_refused(what: str, depth: int, tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text("seed = " + "[" * depth + "]" * depth)
    with cheap(), pytest.raises(BadInputError):
        READERS[what](tmp_path / "deep")


def test_tables_in_tables_by_dotted_keys_are_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text(".".join(["a"] * 200) + " = 1\n")
    with cheap(), pytest.raises(LimitError, match="at most 64 levels of nesting"):
        read_manifest(tmp_path / "deep.toml")


# --- grids ---


@pytest.mark.parametrize(("axes", "n"), [(2, 10**6), (3, 10**9), (9, 10**27)])
def test_a_grid_is_counted_before_it_is_expanded(axes: int, n: int) -> None:
    names = ["epochs", "seed", "batch_size", "awp_warmup", "evaluate_every", "steps", "beta", "decay", "momentum"]
    grid = {"axes": {"defense": ["AT"], **{name: list(range(1000)) for name in names[:axes]}}}
    with cheap(), pytest.raises(LimitError, match=f"at most 50,000 runs, got {n:,};.*MAX_GRID_RUNS="):
        expand(grid, "digits", "grid.toml")


def test_blocks_of_a_grid_are_counted_together() -> None:
    block = {"defense": "AT", "seed": list(range(300)), "epochs": list(range(1, 100))}
    with cheap(), pytest.raises(LimitError, match="got 59,400"):
        expand({"runs": [block, block]}, "digits", "grid.toml")


def test_a_list_of_checkpoints_is_not_counted_and_an_empty_axis_means_no_run() -> None:
    assert len(expand({"axes": {"defense": ["AT"], "checkpoint": ["last", "best"]}}, "digits", "g")) == 1
    with pytest.raises(BadInputError, match="at least one run"):
        expand({"axes": {"defense": ["AT"], "seed": []}}, "digits", "g")


# --- arrays ---


def images(path: Path, **changed: np.ndarray) -> Path:
    x, y = np.zeros((4, 1, 8, 8), np.uint8), np.arange(4)
    np.savez_compressed(path, **{"x_train": x, "y_train": y, "x_test": x, "y_test": y} | changed)
    return path


@pytest.mark.parametrize("label", [10**6, 10**9, 2**62])
def test_one_huge_label_makes_no_huge_list_of_classes(label: int, tmp_path: Path) -> None:
    path = images(tmp_path / "a.npz", y_train=np.array([0, 1, 2, label]))
    with cheap(), pytest.raises(LimitError, match="labels: expected at most 100,000 classes"):
        load_dataset(f"arrays:{path}")


def bomb(path: Path, name: str, n_bytes: int) -> Path:
    """Write an archive with one member of zeros that compresses a thousand times."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": (n_bytes // 64, 1, 8, 8)}
        )
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for _ in range(n_bytes >> 20):
                member.write(bytes(1 << 20))
    return path


@pytest.mark.parametrize("key", ["x_train", "images"])
def test_an_archive_of_zeros_is_refused_before_it_is_unpacked(key: str, tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.npz", key, 200 << 20)
    assert path.stat().st_size < 300_000
    with cheap(), pytest.raises(LimitError, match="times its size when it is unpacked"):
        load_dataset(f"arrays:{path}") if key == "x_train" else with_extra_file(load_dataset("digits"), str(path))
    with cheap():
        assert read_arrays(path) is None


def test_an_array_that_says_it_is_larger_than_its_bytes_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 1, 8, 8)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", content.getvalue() + bytes(64))
    with cheap(), pytest.raises(BadInputError, match="arrays that are as large as they say, got an array 'x_train'"):
        load_dataset(f"arrays:{tmp_path / 'a.npz'}")


def test_arrays_within_the_limits_are_read(tmp_path: Path) -> None:
    path = images(tmp_path / "a.npz", x_extra=np.zeros((1, 1, 8, 8), np.uint8), y_extra=np.array([99_999]))
    assert load_dataset(f"arrays:{path}").n_classes == 100_000


# --- checkpoints ---


def safetensors(path: Path, n: int) -> Path:
    header = "{" + ",".join(f'"t{i}":{{"dtype":"F32","shape":[],"data_offsets":[0,0]}}' for i in range(n)) + "}"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    return path


@pytest.mark.parametrize(("n", "limit"), [(150_000, "TENSORS"), (1_000_000, "HEADER_BYTES")])
def test_a_header_of_a_million_tensors_is_refused(n: int, limit: str, tmp_path: Path) -> None:
    path = safetensors(tmp_path / "many.safetensors", n)
    with cheap(), pytest.raises(LimitError, match=f"MEASUREBENCH_MAX_{limit}="):
        read_checkpoint(path)


def test_a_long_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEASUREBENCH_MAX_PICKLE_BYTES", "100000")
    for legacy in (False, True):
        path = tmp_path / f"long-{legacy}.pt"
        torch.save({f"k{i}": i for i in range(20_000)}, path, _use_new_zipfile_serialization=not legacy)
        with cheap(), pytest.raises(LimitError, match="bytes of a pickle"):
            read_checkpoint(path)


def nested(breadth: int, depth: int) -> list:
    """Return lists in lists, each of which names one list many times, as a pickle of a few bytes can."""
    inner: list = [0] * breadth
    for _ in range(depth):
        inner = [inner] * breadth
    return inner


@pytest.mark.parametrize("depth", [3, 6])
def test_lists_that_name_one_list_a_thousand_times_are_looked_into_once(depth: int) -> None:
    with cheap():
        assert list(candidates(nested(2000, depth))) == []
        assert list(candidates({"a": {"b": nested(2000, depth)}, "c": tuple(nested(2000, depth))})) == []


def test_a_list_that_holds_itself_ends() -> None:
    loop: list = []
    loop.append(loop)
    table: dict = {"a": loop}
    table["b"] = table
    with cheap():
        assert list(candidates(table)) == []


def test_weights_under_shared_lists_are_still_found() -> None:
    weights = {"w": torch.ones(2)}
    assert [place for place, _ in candidates({"a": [weights, weights], "b": weights})] == [("b",), ("a", 0), ("a", 1)]


@pytest.mark.parametrize("key", ["." * 100_000 + "w", "module." * 15_000 + "w", "a." * 50_000 + "w", "1." * 50_000])
def test_a_key_of_a_hundred_thousand_dots_takes_no_square_of_the_time(key: str) -> None:
    state = {key: torch.ones(2), f"{key}.more": torch.ones(2)}
    with cheap(2), pytest.raises(BadInputError, match="the network lacks"):
        fit(torch.nn.Linear(2, 2), state, "x")


def test_a_file_of_nothing_but_a_normalisation_ends() -> None:
    state = {"mean": torch.zeros(3), "std": torch.ones(3)}
    with cheap(2):
        assert wrapper_prefix(["weight"], state) == ""
        with pytest.raises(BadInputError, match="2 the file lacks"):
            fit(torch.nn.Linear(2, 2), state, "x")


def test_copies_and_wrappers_are_recognised_as_before() -> None:
    network, x = torch.nn.Linear(2, 2), torch.ones(2)
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    twice = own | {f"copy.inner.{name}": tensor for name, tensor in own.items()}
    assert fit(network, twice, "x").extras.keys() == {"copy.inner.weight", "copy.inner.bias"}
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in own.items()}
    assert fit(network, wrapped | {"mean": x}, "x").prefix == "module._orig_mod."


# --- tables ---


def test_a_table_of_a_million_columns_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"m{i}" for i in range(1_000_000)) + "\n")
    with cheap(), pytest.raises(LimitError, match="at most 20,000 columns of a table, got 1,000,000"):
        read_table(path)


def test_a_table_of_empty_cells_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_bytes(b"a" + b",b" * 999 + b"\n" + (b"," * 999 + b"\n") * 25_000)
    with cheap(), pytest.raises(LimitError, match="at most 20,000,000 cells"):
        read_table(path)


def test_repeated_values_of_a_parquet_table_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "runs.parquet"
    pd.DataFrame({f"m{i}": np.zeros(1_000_000) for i in range(25)}).to_parquet(path, compression="zstd")
    assert path.stat().st_size < 1_000_000
    with cheap(), pytest.raises(LimitError, match="at most 20,000,000 cells of a table, got 25,000,000"):
        read_table(path)


def test_the_name_of_a_column_has_an_end(tmp_path: Path) -> None:
    pd.DataFrame({"m" * 5000: [1.0]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(LimitError, match="at most 1,000 characters of a name"):
        read_table(tmp_path / "t.csv")


def test_the_id_of_a_model_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(f'[[model]]\nid = "{"x" * 2000}"\nfile = "a.pt"\narchitecture = "vgg"\n')
    with pytest.raises(LimitError, match="models.toml: id: expected at most 1,000 characters"):
        read_manifest(tmp_path / "models.toml")


# --- pictures ---


def png(path: Path, width: int, height: int) -> Path:
    """Write a black PNG of any size in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj()
    rows = b"".join(packer.compress(bytes(width // 8 + 2)) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("size", [None, 32])
@pytest.mark.parametrize("side", [6_000, 12_000, 20_000])
def test_a_large_picture_is_refused_by_its_header(side: int, size: int | None, tmp_path: Path) -> None:
    path = png(tmp_path / "large.png", side, side)
    with cheap(), pytest.raises(LimitError, match="at most 25,000,000 pixels"):
        read_picture(path, size)


def test_a_picture_is_not_scaled_to_a_million_pixels_a_side(tmp_path: Path) -> None:
    path = png(tmp_path / "small.png", 8, 8)
    assert read_picture(path, 16).shape == (3, 16, 16)
    with cheap(), pytest.raises(LimitError, match="--size: expected at most 4,096"):
        read_picture(path, 1_000_000)


def test_a_gallery_that_is_a_pipe_counts_as_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gallery.json")
    with cheap():
        assert read_gallery(tmp_path) == ()
    (tmp_path / "gallery.json").unlink()
    (tmp_path / "gallery.json").write_text(json.dumps([]))
    assert read_gallery(tmp_path) == ()


def test_the_documentation_lists_every_limit() -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    for limit in LIMITS:
        assert f"| `{limit.variable}` | {limit.usual:,} {limit.unit} | {limit.reason} |" in page
