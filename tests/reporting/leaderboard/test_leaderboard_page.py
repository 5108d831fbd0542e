import json
from pathlib import Path

import pandas as pd
import pytest

from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.core.infos import measure_infos
from measurebench.reporting.html.wording import axis_title
from measurebench.reporting.leaderboard.boards import BOARDS, Board
from measurebench.reporting.leaderboard.entries import leaderboard
from measurebench.reporting.leaderboard.leaderboard_page import (
    headline,
    joined,
    leaderboard_page,
    prepared,
    sections,
    static_figures,
)
from tests.reporting.leaderboard.test_entries import SHARED, write_entry
from tests.reporting.study.test_study_page import data_of


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
        "ranking",
        "best-known",
        "reported",
        "overestimation",
        "overestimation-venue",
        "clean",
        "year",
        "parameters",
        "venue",
        "papers",
    }


def test_the_installed_package_alone_gives_a_page() -> None:
    page = leaderboard_page(prepared(leaderboard("L2")), [])
    assert data_of(page)["datasets"]["models"]["n"] == 21


def test_footnotes_with_markup_change_nothing(rich: pd.DataFrame) -> None:
    page = leaderboard_page(rich, [])
    assert "onmouseover" not in page
    assert page.count("</script>") == 3


def test_the_same_leaderboard_gives_the_same_bytes(rich: pd.DataFrame) -> None:
    assert leaderboard_page(rich, []) == leaderboard_page(rich, [])


def test_measures_join_by_model_id_whatever_the_reference(rich: pd.DataFrame) -> None:
    records = pd.DataFrame(
        {"model_id": ["robustbench:Linf/Wong2020Fast", "Carmon2019Unlabeled"], "x_grad_norm_pgd": [1.5, 2.5]}
    )
    table, names = joined(rich, records)
    assert names == ["x_grad_norm_pgd"]
    values = table.set_index("model_id")["x_grad_norm_pgd"]
    assert (values["Wong2020Fast"], values["Carmon2019Unlabeled"], values.notna().sum()) == (1.5, 2.5, 2)
    page = leaderboard_page(table, names)
    assert "Kendall" in json.dumps(data_of(page)["measures"], ensure_ascii=False)


def test_own_results_bring_their_warnings(rich: pd.DataFrame) -> None:
    records = pd.DataFrame(
        {
            "model_id": ["Wong2020Fast", "Carmon2019Unlabeled"],
            "robust_gap_autoattack": [0.1, 0.2],
            "autoattack_flags": ["Square is <script>better</script>", None],
            "x_grad_norm_pgd": [1.5, 2.5],
        }
    )
    table, measures = joined(rich, records)
    assert measures == ["x_grad_norm_pgd"]
    page = leaderboard_page(table, measures)
    assert f"AutoAttack warns about 1 of {len(table)} models" in page
    assert "Square is &lt;script&gt;better&lt;/script&gt;" in page[page.index('id="warnings"') :]
    assert "<script>better" not in page
    columns = {column["key"]: column for column in data_of(page)["columns"]}
    assert columns["robust_gap_autoattack"]["warning"] == "autoattack_flags"
    assert columns["autoattack_flags"]["label"] == "AutoAttack's warnings"


def shared_ids() -> list[str]:
    return sorted(set(leaderboard("Linf")["model_id"]) & set(leaderboard("L2")["model_id"]))


@pytest.mark.parametrize(("norm", "value"), [("Linf", 1.5), ("L2", 2.5)])
def test_an_entry_gets_the_measures_of_its_own_norm_and_data_set(norm: str, value: float) -> None:
    name = shared_ids()[0]
    records = pd.DataFrame(
        {
            "model_id": [name, f"{name}-L2", name],
            "norm": ["Linf", "L2", norm],
            "dataset": ["cifar10", None, "cifar100"],
            "x_grad_norm_pgd": [1.5, 2.5, 9.0],
        }
    )
    for chosen in (records, records.drop(columns=["norm", "dataset"]).iloc[:2]):
        table, _ = joined(prepared(leaderboard(norm)), chosen)
        assert table["x_grad_norm_pgd"].dropna().tolist() == [value]
        assert table.set_index("model_id").loc[name, "x_grad_norm_pgd"] == value


def test_measures_of_another_norm_do_not_join() -> None:
    records = pd.DataFrame({"model_id": shared_ids()[:2], "norm": "Linf", "x_grad_norm_pgd": [1.5, 2.5]})
    with pytest.raises(BadInputError, match="measured on CIFAR-10 under L2, got none"):
        joined(prepared(leaderboard("L2")), records)


def test_an_entry_that_a_stronger_attack_broke_does_not_lead(tmp_path: Path) -> None:
    """AutoAttack leaves 75.28 % of the one and 73.71 % of the other; a stronger attack leaves 73.10 % of the first."""
    write_entry(tmp_path, "Amini2024MeanSparse_S-WRN-94-16", autoattack_acc="75.28", external="73.10")
    write_entry(tmp_path, "Bartoldson2024Adversarial_WRN-94-16", autoattack_acc="73.71")
    table = prepared(leaderboard("Linf", tmp_path))
    assert table["model_id"].tolist()[:2] == ["Bartoldson2024Adversarial_WRN-94-16", "Amini2024MeanSparse_S-WRN-94-16"]
    assert table["rank"].tolist()[:2] == [1, 2]
    assert table["autoattack_accuracy"].tolist()[:2] == [0.7371, 0.7528]
    assert "Bartoldson2024Adversarial_WRN-94-16" in headline(table) or "could hold the first place" in headline(table)


# One board of each kind; that all are read whole, test_entries says.
@pytest.mark.parametrize("board", [BOARDS[2], BOARDS[5]], ids=lambda board: board.name)
def test_a_board_gives_a_page_that_says_what_ranks_its_entries(board: Board) -> None:
    table = prepared(leaderboard(board.threat, dataset=board.dataset))
    page = leaderboard_page(table, [])
    data = data_of(page)
    assert data["datasets"]["models"]["n"] == len(table)
    columns = {column["key"]: column["label"] for column in data["columns"]}
    assert columns["robust_accuracy"] == ("corruption accuracy" if board.is_corruptions else "best known")
    assert "autoattack_accuracy" not in columns  # the package does not tell it
    assert f"{board.images:,} test images" in page
    assert f"RobustBench {board.name}" in page


def test_measures_join_a_board_of_corruptions_whatever_their_norm() -> None:
    name = leaderboard("corruptions", dataset="cifar100")["model_id"].iloc[0]
    records = pd.DataFrame(
        {
            "model_id": [f"robustbench:corruptions/{name}", name],
            "norm": "Linf",
            "dataset": ["cifar100", "cifar10"],
            "x_grad_norm_pgd": [1.5, 2.5],
        }
    )
    table, names = joined(prepared(leaderboard("corruptions", dataset="cifar100")), records)
    assert names == ["x_grad_norm_pgd"]
    assert table["x_grad_norm_pgd"].dropna().tolist() == [1.5]


def test_the_command_writes_any_board_and_lists_them_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["leaderboard", "--dataset", "imagenet", "--out", str(tmp_path)]
    assert run_command_line([*asked, "--norm", "corruptions"]) == 0
    assert "RobustBench ImageNet corruptions" in (tmp_path / "index.html").read_text()
    assert run_command_line([*asked, "--norm", "L2"]) == 2
    assert "cifar100 corruptions" in capsys.readouterr().err


def test_a_table_without_model_ids_cannot_be_joined(rich: pd.DataFrame) -> None:
    with pytest.raises(BadInputError, match="a column model_id"):
        joined(rich, pd.DataFrame({"name": ["Wong2020Fast"], "x_grad_norm_pgd": [1.0]}))


def test_each_measure_has_a_figure_with_its_own_axis(rich: pd.DataFrame) -> None:
    records = pd.DataFrame(
        {"model_id": ["Wong2020Fast", "Carmon2019Unlabeled"], "x_grad_norm_pgd": [1.5, 2.5], "local_lip": [1.0, 2.0]}
    )
    table, names = joined(rich, records)
    figures = {figure.id: figure for figure in static_figures(table, names)}
    assert {f"scatter_{name}" for name in names} <= set(figures)
    assert "scatter" not in figures
    for name in names:
        spec = json.dumps(figures[f"scatter_{name}"].spec, ensure_ascii=False)
        assert "@title" not in spec
        assert axis_title(name, measure_infos()) in spec
    assert "@title" in json.dumps(data_of(leaderboard_page(table, names))["figures"]["scatter"]["spec"])


@pytest.mark.shared
def test_the_real_leaderboard_gives_every_chart() -> None:
    if not Path(SHARED).is_dir():
        pytest.skip("RobustBench's model_info is not there")
    table = prepared(leaderboard("Linf", SHARED))
    assert len([figure for section in sections(table, []) for figure in section.figures]) == 10
    assert table.loc[table["model_id"] == "Kang2021Stable", "best_known_accuracy"].item() == pytest.approx(0.642)
