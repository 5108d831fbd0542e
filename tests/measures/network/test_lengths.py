import pytest
import torch

from measurebench.measures.network import lengths
from measurebench.measures.network.lengths import length, squared_distance, squared_length, squared_lengths


def test_squares_are_added_in_float64_whatever_the_precision_and_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    # 2^24 + 1 has no float32: a sum in float32 would stop growing there
    ones = torch.ones(100, 3)
    ones[0, 0] = 2.0**12
    for chunk in (1, 7, 1 << 16):
        monkeypatch.setitem(lengths._CHUNK, "cpu", chunk)
        assert float(squared_length(ones)) == 2.0**24 + 299
        assert squared_lengths([ones, ones.double(), ones.T]).tolist() == [2.0**24 + 299] * 3


def test_differences_are_taken_in_float64() -> None:
    # in float32, 1 + 1e-4 - 2^-13 would be rounded to a multiple of 1.2e-7
    one, other = torch.tensor([1.0 + 1e-4, 5.0]), torch.tensor([2.0**-13, 2.0])
    expected = (float(one[0]) - 2.0**-13) ** 2 + 9
    assert float(squared_distance(one, other)) == pytest.approx(expected, rel=1e-15)


def test_a_chunk_leaves_nothing_in_the_memory_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = torch.arange(11.0), torch.arange(11.0).flip(0).double()  # differences -10, -8, ... 10
    for chunk in (1, 4, 11, 100):
        monkeypatch.setitem(lengths._CHUNK, "cpu", chunk)
        assert float(squared_length(one)) == 385
        assert float(squared_distance(one, other)) == 440
        assert float(squared_distance(other, one)) == 440
    assert one.tolist() == list(range(11))


def test_nothing_has_length_zero() -> None:
    assert length([]) == 0.0
    assert float(squared_length(torch.empty(0))) == 0.0
