"""The published networks compared in pairs: the card is that of the verdicts, and the tests are scipy's."""

import runpy

import pandas as pd
import pytest
from scipy.stats import binomtest

from measurebench.core.paths import data_folder
from measurebench.reporting.pairs.pairs_page import rank_in_pairs

FOLDER = data_folder("published-networks")
VERDICTS = FOLDER / "verdicts.parquet"
RADII = {"2/255": 2 / 255, "8/255": 8 / 255}


def test_the_figures_of_the_card_are_those_of_the_verdicts() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(FOLDER / "card.py"))["filled"](text) == text


def test_every_network_was_attacked_on_the_same_300_images() -> None:
    table = pd.read_parquet(VERDICTS)
    assert table.groupby(["model_id", "radius"])["index"].nunique().tolist() == [300] * 10
    assert len(table) == 3_000
    assert not (table["robust"] & ~table["correct"]).any()
    wide = table.pivot(index=["model_id", "index"], columns="radius", values="robust")
    assert list(wide.columns) == pytest.approx(sorted(RADII.values()))


@pytest.mark.parametrize("radius", RADII)
def test_every_p_value_is_that_of_the_exact_binomial_test(radius: str) -> None:
    table = pd.read_parquet(VERDICTS)
    table = table[(table["radius"] - RADII[radius]).abs() < 1e-9]
    robust = table.pivot(index="index", columns="model_id", values="robust")
    pairs = rank_in_pairs([VERDICTS], radius=radius).pairs
    assert len(pairs) == 10
    for row in pairs.to_dict("records"):
        only_first = int((robust[row["first"]] & ~robust[row["second"]]).sum())
        only_second = int((~robust[row["first"]] & robust[row["second"]]).sum())
        n = only_first + only_second
        expected = binomtest(only_first, n, 0.5).pvalue if n else 1.0
        assert row["p_value"] == pytest.approx(expected, abs=1e-12)
