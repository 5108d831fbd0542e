import pytest
import torch

from measurebench.measures.perturbation import weight_noise
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


def test_large_noise_is_not_kept(monkeypatch):
    monkeypatch.setattr(weight_noise, "_KEPT_BYTES", 1 << 16)
    noise = WeightNoise({"w": torch.zeros(1 << 13)}, 0, "x")  # 32 KiB a draw
    first = noise[0]["w"].clone()
    for draw in range(4):
        noise[draw]
    assert len(noise._kept) == 2
    assert torch.equal(noise[0]["w"], first)


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
