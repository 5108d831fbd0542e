"""Predictions and the use of GPUs, from lines of costs with known answers."""

from pathlib import Path
from typing import Any

import pytest

from measurebench.store.gpu_uses import GpuUse, gpu_uses
from measurebench.store.journal import Journal
from measurebench.store.predictions import predictions, predictions_text


def cost(predicted: Any, seconds: Any) -> dict[str, Any]:
    return {"predicted": predicted, "seconds": seconds}


def gpu(device: str, time: str, utilization: float | None = 97.0) -> dict[str, Any]:
    use = GpuUse("here", "H100", device, 3 << 30, 8 << 30, 2 << 30, utilization, time)
    return {"gpu": use.to_json()}


def test_the_median_ratio_and_the_factor_of_nine_blocks_in_ten_are_told() -> None:
    found = predictions([cost(2.0, 2.0 * factor) for factor in (1, 1, 1, 1, 1, 1.5, 1.25, 0.5, 4, 100)])
    assert found is not None
    assert (found.n_blocks, found.ratio, found.factor_90) == (10, 1.0, 4.0)
    assert found.predicted_seconds == 20.0
    assert found.seconds == pytest.approx(2 * 112.25)


def test_half_the_predicted_time_is_as_far_off_as_twice() -> None:
    half, twice = predictions([cost(4.0, 2.0)]), predictions([cost(2.0, 4.0)])
    assert half is not None
    assert twice is not None
    assert (half.ratio, twice.ratio) == (0.5, 2.0)
    assert half.factor_90 == twice.factor_90 == 2.0
    assert str(half) == "measured over predicted seconds: median 0.5, 90 % within a factor of 2, over 1 block"


def test_what_is_no_time_is_no_block() -> None:
    odd = (0, -1.0, True, None, "1", float("inf"), float("nan"), 1e-320, 10**400, [])
    assert predictions([*(cost(1.0, value) for value in odd), *(cost(value, 1.0) for value in odd), {}]) is None


def test_large_ratios_are_told_in_plain_digits() -> None:
    assert "median 1234," in predictions_text(2, 1234.4, 1.0)


def test_each_gpu_counts_with_its_latest_use_of_this_run() -> None:
    lines = [gpu("cuda:1", "3"), gpu("cuda:0", "5", utilization=None), gpu("cuda:0", "4"), gpu("cuda:2", "1"), {}]
    found = gpu_uses(lines, since="2")
    assert [(use.device, use.time, use.utilization) for use in found] == [("cuda:0", "5", None), ("cuda:1", "3", 97.0)]


@pytest.mark.parametrize(
    "change",
    [{"host": 1}, {"time": None}, {"used_bytes": "1"}, {"total_bytes": -1}, {"utilization": 101}, {"utilization": "7"}],
)
def test_a_use_that_is_told_badly_is_left_out(change: dict[str, Any]) -> None:
    assert gpu_uses([{"gpu": gpu("cuda:0", "1")["gpu"] | change}, {"gpu": "H100"}]) == []


def test_the_last_lines_of_a_journal_are_whole_and_undamaged(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "costs.jsonl")
    assert journal.last(100) == []
    for n in range(20):
        journal.append({"n": n})
    assert [value["n"] for value in journal.last(10_000)] == list(range(20))
    line = len((tmp_path / "costs.jsonl").read_bytes().splitlines()[-1]) + 1
    assert [value["n"] for value in journal.last(3 * line - 2)] == [18, 19]
    content = (tmp_path / "costs.jsonl").read_bytes()
    (tmp_path / "costs.jsonl").write_bytes(content.replace(b'"n": 18', b'"n": 81'))
    assert [value["n"] for value in journal.last(3 * line - 2)] == [19]
