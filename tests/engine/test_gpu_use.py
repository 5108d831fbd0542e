"""The use of a GPU: told on one, nothing on a CPU, and no reason to fail."""

from typing import Any

import pytest
import torch

from measurebench.engine.gpu_use import gpu_use
from tests.pretended import pretended_gpu
from tests.pretended.cuda import FREE_BYTES, NAME, TOTAL_BYTES


def test_a_cpu_has_none() -> None:
    assert gpu_use("cpu") is None


def test_a_gpu_tells_its_memory_and_how_busy_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEASUREBENCH_HOST", "node-7")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "utilization", lambda _device: 97)
    with pretended_gpu():
        use = gpu_use("cuda:0")
    assert use is not None
    assert (use.host, use.name, use.device, use.utilization) == ("node-7", NAME, "cuda:0", 97.0)
    assert (use.used_bytes, use.total_bytes) == (TOTAL_BYTES - FREE_BYTES, TOTAL_BYTES)
    assert 0 <= use.reserved_bytes <= TOTAL_BYTES


def test_without_the_package_that_asks_the_driver_only_the_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(_device: str) -> int:
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed or it can't be imported.")

    monkeypatch.setattr(torch.cuda, "utilization", lacking)
    with pretended_gpu():
        use = gpu_use("cuda:0")
    assert use is not None
    assert use.utilization is None
    assert use.total_bytes == TOTAL_BYTES


def test_a_worker_that_sees_one_gpu_of_several_tells_which_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_gpu():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
        assert [use.device for device in ("cuda:0", "cuda:1") if (use := gpu_use(device))] == ["cuda:3", "cuda:5"]


def test_a_driver_that_does_not_say_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_device: str) -> Any:
        raise RuntimeError("CUDA error: not supported")

    monkeypatch.setattr(torch.cuda, "mem_get_info", silent)
    assert gpu_use("cuda:0") is None
