"""A run on the pretended GPU, from the file to the records: loading, preflight, placing, measuring, writing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from measurebench.compute import memory
from measurebench.compute.batch_size import automatic_batch_size
from measurebench.compute.numerics import numerics
from measurebench.datasets import load_dataset
from measurebench.engine.model_run import DeviceLostError, measure_model
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Task, chosen_measures, config_for, pairs_of
from measurebench.models import load_model, preflight
from tests.pretended import pretended_gpu
from tests.pretended.cuda import NAME
from tests.pretended.subjects import on_both, same

MEASURES = "average_ce_pgd,pacbayes_flat_pgd,log_prod_of_spec,path_norm"


def logits(device: str, manifest: Path, images_file: Path) -> torch.Tensor:
    """Load a network, place it, try it, and return its logits."""
    loaded = load_model(f"{manifest}#net1")
    test = load_dataset(f"arrays:{images_file}").test.first(8)
    images, labels = torch.from_numpy(test.images).to(device), torch.from_numpy(test.labels).to(device)
    with numerics("exact"):
        network = loaded.network.to(device)
        preflight(network, images, labels, 5)
        return network(images)


def test_a_loaded_and_placed_network_passes_its_preflight(manifest: Path, images_file: Path) -> None:
    plain, there = on_both(lambda device: logits(device, manifest, images_file))
    assert there.is_cuda
    assert same(plain, there)


def test_the_batch_size_is_chosen_from_one_image(manifest: Path, images_file: Path) -> None:
    image = torch.from_numpy(load_dataset(f"arrays:{images_file}").test.images[0])
    with pretended_gpu():
        network = load_model(f"{manifest}#net1").network.to("cuda")
        assert automatic_batch_size(network, image.to("cuda"), "cuda:0") >= 256


def running(device: str, manifest: Path, images_file: Path, out: Path, **options: Any) -> Iterator[Any]:
    """Yield the events of one model's run in this process."""
    chosen = RunOptions(
        f"arrays:{images_file}", measures=MEASURES, attacks="pgd", device=device, batch_size=16, **options
    )
    dataset = load_dataset(chosen.dataset)
    spec = load_model(f"{manifest}#net1").spec
    digests = {"train": dataset.train.digest(), "test": dataset.test.digest()}
    config = config_for(chosen, dataset, spec.threat_model, digests)
    pairs = tuple((item.info.id, split) for item, split in pairs_of(chosen_measures(chosen), chosen))
    yield from measure_model(Task(spec, "", config, pairs), chosen, dataset, out)


def records(found: list[Any]) -> dict[tuple[str, str], tuple[Any, ...]]:
    kept = [event.value for event in found if event.kind == "record"]
    return {(r.measure, r.split): (r.status, r.value, r.standard_error, r.reason) for r in kept}


def test_a_run_writes_on_the_gpu_the_records_that_it_writes_on_the_cpu(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    plain, there = on_both(lambda device: list(running(device, manifest, images_file, tmp_path / device)))
    assert records(plain) == records(there)
    assert {status for status, *_ in records(there).values()} == {"measured"}
    assert there[0].value["device"] == NAME
    [on_cpu], [on_gpu] = ([event.value.gpu for event in found if event.kind == "block"] for found in (plain, there))
    assert on_cpu is None
    assert (on_gpu.name, on_gpu.device) == (NAME, "cuda:0")


def test_one_of_four_workers_on_a_gpu_writes_the_same_records_and_takes_a_quarter_of_the_memory(
    manifest: Path, images_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_SHARING", [1])
    with pretended_gpu():
        alone = records(list(running("cuda", manifest, images_file, tmp_path / "alone")))
        assert memory._SHARING == [1]
        beside = records(list(running("cuda", manifest, images_file, tmp_path / "beside", workers=4)))
    assert beside == alone
    assert memory._SHARING == [4]


def lose_device() -> None:
    """Let every later wait for the device find that an earlier kernel has failed."""

    def failing(*_device: Any) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    torch.cuda.synchronize = failing  # what stands in for torch.cuda is put back at the end of the block


def test_an_error_that_shows_between_two_measures_becomes_a_record(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    found: list[Any] = []
    with pretended_gpu(), pytest.raises(DeviceLostError):
        for event in running("cuda", manifest, images_file, tmp_path):
            found.append(event)
            if event.kind == "record" and len(records(found)) == 1:
                lose_device()
    kept = list(records(found).values())
    assert len(kept) == 2
    assert kept[1][0] == "failed"
    assert "illegal memory access" in kept[1][3]
