import pytest
import torch

from measurebench.compute.batching import Batches


def test_a_batch_that_does_not_fit_is_halved_and_the_run_goes_on() -> None:
    tried: list[int] = []

    def at_most_three(rows: slice) -> torch.Tensor:
        tried.append(rows.stop - rows.start)
        if rows.stop - rows.start > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.arange(rows.start, rows.stop)

    batches = Batches(16)
    assert batches.cat(at_most_three, 10).tolist() == list(range(10))
    assert tried == [10, 5, 2, 2, 2, 2, 2]
    assert (batches.size, batches.smallest) == (16, 2)


def test_other_errors_and_single_rows_are_not_retried() -> None:
    def broken(_rows: slice) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    def hungry(_rows: slice) -> torch.Tensor:
        raise MemoryError

    with pytest.raises(RuntimeError, match="shapes"):
        Batches(4).cat(broken, 4)
    with pytest.raises(MemoryError):
        Batches(4).cat(hungry, 4)
