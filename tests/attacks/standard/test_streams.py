import torch

from measurebench.attacks import noise
from measurebench.attacks.standard import streams

KEYS = torch.tensor([3, 2**40, -5])


def test_a_stream_goes_on_where_the_noise_of_the_attacks_begins() -> None:
    start = torch.zeros(3, dtype=torch.int64)
    assert torch.equal(streams.uniform(KEYS, start, (4, 5), 1, "a"), noise.uniform(KEYS, (4, 5), 1, "a"))
    assert torch.equal(streams.normal(KEYS, start, (6,), 1, "a"), noise.normal(KEYS, (6,), 1, "a"))


def test_every_row_reads_from_its_own_place() -> None:
    whole = noise.uniform(KEYS, (40,), 0, "b")
    places = torch.tensor([0, 7, 30])
    part = streams.uniform(KEYS, places, (2, 3), 0, "b")
    for row, place in enumerate(places.tolist()):
        assert torch.equal(part[row].flatten(), whole[row, place : place + 6])


def test_precision_does_not_change_the_numbers() -> None:
    place = torch.tensor([1, 2, 3])
    single = streams.uniform(KEYS, place, (9,), "c")
    assert torch.equal(single.double(), streams.uniform(KEYS, place, (9,), "c", dtype=torch.float64))
