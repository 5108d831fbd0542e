import pytest
import torch

from measurebench.measures.perturbation import normals
from measurebench.measures.perturbation.weight_noise import Perturbed, WeightNoise, length, on_spheres, shifted
from tests.golden import flatness_reference as reference
from tests.measures.flatness.nets import examples, network


def tensors(dtype):
    return {"a": torch.zeros(3, 5, dtype=dtype), "b": torch.zeros(40, dtype=dtype)}


def test_noise_is_the_same_in_both_precisions_and_on_a_second_asking():
    single, double = (WeightNoise(tensors(t), 0, "x")[2] for t in (torch.float32, torch.float64))
    again = WeightNoise(tensors(torch.float64), 0, "x")[2]
    for name in single:
        assert torch.equal(single[name].double(), double[name])
        assert torch.equal(again[name], double[name])


def test_draws_streams_and_seeds_differ():
    like = tensors(torch.float32)
    cases = [(0, "x", 0), (0, "x", 1), (0, "y", 0), (1, "x", 0)]
    found = [WeightNoise(like, seed, stream)[draw]["b"] for seed, stream, draw in cases]
    assert all(not torch.equal(a, b) for i, a in enumerate(found) for b in found[:i])


@pytest.mark.parametrize("chunk", [1, 3, 4, 100])  # hashes; each gives two numbers
def test_parts_of_a_draw_put_together_are_the_draw(chunk, monkeypatch):
    noise = WeightNoise({**tensors(torch.float64), "none": torch.zeros(0), "c": torch.zeros(1)}, 0, "x")
    whole = noise[1]
    monkeypatch.setitem(normals._CHUNK, "cpu", chunk)
    found = {name: torch.full((tensor.numel(),), torch.nan) for name, tensor in noise.like.items()}
    for name, entries, numbers in noise.parts(1):
        assert len(numbers) == entries.stop - entries.start <= 2 * chunk
        found[name][entries] = numbers
    for name, tensor in whole.items():
        assert torch.equal(found[name].to(tensor), tensor.flatten())


def test_numbers_run_on_from_tensor_to_tensor_and_nothing_gives_nothing():
    found = WeightNoise(tensors(torch.float32), 3, "x")[1]
    expected = torch.tensor(reference.normal_numbers(55, 3, "x", 1))
    assert torch.equal(torch.cat([found["a"].flatten(), found["b"]]), expected)
    assert WeightNoise({}, 0, "x")[0] == {}


def test_signs_are_plus_or_minus_one():
    values = WeightNoise(tensors(torch.float32), 0, "x").signs(0)["b"]
    assert set(values.tolist()) == {-1.0, 1.0}


def test_spheres_have_the_relative_radius():
    weights = {"w": torch.tensor([3.0, 4.0], dtype=torch.float64), "zero": torch.zeros(2, dtype=torch.float64)}
    noise = {"w": torch.tensor([1.0, 1.0]).double(), "zero": torch.ones(2).double()}
    found = on_spheres(weights, noise, 0.5)
    assert length([found["w"]]) == pytest.approx(2.5)
    assert length([found["zero"]]) == 0


def test_perturbed_computes_with_other_weights_and_leaves_the_network_alone():
    net = network("residual")
    images, _ = examples(net, 4)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    parameters = dict(net.named_parameters())
    moved = Perturbed(net, shifted(parameters, {"conv1.weight": torch.ones_like(parameters["conv1.weight"])}))
    assert not torch.allclose(moved(images), net(images))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.equal(Perturbed(net, parameters)(images), net(images))
