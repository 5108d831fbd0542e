"""Blocks of a model's work: what they hold, and that dividing a run changes no number."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from measurebench import read_records, run
from measurebench.core.records import Record
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import ThreatModel
from measurebench.datasets import Dataset, load_dataset
from measurebench.engine.model_run import measure_model
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Part, Task, chosen_measures, config_for, pairs_of
from measurebench.engine.scheduling.blocks import blocks_of_all, n_units
from measurebench.engine.scheduling.costs import CostModel
from measurebench.engine.scheduling.queue import BlockQueue
from measurebench.models import resolve
from measurebench.store.examples import read_arrays, verdict_path
from tests.attacks.short import shorten_autoattack

N = 280  # more than the 256 examples of one file of the store


@pytest.fixture(scope="module")
def many_images(images_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the images of the other tests seven times, each time a little darker."""
    data = dict(np.load(images_file))
    path = tmp_path_factory.mktemp("many") / "images.npz"
    darker = np.repeat(np.linspace(1, 0.7, 7, dtype=np.float32), 40)[:, None, None, None]
    for split in ("train", "test"):
        data[f"x_{split}"] = np.tile(data[f"x_{split}"], (7, 1, 1, 1)) * darker
        data[f"y_{split}"] = np.tile(data[f"y_{split}"], 7)
    np.savez(path, **data)
    return path


def options_for(images: Path, **more: Any) -> RunOptions:
    named: dict[str, Any] = {"measures": "average_ce_pgd,average_ce", "attacks": "pgd,fgsm,apgd-ce", "device": "cpu"}
    return RunOptions(f"arrays:{images}", **named | {"trust_code": True, "autoattack_examples": N} | more)


def tasks_for(models: Sequence[ModelSpec], options: RunOptions, dataset: Dataset) -> list[Task]:
    pairs = tuple((item.info.id, split) for item, split in pairs_of(chosen_measures(options), options))
    config = config_for(options, dataset, ThreatModel.parse("Linf", "1/20"), {"train": "", "test": ""})
    return [Task(spec, spec.id, config, pairs) for spec in models]


def measured(tasks: Sequence[Task], options: RunOptions, dataset: Dataset, out: Path, workers: int) -> dict[Any, Any]:
    """Return the values of a run whose workers take turns: each measures one block, then the next worker does."""
    if workers == 1:
        queue = BlockQueue(tasks)
    else:
        blocks = blocks_of_all(tasks, options, dataset)
        queue = BlockQueue(blocks, CostModel(options, dataset).seconds, workers=workers)
    records: list[Record] = []
    held: dict[int, Task] = {}
    while queue.waiting or held:
        for worker in range(workers):
            if (task := held.pop(worker, None)) is not None:
                records += [e.value for e in measure_model(task, options, dataset, out) if e.kind == "record"]
                queue.finished(task, worker)
            if (task := queue.take(worker)) is not None:
                held[worker] = task
    assert len(records) == sum(len(task.pairs) for task in tasks)
    return {
        (r.model_id, r.measure, r.split): (r.status, r.value, r.standard_error, r.n, dict(r.diagnostics))
        for r in records
    }


@pytest.fixture(scope="module")
def models(manifest: Path) -> list[ModelSpec]:
    return list(resolve([str(manifest)]))[:2]


def test_the_numbers_of_two_and_three_workers_that_divide_attacks_are_those_of_one(
    models: list[ModelSpec], many_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_autoattack(monkeypatch, apgd_steps=20)
    options = options_for(many_images)
    dataset = load_dataset(options.dataset)
    tasks = tasks_for(models, options, dataset)
    found = [measured(tasks, options, dataset, tmp_path / str(n), n) for n in (1, 2, 3)]
    assert found[0] == found[1] == found[2]
    assert all(status == "measured" for status, *_ in found[0].values())
    assert not list((tmp_path / "1").glob("blocks/**/*seconds*"))
    assert len(list((tmp_path / "3").glob("blocks/**/*seconds*"))) >= 2  # parts were searched
    for task in tasks:
        verdicts = [
            read_arrays(verdict_path(tmp_path / n, task.spec.id, task.config.digest(), "test", "apgd_ce_accuracy"))
            for n in "123"
        ]
        assert verdicts[0] is not None
        for name, values in verdicts[0].items():
            for other in verdicts[1:]:
                assert other is not None
                np.testing.assert_array_equal(other[name], values)


def test_a_model_is_divided_by_split_and_by_attack(models: list[ModelSpec], many_images: Path) -> None:
    options = options_for(many_images, split="both")
    dataset = load_dataset(options.dataset)
    blocks = blocks_of_all(tasks_for(models[:1], options, dataset), options, dataset)
    names = [(sorted({split for _, split in block.pairs}), len(block.pairs)) for block in blocks]
    assert names == [(["train"], 4), (["train"], 1), (["test"], 4), (["test"], 1), (["test"], 1)]
    assert [block.pairs[0][0] for block in blocks if len(block.pairs) == 1] == [
        "fgsm_accuracy",
        "fgsm_accuracy",
        "apgd_ce_accuracy",
    ]
    assert blocks[-1].parts == (
        Part("apgd_ce_accuracy", "test", 0, 256),
        Part("apgd_ce_accuracy", "test", 256, N),
    )
    assert all(block.parts == () for block in blocks[:-1])


def test_a_model_that_is_only_loaded_is_one_block(models: list[ModelSpec], many_images: Path) -> None:
    options = options_for(many_images)
    dataset = load_dataset(options.dataset)
    task = Task(models[0], "", tasks_for(models, options, dataset)[0].config, ())
    assert blocks_of_all([task], options, dataset) == [replace(task, block="load")]


def test_short_work_gets_one_worker_for_each_model_and_long_work_one_for_each_part(
    models: list[ModelSpec], many_images: Path
) -> None:
    options = options_for(many_images)
    dataset = load_dataset(options.dataset)
    tasks = tasks_for(models, options, dataset)
    blocks = blocks_of_all(tasks, options, dataset)
    assert n_units(tasks, blocks, lambda task: 0.1 * len(task.pairs)) == 2
    assert n_units(tasks, blocks, lambda task: 1e6 * len(task.pairs)) == sum(max(1, len(b.parts)) for b in blocks)


@pytest.mark.slow
def test_processes_that_divide_one_model_give_its_table_also_in_a_shared_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("measurebench.engine.scheduling.blocks.WORTH_SECONDS", 1e-9)
    found = []
    for name, named in (("1", {"workers": 1}), ("3", {"workers": 3}), ("shared", {"workers": 2, "shared": True})):
        chosen: dict[str, Any] = {"attacks": "pgd,apgd-ce", "measures": "average_ce_pgd", "test_examples": 300, **named}
        run("digits:plain-at-10-b64-s0-last", "digits", tmp_path / name, train_examples=100, **chosen)
        found.append(
            {r.key: (r.status, r.value, r.standard_error, r.diagnostics) for r in read_records(tmp_path / name)}
        )
        parts = list((tmp_path / name).glob("blocks/**/*seconds*"))
        assert len(parts) == (0 if name == "1" else 2)
    assert found[0] == found[1] == found[2]
