"""The tools of measures against closed forms, slow loops and networks made by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from measurebench.core.errors import BadInputError
from measurebench.measures.network.layers import squared_spectral_norms, weight_layers
from measurebench.measures.network.weight_blocks import (
    blocks_of,
    initial_blocks,
    layers_of,
    log_sum,
    squared_frobenius,
    squared_spectral,
    weight_value,
)
from measurebench.measures.outputs import entropies, logit_margins, probability_margins, scale_margin
from measurebench.measures.perturbation.noise_level import DisplacementSearch
from measurebench.measures.uncertainty import (
    correlation_error,
    jackknife_error,
    order_statistic,
    percentile_rank,
    root_mean,
)
from measurebench.measures.value import MeasureValue, UndefinedMeasureError
from tests.measures.cases import context, linear_fixture


def test_the_jackknife_of_a_variance_equals_a_slow_loop() -> None:
    values = [2.0, 3.0, 5.0, 11.0, 13.0]
    left_out = []
    for index in range(5):
        rest = values[:index] + values[index + 1 :]
        left_out.append(sum((x - sum(rest) / 4) ** 2 for x in rest) / 4)
    centre = sum(left_out) / 5
    expected = math.sqrt(4 / 5 * sum((x - centre) ** 2 for x in left_out))
    assert jackknife_error(torch.tensor(left_out, dtype=torch.float64)) == pytest.approx(expected, rel=1e-12)


def test_the_jackknife_of_an_extreme_is_the_error_of_its_order_statistic() -> None:
    values = torch.tensor([4.0, 1.0, 9.0, 6.0])
    largest = torch.stack([torch.cat([values[:i], values[i + 1 :]]).max() for i in range(4)])
    # left out once the largest is 6 and three times 9: sqrt(3 * 9 * 3 / 16) = 9 / 4
    assert jackknife_error(largest) == pytest.approx(9 / 4)
    assert order_statistic(values, 4).standard_error == pytest.approx(9 / 4)
    assert order_statistic(values, 1).standard_error == pytest.approx(9 / 4)


def test_ranks_of_whole_products_do_not_fall_to_rounding() -> None:
    assert [percentile_rank(n, 29) for n in (100, 200)] == [29, 58]


def test_the_error_of_a_correlation_is_twice_that_of_a_mean_and_needs_three_examples() -> None:
    # deviations -1, 0, 1: s = 1, and 2 / sqrt(3)
    assert correlation_error(torch.tensor([0.0, 1.0, 2.0])) == pytest.approx(2 / math.sqrt(3))
    assert correlation_error(torch.tensor([0.0, 1.0])) is None


def test_a_root_of_zero_has_no_error() -> None:
    found = root_mean(torch.zeros(4), steps=3)
    assert (found.value, found.standard_error, found.n, found.diagnostics) == (0.0, None, 4, {"steps": 3})


def test_margins_and_entropies_equal_loops() -> None:
    net, images, labels, _ = linear_fixture()
    seen = context(net, images, labels)
    logits = net(images).tolist()
    found = zip(logit_margins(seen, "clean"), probability_margins(seen, "clean"), entropies(seen, "clean"), strict=True)
    for row, label, (logit, probability, entropy) in zip(logits, labels.tolist(), found, strict=True):
        total = sum(math.exp(z) for z in row)
        p = [math.exp(z) / total for z in row]
        others = [k for k in range(3) if k != label]
        assert float(logit) == pytest.approx(row[label] - max(row[k] for k in others), rel=1e-12)
        assert float(probability) == pytest.approx(p[label] - max(p[k] for k in others), rel=1e-12)
        assert float(entropy) == pytest.approx(-sum(x * math.log(x) for x in p), rel=1e-12)


def test_a_margin_of_exactly_zero_scales_nothing() -> None:
    net = nn.Linear(2, 2)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    with pytest.raises(UndefinedMeasureError, match="is zero, so it has no inverse"):
        scale_margin(context(net, torch.rand(3, 2), torch.tensor([0, 1, 0])), "clean")


def test_a_power_of_the_level_is_crossed_at_its_root_with_the_slope_of_the_power() -> None:
    # the fall 8 s^3 is 1/8 at s = 1/4; its slope in log s is three times the fall
    found = DisplacementSearch(lambda s, _: 1 - 8 * s**3, 1.0, 0.125, largest=0.5, n_draws=1, tolerance=1e-4).find()
    assert found.level == pytest.approx(0.25, rel=1e-4)
    assert found.standard_error == 0


def test_no_level_is_evaluated_twice_for_a_draw() -> None:
    asked: list[tuple[float, int]] = []

    def curve(level: float, draw: int) -> float:
        asked.append((level, draw))
        return 1 - level * (1 + draw / 10)

    found = DisplacementSearch(curve, 1.0, 0.3, n_draws=3, tolerance=1e-5).find()
    # the mean fall over draws is 1.1 s
    assert found.level == pytest.approx(0.3 / 1.1, rel=1e-5)
    # the falls are s, 1.1 s and 1.2 s: their deviation is 0.1 s
    assert found.standard_error == pytest.approx(0.1 * found.level / math.sqrt(3), rel=1e-4)
    assert len(asked) == len(set(asked)) == found.n_evaluations


def chain(*weights: list[list[float]]) -> nn.Sequential:
    network = nn.Sequential()
    for rows in weights:
        layer = nn.Linear(len(rows[0]), len(rows), bias=False)
        layer.weight.data = torch.tensor(rows)
        network.append(layer)
    return network


def read(network: nn.Module, initial: nn.Module | None = None) -> tuple:
    return context(network, torch.rand(2, 2), torch.tensor([0, 1]), initial=initial), network


def test_weights_of_three_and_four_have_a_frobenius_norm_of_five() -> None:
    seen, _ = read(chain([[3.0, 0.0], [0.0, 4.0]], [[3.0, 4.0], [0.0, 0.0]]))
    assert squared_frobenius(blocks_of(seen, "ignore")).tolist() == [25, 25]
    assert squared_spectral(seen, "ignore").tolist() == pytest.approx([16, 25])
    assert log_sum(torch.tensor([16.0, 25.0]), ["0", "1"]) == pytest.approx(2 * math.log(20))


def test_a_spectral_norm_does_not_depend_on_which_side_is_longer() -> None:
    row: Tensor = torch.tensor([[2.0, 3.0, 6.0]])
    assert float(squared_spectral_norms(row)) == pytest.approx(49)
    assert float(squared_spectral_norms(row.mT)) == pytest.approx(49)


def test_a_convolution_has_one_row_per_channel_and_is_detached() -> None:
    layer = weight_layers(nn.Sequential(nn.Conv2d(2, 3, 2)))[0]
    assert (layer.name, layer.parameter, layer.groups, layer.n_out) == ("0", "0.weight", 1, 3)
    assert (layer.matrix.shape, layer.matrix.dtype, layer.weight.requires_grad) == ((3, 8), torch.float64, False)


def test_the_logarithm_of_a_zero_weight_names_its_layer() -> None:
    with pytest.raises(UndefinedMeasureError, match="layer 'head' is zero"):
        log_sum(torch.tensor([1.0, 0.0]), ["stem", "head"])


def test_initial_weights_go_by_the_present_names_and_must_have_the_same_shapes() -> None:
    seen, _ = read(chain([[3.0, 4.0], [0.0, 0.0]]), chain([[1.0, 0.0], [0.0, 1.0]]))
    assert initial_blocks(seen)["0"].tolist() == [[[1, 0], [0, 1]]]
    seen, _ = read(chain([[3.0, 4.0], [0.0, 0.0]]), chain([[1.0, 0.0]]))
    with pytest.raises(UndefinedMeasureError, match="different layers"):
        initial_blocks(seen)


def test_a_value_of_weights_reads_no_examples_and_counts_its_layers() -> None:
    seen, _ = read(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval())
    found = weight_value(seen, 5.0, power=2)
    assert (found.value, found.n) == (5.0, 0)
    assert found.diagnostics == {"n_layers": 1, "power": 2, "n_norms_ignored": 1}
    with pytest.raises(UndefinedMeasureError, match="no convolution"):
        layers_of(read(nn.Sequential(nn.Identity()))[0])


def test_a_mean_has_the_error_of_a_mean_and_one_example_has_none() -> None:
    found = MeasureValue.mean(torch.tensor([1.0, 2.0, 6.0]))
    # mean 3, deviations -2, -1, 3: s^2 = 7
    assert (found.value, found.n) == (3.0, 3)
    assert found.standard_error == pytest.approx(math.sqrt(7 / 3))
    assert MeasureValue.mean(torch.tensor([4.0])).standard_error is None
    with pytest.raises(BadInputError, match="one value for each example"):
        MeasureValue.mean(torch.ones(2, 2))


def test_what_is_not_finite_becomes_undefined_or_nothing_or_text() -> None:
    infinite = MeasureValue.mean(torch.tensor([1.0, math.inf]))
    assert (infinite.status, infinite.value, infinite.reason) == ("undefined", None, "the value is not finite (inf)")
    kept = MeasureValue(1.0, math.nan, diagnostics={"ratio": math.inf, "steps": 3}).checked()
    assert (kept.status, kept.standard_error, kept.diagnostics) == ("measured", None, {"ratio": "inf", "steps": 3})
