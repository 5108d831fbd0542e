import numpy as np
import pytest
import torch

from measurebench.measures.margins.feature_rank import FeatureRank, effective_rank
from measurebench.measures.network.features import features
from measurebench.measures.uncertainty import grouped_jackknife, jackknife_error
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, examples, network


def test_a_matrix_of_rank_one_has_effective_rank_one() -> None:
    column = torch.arange(1, 6, dtype=torch.float64)
    assert float(effective_rank(column[:, None] * column[:3])) == pytest.approx(1, abs=1e-12)


def test_singular_values_three_and_one_have_a_known_rank() -> None:
    # shares 3/4 and 1/4: exp of the entropy is 4 / 3^(3/4)
    assert float(effective_rank(torch.diag(torch.tensor([3.0, 1.0]).double()))) == pytest.approx(4 / 3**0.75, rel=1e-12)


def test_it_is_numpy_s_entropy_of_the_features() -> None:
    net = network("residual")
    here = context(net, *examples(net), batch_size=5)
    singular = np.linalg.svd(features(here, "clean").numpy(), compute_uv=False)
    shares = singular / singular.sum()
    shares = shares[shares > 0]
    assert FeatureRank()(here).value == pytest.approx(float(np.exp(-(shares * np.log(shares)).sum())), rel=1e-9)


def test_features_of_zeros_have_no_rank() -> None:
    net = network("wide")
    net[1].weight.zero_(), net[1].bias.zero_()
    with pytest.raises(UndefinedMeasureError, match="zero"):
        FeatureRank()(context(net, *examples(net)))


def test_groups_of_one_example_are_the_plain_jackknife() -> None:
    values = torch.tensor([1.0, 5.0, 2.0, 7.0], dtype=torch.float64)
    keys = torch.tensor([9, 3, 5, 1])
    left_out = torch.stack([(values.sum() - v) / 3 for v in values])
    found = grouped_jackknife(lambda kept: float(values[kept].mean()), keys)
    assert found == pytest.approx(jackknife_error(left_out), rel=1e-12)
    assert found == pytest.approx(float(values.std()) / 2, rel=1e-12)  # for a mean it is s / sqrt(n)
