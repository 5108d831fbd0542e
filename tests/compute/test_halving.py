"""Batches that shrink, and the switches and devices around them."""

import pytest
import torch
from torch import Tensor, nn

from measurebench.compute.batch_size import automatic_batch_size
from measurebench.compute.batching import Batches, out_of_memory, smaller_until_it_fits
from measurebench.compute.devices import choose_device, clock, is_lost, n_workers, workers_per_gpu
from measurebench.compute.numerics import full_precision, numerics
from measurebench.compute.precision import exact, searching
from measurebench.core.errors import BadInputError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("any words"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_lack_of_memory_is_told_by_class_or_by_the_words_of_a_runtime_error(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) is expected


def test_sizes_are_halved_down_to_the_first_that_fits() -> None:
    tried: list[int] = []

    def at_most(size: int) -> str:
        tried.append(size)
        if size > 4:
            raise MemoryError
        return f"done at {size}"

    assert smaller_until_it_fits(at_most, 37) == "done at 4"
    assert tried == [37, 18, 9, 4]


def test_a_size_of_one_that_does_not_fit_raises_and_other_errors_raise_at_once() -> None:
    tried: list[int] = []

    def failing(error: Exception) -> None:
        def function(size: int) -> None:
            tried.append(size)
            raise error

        smaller_until_it_fits(function, 5)

    with pytest.raises(MemoryError):
        failing(MemoryError())
    assert tried == [5, 2, 1]
    with pytest.raises(RuntimeError, match="shapes"):
        failing(RuntimeError("shapes do not match"))
    assert tried == [5, 2, 1, 5]


def test_rows_come_once_each_in_order_when_memory_runs_out_in_the_middle() -> None:
    images = torch.randn(11, 3, generator=torch.Generator().manual_seed(0))
    failures = iter([False, True, False, True])

    def sometimes(rows: slice) -> Tensor:
        if next(failures, False):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images[rows]

    batches = Batches(4)
    assert torch.equal(batches.cat(sometimes, 11), images)
    assert batches.smallest == 1


def test_the_last_batch_holds_what_is_left_and_no_rows_give_no_batch() -> None:
    widths = list(Batches(4).each(lambda rows: (rows.start, rows.stop), 10))
    assert widths == [(0, 4), (4, 8), (8, 10)]
    assert list(Batches(4).each(lambda rows: rows, 0)) == []


def test_the_same_work_starts_at_the_size_that_fitted_and_other_work_at_the_full_one() -> None:
    tried: list[int] = []

    def hungry(rows: slice) -> Tensor:
        tried.append(rows.stop - rows.start)
        if tried[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.zeros(tried[-1])

    batches = Batches(8)
    for _ in range(2):
        batches.cat(lambda rows: hungry(rows), 8)
    assert tried == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    assert list(batches.each(lambda rows: rows, 8)) == [slice(0, 8)]


@pytest.mark.parametrize(("features", "expected"), [(2**18, 64), (2**18 + 2**10, 64), (2**26, 1)])
def test_a_batch_is_the_largest_power_of_two_inside_the_budget(features: int, expected: int) -> None:
    # one output of float32 takes 4 bytes a feature and 12 with the backward pass; 2**28 / (12 * 2**18) = 85.3
    image = torch.zeros(1).expand(1, 1, features)
    assert automatic_batch_size(nn.Sequential(nn.Flatten()), image, "cpu") == expected


def test_hooks_are_removed_also_when_the_network_fails() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(5, 2))
    with pytest.raises(RuntimeError):
        automatic_batch_size(network, torch.zeros(1, 2, 2), "cpu")
    assert not any(module._forward_hooks for module in network.modules())


def test_workers_are_dealt_over_the_gpus_and_a_named_gpu_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [choose_device("auto", index) for index in range(4)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert [choose_device(word, 5) for word in ("cuda", "cuda:1", "cpu")] == ["cuda:2", "cuda:1", "cpu"]
    with pytest.raises(BadInputError, match="it has 3"):
        choose_device("cuda:3")


def test_workers_that_were_asked_for_share_a_gpu_and_auto_takes_one_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [n_workers(4, device, 9) for device in ("auto", "cuda", "cuda:0")] == [4, 4, 4]
    assert {choose_device("cuda", index) for index in range(4)} == {"cuda:0"}
    assert [workers_per_gpu(workers, "cuda") for workers in ("auto", 1, 4)] == [1, 1, 4]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [workers_per_gpu(4, device) for device in ("auto", "cuda", "cuda:1")] == [2, 2, 4]


def test_a_truth_value_is_no_number_of_workers() -> None:
    with pytest.raises(BadInputError, match="--workers"):
        n_workers(True, "cpu", 3)


def test_a_gpu_is_lost_to_its_faults_and_not_to_lack_of_memory_or_to_other_errors() -> None:
    assert is_lost(torch.AcceleratorError("CUDA error: unspecified launch failure"))
    assert not is_lost(torch.AcceleratorError("CUDA error: out of memory"))
    assert not is_lost(MemoryError())


def test_the_clock_does_not_run_backwards() -> None:
    readings = [clock("cpu") for _ in range(5)]
    assert readings == sorted(readings)


def switches() -> tuple[bool, ...]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark


def test_precisions_set_their_switches_and_nested_ones_give_them_back_after_an_error() -> None:
    before = switches()
    with numerics("fast"):
        assert switches() == (True, True, True, False)
        with pytest.raises(KeyError), full_precision():
            assert switches() == (False, False, True, False)
            raise KeyError
        assert switches() == (True, True, True, False)
    assert switches() == before


def test_a_searching_network_answers_for_the_judge_which_stays_inside() -> None:
    judge = nn.Linear(3, 2).eval()
    network = searching(judge, lambda images: 2 * judge(images))
    images = torch.ones(1, 3)
    assert not network.training
    assert torch.equal(network(images), 2 * judge(images))
    assert exact(network) is judge
    assert exact(judge) is judge
    assert list(network.parameters()) == list(judge.parameters())
