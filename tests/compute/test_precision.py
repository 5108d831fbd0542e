import os

import pytest
import torch
from torch import nn

from measurebench.compute.batch_size import automatic_batch_size
from measurebench.compute.devices import choose_device, n_workers
from measurebench.compute.numerics import numerics
from measurebench.core.errors import BadInputError


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)).eval()


def test_numerics_are_as_before_afterwards_also_when_something_raises() -> None:
    before = (torch.get_num_threads(), torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
    with pytest.raises(ZeroDivisionError), numerics("exact"):
        assert torch.get_num_threads() == 1
        assert not torch.backends.cudnn.allow_tf32
        raise ZeroDivisionError
    assert (torch.get_num_threads(), torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_batches_shrink_as_images_grow() -> None:
    small = automatic_batch_size(network(), torch.rand(1, 8, 8), "cpu")
    wide = nn.Sequential(nn.Conv2d(3, 512, 3, padding=1), nn.ReLU(), nn.Conv2d(512, 512, 3, padding=1))
    # Two outputs of 512 x 32 x 32 float32 and one ReLU's: 6 MiB an image, 18 MiB with room for the backward pass.
    assert small == 256
    assert automatic_batch_size(wide, torch.rand(3, 32, 32), "cpu") == 8


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(BadInputError, match="--device: expected auto, cpu, cuda or cuda:i, got 'gpu'"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == "cpu"
        with pytest.raises(BadInputError, match="a CUDA device of this machine"):
            choose_device("cuda:0")


def test_workers_are_one_per_core_or_per_gpu_and_never_more_than_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert [n_workers("auto", "auto", n) for n in (0, 1, 9)] == [1, 1, 6]
    assert n_workers(3, "cpu", 9) == 3
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [n_workers("auto", device, 9) for device in ("auto", "cuda", "cuda:1", "cpu")] == [2, 2, 1, 6]
    with pytest.raises(BadInputError, match="--workers: expected auto or a whole number, at least 1, got 0"):
        n_workers(0, "cpu", 9)
