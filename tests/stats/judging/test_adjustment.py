import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from measurebench.stats.judging.adjustment import holm


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_holm_equals_statsmodels_with_ties_and_large_values(n: int) -> None:
    p = np.random.default_rng(n).integers(0, 30, n) / 30
    assert np.array_equal(holm(p), multipletests(p, method="holm")[1])
