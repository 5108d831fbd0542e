"""Tables with other names: what each column is taken for, told and used alike."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from measurebench.core.columns import NOTES
from measurebench.core.errors import BadInputError
from measurebench.stats import Analysis, analyze
from measurebench.stats.population.explain import Taken, explain
from measurebench.stats.population.population import identified
from tests.stats.tables import grid


def odd(n: int = 27) -> pd.DataFrame:
    """Return a table of n models under the names that people use."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "Model Name": [f"net {k}" for k in range(n)],
            "Training method": [f"M{k // 3}" for k in range(n)],
            "Arch": ["RN18", "VGG", "WRN"] * (n // 3),
            "lr": [0.1, 0.01, 0.1] * (n // 3),
            "Batch size": [64, 128, 256] * (n // 3),
            "seed": range(n),
            "PGD-20 test acc (%)": rng.uniform(40, 60, n),
            "Robust gap (%)": rng.uniform(5, 40, n),
            "margin": rng.normal(size=n),
            "flatness": rng.normal(size=n),
            "unused": [np.nan] * n,
            "remark": ["ok"] * n,
        }
    )


def roles(table: pd.DataFrame, **options: Any) -> dict[str, str]:
    return {row.column: row.role for row in explain(table, **options)}


ROLES = {
    "Model Name": "id",
    "Training method": "defense",
    "Arch": "setting",
    "lr": "setting",
    "Batch size": "setting",
    "seed": "setting",
    "PGD-20 test acc (%)": "accuracy or gap",
    "Robust gap (%)": "target",
    "margin": "measure",
    "flatness": "measure",
    "unused": "ignored",
    "remark": "ignored",
}


def test_every_column_is_told_with_its_role() -> None:
    assert roles(odd(), target="Robust gap (%)") == ROLES


def test_a_missing_target_is_told_with_a_column_that_may_be_it() -> None:
    first = explain(odd())[0]
    assert (first.column, first.role, first.option) == ("(robust_gap_pgd)", "target", "--target")
    assert first.reason == "MISSING: the table has no such column; perhaps --target 'Robust gap (%)'"


def test_what_is_named_counts() -> None:
    named = roles(odd(), target="margin", measures=["seed"], settings=["remark"], id="remark", defense="Arch", run="lr")
    assert named == ROLES | {
        "Model Name": "identity",
        "Training method": "identity",
        "Arch": "defense",
        "lr": "run",
        "Batch size": "ignored",
        "seed": "measure",
        "Robust gap (%)": "accuracy or gap",
        "margin": "target",
        "flatness": "ignored",
        "remark": "id",
    }
    for option in ("defense", "run", "cluster", "id"):
        with pytest.raises(BadInputError, match="no such column"):
            explain(odd(), **{option: "nowhere"})


def test_text_that_hides_a_column_of_numbers_is_shown() -> None:
    table = odd().assign(margin=["large", *["1"] * 26])
    assert Taken("margin", "ignored", "text, such as 'large'", "--settings") in explain(table)


def test_the_columns_of_an_export_keep_their_roles() -> None:
    found = roles(grid())
    assert [name for name, role in found.items() if role == "measure"] == ["signal", "noise", "tied"]
    assert {found[n] for n in found if n.startswith("setting_")} == {"setting"}
    assert (found["model_id"], found["robust_gap_pgd"], found["defense"], found["run"]) == (
        "id",
        "target",
        "defense",
        "run",
    )


@pytest.fixture(scope="module")
def found() -> Analysis:
    table = odd()
    table.attrs[NOTES] = ["Column x: 1 entry ('-') taken for missing."]
    return analyze(table, target="Robust gap (%)", bootstrap=20, permutations=19)


def test_the_analysis_does_what_was_told(found: Analysis) -> None:
    assert found.measures == ("margin", "flatness")
    assert found.defense == "Training method"
    assert {"lr", "Training method"} <= set(found.settings)
    assert found.n_models == 27


def test_the_analysis_notes_what_was_taken_for_what(found: Analysis) -> None:
    assert found.notes[:2] == (
        "Column x: 1 entry ('-') taken for missing.",
        "Column Training method was taken for the defense.",
    )
    told = "\n".join(found.notes)
    assert "Columns taken for settings of training, not judged: lr, Batch size, seed; --measures names others." in told
    assert "Columns taken for accuracies or gaps, not judged: PGD-20 test acc (%)" in told
    assert "Columns empty, not judged: unused" in told


def test_models_are_named_by_the_column_that_says_so_or_that_is_named() -> None:
    assert identified(odd())["model_id"].tolist()[:2] == ["net 0", "net 1"]
    assert identified(odd(), "Arch")["model_id"].tolist()[:2] == ["RN18", "VGG"]
    repeated = odd().assign(**{"Model Name": "net"})
    assert identified(repeated)["model_id"].tolist()[:2] == ["row 1", "row 2"]
    both = odd().assign(name=[f"n{k}" for k in range(27)], model_id=range(27))
    assert identified(both)["model_id"].tolist()[:2] == ["0", "1"]
    assert identified(both, "name")["model_id"].tolist()[:2] == ["n0", "n1"]
    with pytest.raises(BadInputError, match="id 'nowhere'"):
        identified(odd(), "nowhere")


def test_the_named_id_is_on_record() -> None:
    options: dict[str, Any] = {"target": "Robust gap (%)", "bootstrap": 20, "permutations": 19}
    named = analyze(odd().assign(code=[f"c{k}" for k in range(27)]), id="code", **options)
    assert named.provenance["id"] == "code"
    assert set(named.residuals["model_id"]) <= {f"c{k}" for k in range(27)}
