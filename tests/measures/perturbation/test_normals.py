import numpy as np
import pytest
import torch
from scipy.special import ndtr

from measurebench.measures.perturbation import normals as module
from measurebench.measures.perturbation.compiled_normals import filler
from measurebench.measures.perturbation.normals import normals
from tests.golden import flatness_reference as reference

CPU = torch.device("cpu")


def test_the_hash_is_splitmix64():
    """The first outputs of the published generator for seed 1234567."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    steps = torch.arange(1, 5) * module._GAMMA + 1234567
    module._hash(steps, torch.empty_like(steps))
    assert [value % 2**64 for value in steps.tolist()] == published


@pytest.fixture(params=["torch", "compiled"])
def _either_loop(request, monkeypatch):
    monkeypatch.setattr(module, "_BREAK_EVEN", -1 if request.param == "compiled" else 1 << 62)


@pytest.mark.usefixtures("_either_loop")
@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_numbers_are_those_of_a_slow_loop(n):
    assert normals(n, CPU, 5, "stream", 2).tolist() == reference.normal_numbers(n, 5, "stream", 2)


def test_the_size_of_a_chunk_changes_nothing(monkeypatch):
    whole = normals(1001, CPU, "x")
    monkeypatch.setitem(module._CHUNK, "cpu", 7)
    assert torch.equal(normals(1001, CPU, "x"), whole)


def test_a_process_that_draws_many_numbers_compiles_the_loop_and_their_last_bits_stay(monkeypatch):
    n = 3 * (1 << 16) + 5
    monkeypatch.setattr(module, "_drawn", 0)
    monkeypatch.setattr(module, "_BREAK_EVEN", 2 * n)
    monkeypatch.setattr(module, "_EACH_DRAW", 0)
    used = []
    monkeypatch.setattr(module, "filler", lambda: used.append(True) or filler())
    first, second, third = (normals(n, CPU, "many") for _ in range(3))
    assert len(used) == 1
    assert torch.equal(first, second)
    assert torch.equal(first, third)


def test_the_distribution_is_as_near_to_the_normal_one_as_is_said():
    table = module._table(CPU).double().numpy()
    points = np.linspace(-6.2, 6.2, 249)
    below = [np.searchsorted(table, x - table, side="right").mean() / len(table) for x in points]
    assert np.abs(below - ndtr(points)).max() < 7.7e-6
    assert 2 * (table**2).mean() == pytest.approx(1, abs=1e-7)
    assert 2 * (table**4).mean() + 6 * (table**2).mean() ** 2 == pytest.approx(2.9996, abs=1e-4)
    assert 2 * table.max() == pytest.approx(6.1, abs=0.05)
    assert (table == -table[::-1]).all()


def test_numbers_look_independent_and_normal():
    n = 1 << 18
    found = normals(n, CPU, 0, "independence").double()
    scale = n**-0.5
    assert abs(float(found.mean())) < 4 * scale
    assert abs(float(found.square().mean()) - 1) < 4 * 2**0.5 * scale
    for lag in (1, 2, 3, 64):
        assert abs(float((found[lag:] * found[:-lag]).mean())) < 4 * scale
    other = normals(n, CPU, 1, "independence").double()
    assert abs(float((found * other).mean())) < 4 * scale
