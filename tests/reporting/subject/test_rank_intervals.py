import pandas as pd
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from measurebench.core.errors import BadInputError
from measurebench.reporting.subject.rank_intervals import frontier, frontiers_by_year, papers, ranked


def entries(*rows: tuple[str, float, float, int, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["model_id", "clean_accuracy", "robust_accuracy", "year", "paper_key"])


def test_intervals_are_wilsons_as_statsmodels_has_them() -> None:
    table = ranked(entries(*((str(i), 0.9, p, 2020, "p") for i, p in enumerate((0.0, 0.3, 0.7371)))))
    for i, successes in enumerate((0, 3000, 7371)):
        assert (table["low"][i], table["high"][i]) == pytest.approx(
            proportion_confint(successes, 10_000, method="wilson"), abs=1e-12
        )


def test_ties_share_a_rank() -> None:
    table = ranked(entries(("a", 0.9, 0.7, 2020, "p"), ("b", 0.9, 0.7, 2020, "q"), ("c", 0.9, 0.5, 2020, "r")))
    assert list(table["rank"]) == [1, 1, 3]


def test_ranks_are_as_open_as_newcombes_intervals_say() -> None:
    accuracies = (0.70, 0.695, 0.68)
    table = ranked(entries(*((str(i), 0.9, p, 2020, str(i)) for i, p in enumerate(accuracies))))
    low, _ = confint_proportions_2indep(7000, 10_000, 6950, 10_000, method="newcomb")
    assert low < 0
    low, _ = confint_proportions_2indep(6950, 10_000, 6800, 10_000, method="newcomb")
    assert low > 0
    assert list(zip(table["rank_best"], table["rank_worst"], strict=True)) == [(1, 2), (1, 2), (3, 3)]


def test_the_frontier_holds_what_none_beats_in_both() -> None:
    table = entries(
        ("a", 0.9, 0.5, 2019, "p"),
        ("b", 0.8, 0.6, 2020, "p"),
        ("c", 0.85, 0.55, 2021, "q"),
        ("d", 0.84, 0.5, 2021, "q"),
    )
    assert set(frontier(table)["model_id"]) == {"a", "b", "c"}


def test_the_frontier_of_a_year_knows_nothing_of_later_ones() -> None:
    table = entries(("a", 0.9, 0.5, 2019, "p"), ("b", 0.95, 0.6, 2020, "p"))
    by_year = frontiers_by_year(table)
    assert list(by_year[by_year["until"] == "2019"]["model_id"]) == ["a"]
    assert list(by_year[by_year["until"] == "2020"]["model_id"]) == ["b"]


def test_variants_fold_into_their_paper() -> None:
    table = entries(("a", 0.9, 0.5, 2019, "p"), ("b", 0.8, 0.6, 2020, "p"), ("c", 0.85, 0.55, 2021, "q"))
    folded = papers(table)
    assert list(folded["model_id"]) == ["b", "c"]
    assert list(folded["n_entries"]) == [2, 1]
    assert folded.loc[0, "weakest"] == 0.5


def test_a_column_that_is_missing_is_named() -> None:
    with pytest.raises(BadInputError, match="robust: expected a column of the leaderboard"):
        ranked(entries(("a", 0.9, 0.7, 2020, "p")), accuracy="robust")


def test_entries_without_an_accuracy_have_no_place() -> None:
    table = ranked(entries(("a", 0.9, float("nan"), 2020, "p"), ("b", 0.9, 0.7, 2020, "q")))
    assert table["rank"].isna().tolist() == [True, False]
    assert table[["rank_best", "rank_worst"]].iloc[0].isna().all()
    assert table[["rank_best", "rank_worst"]].iloc[1].tolist() == [1, 1]


def test_more_images_make_ranks_surer() -> None:
    table = entries(*((str(i), 0.9, p, 2020, str(i)) for i, p in enumerate((0.70, 0.695, 0.68))))
    assert ranked(table, n=100)["rank_worst"].tolist() == [3, 3, 3]
    assert ranked(table, n=10**7)["rank_worst"].tolist() == [1, 2, 3]
    low, high = (ranked(table, "robust_accuracy")[end] for end in ("low", "high"))
    assert ((low < table["robust_accuracy"]) & (table["robust_accuracy"] < high)).all()


def test_papers_come_best_first_with_their_range() -> None:
    table = entries(
        ("a", 0.9, 0.5, 2019, "p"), ("b", 0.8, 0.6, 2020, "p"), ("c", 0.8, 0.7, 2020, "q"), ("d", 0.8, 0.6, 2021, "r")
    )
    folded = papers(table)
    assert folded["model_id"].tolist() == ["c", "b", "d"]
    assert folded["weakest"].tolist() == [0.7, 0.5, 0.6]


def test_without_years_there_is_one_frontier() -> None:
    table = entries(("a", 0.9, 0.5, 2019, "p")).assign(year=float("nan"))
    found = frontiers_by_year(table)
    assert found["until"].tolist() == [""]
