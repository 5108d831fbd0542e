"""Models ranked by verdicts on the same images: ranks, tiers and tests with answers counted by hand."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from measurebench.core.errors import BadInputError
from measurebench.stats.judging.paired import tiers
from measurebench.stats.judging.paired_ranking import PairedRanking, paired_ranking


def verdicts(robust: dict[str, list[bool]], **columns: object) -> pd.DataFrame:
    """A row per model and image, under PGD on digits unless told otherwise."""
    rows = [
        {"model_id": name, "index": place, "label": place % 3, "robust": value}
        for name, values in robust.items()
        for place, value in enumerate(values)
    ]
    told = {"dataset": "digits", "norm": "Linf", "radius": 0.15, "split": "test", "measure": "pgd_accuracy"}
    return pd.DataFrame(rows).assign(**{**told, **columns})


def several(n_models: int = 12, n: int = 200) -> dict[str, list[bool]]:
    """Models that fail on the hardest images of a common order, with some luck."""
    rng = np.random.default_rng(0)
    hard = rng.random(n)
    return {f"m{k:03}": list((hard + 0.1 * rng.normal(size=n)) < 0.3 + 0.5 * k / n_models) for k in range(n_models)}


@pytest.fixture(scope="module")
def ranking() -> PairedRanking:
    return paired_ranking(verdicts(several()))


def test_models_are_ranked_by_the_images_they_withstand(ranking: PairedRanking) -> None:
    counts = {name: sum(values) for name, values in several().items()}
    assert ranking.entries["robust"].tolist() == sorted(counts.values(), reverse=True)
    assert dict(zip(ranking.entries["model_id"], ranking.entries["robust"], strict=True)) == counts
    assert (ranking.attack, ranking.task, ranking.n) == ("pgd", "digits Linf 0.15", 200)


def test_every_pair_has_mcnemars_exact_test(ranking: PairedRanking) -> None:
    robust = {name: np.array(values) for name, values in several().items()}
    assert len(ranking.pairs) == 12 * 11 / 2
    for row in ranking.pairs.to_dict("records"):
        a, b = robust[row["first"]], robust[row["second"]]
        assert row["only_first"] == (a & ~b).sum()
        assert row["only_second"] == (b & ~a).sum()
        assert row["difference"] == pytest.approx(a.mean() - b.mean())
        table = [[(a & b).sum(), (a & ~b).sum()], [(b & ~a).sum(), (~a & ~b).sum()]]
        assert row["p_value"] == pytest.approx(mcnemar(table, exact=True).pvalue)


def test_tiers_are_those_of_the_list_of_tiers(ranking: PairedRanking) -> None:
    names = list(ranking.entries["model_id"])
    rows = np.array([several()[name] for name in names])
    assert ranking.tiers == tiers(names, rows)
    assert len(ranking.tiers) > 2


def test_pairing_finds_differences_that_accuracies_alone_do_not() -> None:
    """60 of 100 against 54 of 100: no difference by intervals, but the six images all go one way (p = 1/32)."""
    found = paired_ranking(verdicts({"a": [True] * 60 + [False] * 40, "b": [True] * 54 + [False] * 46}))
    (pair,) = found.pairs.to_dict("records")
    assert (pair["only_first"], pair["only_second"], pair["unpaired"]) == (6, 0, False)
    assert pair["p_value"] == pytest.approx(1 / 32)
    assert found.tiers == [["a"], ["b"]]
    assert found.entries["to_first"].iloc[1] == pytest.approx(-0.06)


def test_ties_share_a_rank_and_a_tier() -> None:
    found = paired_ranking(verdicts({"b": [True, False] * 5, "a": [True, False] * 5}))
    assert found.entries["model_id"].tolist() == ["a", "b"]
    assert found.entries["rank"].tolist() == [1, 1]
    assert found.pairs["p_value"].tolist() == [1.0]


def test_only_images_count_that_all_models_were_attacked_on() -> None:
    few = verdicts({"a": [True] * 10}).query("index >= 4")
    found = paired_ranking(pd.concat([few, verdicts({"b": [False] * 8})]))
    assert found.n == 4


def test_neighbours_are_the_models_that_follow_each_other(ranking: PairedRanking) -> None:
    names = list(ranking.entries["model_id"])
    found = ranking.neighbours()
    assert list(zip(found["first"], found["second"], strict=True)) == list(pairwise(names))


def test_the_strongest_attack_that_all_models_faced_counts() -> None:
    pgd = verdicts({"a": [True] * 4, "b": [True] * 4})
    strong = verdicts({"a": [False] * 4, "b": [True] * 4}, measure="autoattack_accuracy")
    assert paired_ranking(pd.concat([pgd, strong])).attack == "autoattack"
    assert paired_ranking(pd.concat([pgd, strong.query("model_id == 'a'")])).attack == "pgd"
    assert paired_ranking(pd.concat([pgd, strong]), attack="pgd").attack == "pgd"


def test_what_cannot_be_compared_is_refused() -> None:
    two = verdicts({"a": [True] * 4, "b": [True] * 4})
    with pytest.raises(BadInputError, match="two models or more"):
        paired_ranking(two.query("model_id == 'a'"))
    with pytest.raises(BadInputError, match="one with verdicts: pgd"):
        paired_ranking(two, attack="square")
    other = two.assign(model_id=two["model_id"] + "2", radius=0.3)
    with pytest.raises(BadInputError, match=r"choose one of them with --radius: 0\.15, 0\.3$"):
        paired_ranking(pd.concat([two, other]))
    assert len(paired_ranking(pd.concat([two, other]), radius="0.3").entries) == 2
    relabelled = two.assign(label=two["label"].where(two["model_id"] == "a", 9))
    with pytest.raises(BadInputError, match="several for image 0"):
        paired_ranking(relabelled)
    apart = pd.concat(
        [two.query("model_id == 'a'"), two.query("model_id == 'b'").assign(index=lambda t: t["index"] + 9)]
    )
    with pytest.raises(BadInputError, match="0 common images"):
        paired_ranking(apart)


def test_hundreds_of_models_take_seconds() -> None:
    found = paired_ranking(verdicts(several(120, 100)))
    assert len(found.pairs) == 120 * 119 / 2


def test_a_radius_that_no_model_was_attacked_at_is_told_with_those_that_are_there() -> None:
    with pytest.raises(BadInputError, match="a radius that models were attacked at: 0.15, got '8/255'"):
        paired_ranking(verdicts(several()), radius="8/255")
    with pytest.raises(BadInputError, match="verdicts with a column radius"):
        paired_ranking(verdicts(several()).drop(columns="radius"), radius="8/255")
    with pytest.raises(BadInputError, match="some on train images"):
        paired_ranking(verdicts(several()), split="train")


TWO = {"a": [True] * 4, "b": [True] * 4}


def test_contradicting_verdicts_of_one_model_and_image_are_refused() -> None:
    """Image 2 of b is robust in one row and broken in another: neither row may be believed."""
    other = verdicts({"b": [True, True, False, True]})
    with pytest.raises(BadInputError) as refused:
        paired_ranking(pd.concat([verdicts(TWO), other]))
    assert refused.value.got == "both robust and not robust under pgd for model 'b' on test image 2"
    assert "keep one of them, or give one another model_id" in refused.value.hint
    worse = verdicts({"b": [False] * 4})
    with pytest.raises(BadInputError, match="image 0, and 3 more such pairs"):
        paired_ranking(pd.concat([verdicts(TWO), worse]))


def test_verdicts_that_are_repeated_without_a_contradiction_count_once() -> None:
    found = paired_ranking(pd.concat([verdicts(TWO), verdicts(TWO)]))
    assert (found.n, found.entries["robust"].tolist()) == (4, [4, 4])


def test_of_two_configurations_of_a_model_the_first_counts() -> None:
    first = verdicts(TWO, config_digest="new")
    other = verdicts({"b": [False] * 4}, config_digest="old")
    assert paired_ranking(pd.concat([first, other])).entries["robust"].tolist() == [4, 4]
    with pytest.raises(BadInputError, match="one verdict for each model and image"):
        paired_ranking(pd.concat([first, other.assign(config_digest="new")]))
    with pytest.raises(BadInputError, match="one verdict for each model and image"):
        paired_ranking(pd.concat([first, other]).assign(config_digest=None))
    with pytest.raises(BadInputError, match="one verdict for each model and image"):
        paired_ranking(pd.concat([first, other.drop(columns="config_digest")]))
    told = paired_ranking(pd.concat([first, other, verdicts({"c": [True] * 4})]))
    assert told.entries["robust"].tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"dataset": "cifar10"}, "cifar10 Linf 0.15; digits Linf 0.15; the data sets differ: compare each group"),
        ({"norm": "L2"}, "digits L2 0.15; digits Linf 0.15; the norms differ: compare each group by itself"),
        ({"norm": None}, "digits (norm not stated) 0.15; digits Linf 0.15; the norms differ"),
        (
            {"radius": float("nan")},
            r"digits Linf (radius not stated); digits Linf 0.15; the radii differ: compare each",
        ),
        ({"norm": "L2", "radius": 0.5}, "digits L2 0.5; digits Linf 0.15; choose one of them with --radius: 0.15, 0.5"),
    ],
)
def test_a_mix_of_tasks_is_told_with_a_step_that_helps(changed: dict[str, object], told: str) -> None:
    """--radius is named only where each radius belongs to a single task."""
    other = verdicts({"c": [True] * 4, "d": [True] * 4}, **changed)
    mixed = pd.concat([verdicts(TWO), other], ignore_index=True)
    with pytest.raises(BadInputError) as refused:
        paired_ranking(mixed)
    assert told in str(refused.value)
    for radius in refused.value.hint.rpartition("--radius: ")[2].split(", ") if "--radius" in told else ():
        assert len(paired_ranking(mixed, radius=radius).entries) == 2


@pytest.mark.parametrize("name", ["model_id", "split", "measure", "label"])
def test_a_row_without_a_name_is_told_with_its_column_and_place(name: str) -> None:
    table = verdicts(TWO)
    table[name] = table[name].astype(object).where(~table.index.isin([2, 5]), None)
    with pytest.raises(BadInputError) as refused:
        paired_ranking(table)
    assert str(refused.value) == (
        f"verdicts: column {name!r}: expected a value in every row, got 2 without one, the first of them row 3; "
        "complete or remove these rows"
    )


def test_other_refusals_name_a_step_that_helps() -> None:
    two = verdicts(TWO)
    with pytest.raises(BadInputError, match="got verdicts on train images; choose them with --split train"):
        paired_ranking(two.assign(split="train"))
    with pytest.raises(BadInputError, match="got 1 model with 4 common images; name a source with another model"):
        paired_ranking(two.query("model_id == 'a'"))
    mixed = pd.concat([two.query("model_id == 'a'"), verdicts({"b": [True] * 4}, measure="square_accuracy")])
    with pytest.raises(BadInputError, match=r"of all 2 models, got pgd of 1, square of 1; name one with --attack"):
        paired_ranking(mixed)
    with pytest.raises(BadInputError, match="a table without measure"):
        paired_ranking(two.drop(columns="measure"))


def test_models_without_verdicts_of_the_attack_are_named() -> None:
    pgd = verdicts({"a": [True] * 4, "b": [True] * 4, "c": [True] * 4})
    strong = verdicts({"a": [False] * 4, "b": [True] * 4}, measure="autoattack_accuracy")
    both = pd.concat([pgd, strong])
    assert paired_ranking(both, attack="autoattack").left_out == ["c"]
    assert paired_ranking(both).left_out == []
    assert paired_ranking(pd.concat([pgd, verdicts({"d": [True]}, split="train")])).left_out == ["d"]
