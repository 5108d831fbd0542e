import pytest
import torch

from measurebench.measures.registry import find_measure
from tests.measures.cases import context, examples, linear_fixture, network


def test_accuracy_of_the_linear_fixture_with_its_wilson_interval() -> None:
    net, images, labels, _ = linear_fixture()
    found = find_measure("clean_accuracy")(context(net, images, labels))
    assert found.value == pytest.approx(0.2)
    # centre (p + z^2 / 2n) / (1 + z^2 / n) = 0.3303..., half width 0.2941... for p = 1/5, n = 5, z = 1.96
    assert found.diagnostics["wilson_low"] == pytest.approx(0.03622, abs=1e-5)
    assert found.diagnostics["wilson_high"] == pytest.approx(0.62447, abs=1e-5)


def test_robust_examples_are_right_before_and_after_the_attack() -> None:
    net = network("convolutional")
    images, labels = examples(net)
    attacked = images.clone()
    attacked[1], attacked[2] = images[2], images[1]  # far outside the ball: these do not count as successes
    here = context(net, images, labels, adversarial=attacked)
    clean = find_measure("clean_accuracy")(here)
    robust = find_measure("pgd_accuracy")(here)
    assert robust.value == clean.value
    assert robust.diagnostics["n_violations"] == 2


def test_train_robust_accuracy_is_pgd_accuracy() -> None:
    net = network("residual")
    here = context(net, *examples(net))
    assert find_measure("train_robust_acc")(here).value == find_measure("pgd_accuracy")(here).value


def test_autoattack_runs_in_double_precision_too() -> None:
    net = network("wide")
    images, labels = examples(net, 3)
    labels = net(images).argmax(1)
    far = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    here = context(net, images, labels, adversarial=far)
    found = find_measure("autoattack_accuracy")(context(net, images, labels)).value
    assert 0 <= found <= find_measure("clean_accuracy")(here).value
