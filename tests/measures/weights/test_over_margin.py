import math

import pytest
import torch
from torch import nn

from measurebench.measures.outputs import margin_percentile
from measurebench.measures.registry import find_measure
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, linear_fixture

LOG_BASES = ["log_prod_of_fro", "log_sum_of_fro", "log_prod_of_spec", "log_sum_of_spec"]


@pytest.mark.parametrize("base", LOG_BASES)
@pytest.mark.parametrize("suffix", ["", "_pgd"])
def test_logarithms_lose_twice_that_of_the_margin(base: str, suffix: str) -> None:
    net, images, labels, attacked = linear_fixture()
    here = context(net, images, labels, adversarial=attacked)
    gamma = margin_percentile(here, "pgd" if suffix else "clean", 10).value
    found = find_measure(f"{base}_over_margin{suffix}")(here)
    assert found.value == pytest.approx(find_measure(base)(here).value - 2 * math.log(abs(gamma)), rel=1e-13)
    assert found.diagnostics["negative_margin"] == 1


def test_path_norm_is_divided_by_the_squared_margin() -> None:
    net, images, labels, _ = linear_fixture()
    here = context(net, images, labels)
    gamma = margin_percentile(here, "clean", 10)
    found = find_measure("path_norm_over_margin")(here)
    assert found.value == pytest.approx(find_measure("path_norm")(here).value / gamma.value**2, rel=1e-13)
    # d (P / g^2) / dg = -2 P / g^3
    assert found.standard_error == pytest.approx(abs(2 * found.value / gamma.value) * gamma.standard_error, rel=1e-12)


def test_main_terms_add_the_sum_of_ratios() -> None:
    net, images, labels, _ = linear_fixture()
    start = nn.Linear(4, 3).double().requires_grad_(False)
    here = context(net, images, labels, initial=start)
    sigma = float(torch.linalg.matrix_norm(net.weight, 2))
    gamma = margin_percentile(here, "clean", 10).value
    for name, way in (("log_spec_orig_main", net.weight), ("log_spec_init_main", net.weight - start.weight)):
        ratio = float(way.square().sum()) / sigma**2
        expected = 2 * math.log(sigma) - 2 * math.log(abs(gamma)) + math.log(ratio)
        assert find_measure(name)(here).value == pytest.approx(expected, rel=1e-12)


def test_no_way_from_initialisation_has_no_logarithm() -> None:
    net, images, labels, _ = linear_fixture()
    found = find_measure("log_spec_init_main")(context(net, images, labels, initial=net))
    assert found.value is None
    assert "distance is zero" in found.reason


def test_a_margin_of_zero_has_no_inverse() -> None:
    net = nn.Linear(2, 2).requires_grad_(False)
    net.weight.data, net.bias.data = torch.ones(2, 2), torch.zeros(2)
    with pytest.raises(UndefinedMeasureError, match="margin is zero"):
        find_measure("log_prod_of_fro_over_margin")(context(net, torch.rand(3, 2), torch.tensor([0, 1, 0])))
