import json
from pathlib import Path

import pandas as pd
import pytest

from measurebench.reporting.leaderboard import joined, leaderboard_page, prepared, sections
from measurebench.reporting.leaderboard_data import leaderboard
from tests.reporting.test_leaderboard_data import SHARED, write_entry
from tests.reporting.test_page import data_of


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("info")
    for i, name in enumerate(leaderboard("Linf")["model_id"]):
        extra = {"external": "40.0"} if i == 3 else {}
        footnote = "<b onmouseover=alert(1)>bold</b><script>alert(1)</script>"
        write_entry(folder, name, autoattack_acc=f"{70 - i / 2}", reported=f"{71 - i / 3}", footnote=footnote, **extra)
    return prepared(leaderboard("Linf", folder))


def test_all_charts_of_the_analysis_are_drawn(rich: pd.DataFrame) -> None:
    found = {figure.id for section in sections(rich, []) for figure in section.figures}
    assert found == {
        "ranking", "best-known", "reported", "overestimation", "overestimation-venue", "clean", "year", "parameters",
        "venue", "papers",
    }  # fmt: skip


def test_the_installed_package_alone_gives_a_page() -> None:
    page = leaderboard_page(prepared(leaderboard("L2")), "L2", [])
    assert data_of(page)["datasets"]["models"]["n"] == 21


def test_footnotes_with_markup_change_nothing(rich: pd.DataFrame) -> None:
    page = leaderboard_page(rich, "Linf", [])
    assert "onmouseover" not in page
    assert page.count("</script>") == 3


def test_the_same_leaderboard_gives_the_same_bytes(rich: pd.DataFrame) -> None:
    assert leaderboard_page(rich, "Linf", []) == leaderboard_page(rich, "Linf", [])


def test_measures_join_by_model_id_whatever_the_reference(rich: pd.DataFrame) -> None:
    records = pd.DataFrame(
        {"model_id": ["robustbench:Linf/Wong2020Fast", "Carmon2019Unlabeled"], "x_grad_norm_pgd": [1.5, 2.5]}
    )
    table, names = joined(rich, records)
    assert names == ["x_grad_norm_pgd"]
    values = table.set_index("model_id")["x_grad_norm_pgd"]
    assert (values["Wong2020Fast"], values["Carmon2019Unlabeled"], values.notna().sum()) == (1.5, 2.5, 2)
    page = leaderboard_page(table, "Linf", names)
    assert "Kendall" in json.dumps(data_of(page)["measures"], ensure_ascii=False)


@pytest.mark.shared
def test_the_real_leaderboard_gives_every_chart() -> None:
    if not Path(SHARED).is_dir():
        pytest.skip("RobustBench's model_info is not there")
    table = prepared(leaderboard("Linf", SHARED))
    assert len([figure for section in sections(table, []) for figure in section.figures]) == 10
    assert table.loc[table["model_id"] == "Kang2021Stable", "best_known_accuracy"].item() == pytest.approx(0.642)
