"""Notes on missing values, on tables in which it is known where they lie."""

import numpy as np
import pandas as pd

from measurebench.stats.population.axes import usable_settings
from measurebench.stats.population.missing_values import missing_notes
from measurebench.stats.population.population import read_population
from tests.stats.tables import grid


def notes(table: pd.DataFrame) -> list[str]:
    read = read_population(
        table, target="robust_gap_pgd", measures=None, settings=None, defense="defense", run="run", cluster="cluster"
    )
    return missing_notes(usable_settings(read))


def test_missing_values_are_told_by_defense_where_they_are_concentrated() -> None:
    table = grid()
    at = table.index[table["defense"] == "AT"]
    table.loc[[*at[:9], 40], "signal"] = np.nan
    table.loc[::5, "noise"] = np.nan  # spread over the defenses
    table.loc[at[:4], "tied"] = np.nan  # all in one defense, but few
    assert notes(table) == [
        "signal has no value for 10 of 48 models; 9 of the 10 models without a value are AT, which has 16 models in "
        "all: what is said over all models is said of fewer AT models.",
        "noise has no value for 10 of 48 models.",
        "tied has no value for 4 of 48 models.",
    ]
    assert notes(table.drop(columns="defense"))[0] == "signal has no value for 10 of 48 models."


def test_a_large_defense_with_half_of_the_missing_values_is_not_named_for_its_size() -> None:
    table = grid().assign(defense=lambda t: t["defense"].where(t["defense"] == "AT", "TRADES"))  # 32 of 48 are TRADES
    table.loc[::6, "signal"] = np.nan
    assert notes(table) == ["signal has no value for 8 of 48 models."]


def test_infinite_values_are_counted_among_the_missing() -> None:
    table = grid()
    table.loc[table["defense"] == "MART", "signal"] = np.inf
    assert notes(table) == [
        "signal has no value for 16 of 48 models (16 infinite, or above 1e+300); 16 of the 16 models without a value "
        "are MART, which has 16 models in all: what is said over all models is said of no MART model."
    ]


def test_a_table_without_missing_values_has_no_note() -> None:
    assert notes(grid()) == []
