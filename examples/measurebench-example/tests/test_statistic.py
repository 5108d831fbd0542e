import pandas as pd
import pytest

from measurebench.stats import analyze
from measurebench.testing import check_statistic


def test_the_statistic_keeps_the_contract_of_statistics() -> None:
    check_statistic("goodman_kruskal_gamma")


def test_gamma_counts_only_pairs_without_ties() -> None:
    # 10 pairs, two of them tied in the measure; of the other eight, six agree and two do not: gamma is 4/8.
    table = pd.DataFrame({"model_id": list("abcde"), "robust_gap_pgd": [1, 2, 3, 4, 5], "m": [1, 1, 3, 2, 2]})
    rows = analyze(table, bootstrap=20, permutations=19).correlations
    value = rows[(rows["statistic"] == "goodman_kruskal_gamma") & (rows["measure"] == "m")]["estimate"].item()
    assert value == pytest.approx(4 / 8)
