import json
from pathlib import Path

import pytest

from measurebench.core.errors import BadInputError
from measurebench.reporting.leaderboard.boards import BOARDS
from measurebench.reporting.leaderboard.entries import (
    fraction,
    info_entries,
    leaderboard,
    packaged_entries,
    paper_key,
    plain,
    radius,
    synthetic,
    venue,
)

SHARED = Path(__file__).resolve().parents[4] / "shared" / "robustbench_model_info"
HEAD = "| <sub>#</sub> | <sub>Model ID</sub> | <sub>Paper</sub> | Clean | Robust | Arch | <sub>Venue</sub> |\n|:---:|"


def row(*cells: str) -> str:
    return "| " + " | ".join(f"<sub>{cell}</sub>" for cell in cells) + " |"


MARKDOWN = "\n".join(
    [
        "### CIFAR-10",
        "#### Linf, eps=8/255",
        HEAD,
        row(
            "**1**",
            "<sup>**A2024**</sup>",
            "*[On [0, 1] images](https://e.org/a)*",
            "93.68%",
            "73.71%",
            "WRN",
            "ICML 2024",
        ),
        "#### L2, eps=0.5",
        row("**1**", "**B**", "No link", "90%", "70.5%", "RN", "N/A"),
        "### CIFAR-100",
        "#### Linf, eps=8/255",
        row("**1**", "**C**", "*[C](c)*", "60%", "30%", "RN", "ICLR 2020"),
    ]
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("73.71", 0.7371), ("58", 0.58), (" 7.40% ", 0.074), (73.71, 0.7371), ("N/A", None), (None, None), ("", None)],
)
def test_numbers_as_strings_become_fractions(text: object, value: float | None) -> None:
    assert fraction(text) == value


@pytest.mark.parametrize(
    ("text", "name", "kind", "year", "month"),
    [
        ("ICML 2024", "ICML", "conference or journal", 2024, None),
        ("arXiv, Jun 2024", "arXiv", "preprint", 2024, 6),
        ("arXiv, Dec. 2022", "arXiv", "preprint", 2022, 12),
        ("GitHub,<br>Sep 2019", "GitHub", "preprint", 2019, 9),
        ("OpenReview, Jun 2021", "OpenReview", "preprint", 2021, 6),
        ("Pattern Recognition 2024", "Pattern Recognition", "conference or journal", 2024, None),
        ("ASP-DAC 2021", "ASP-DAC", "conference or journal", 2021, None),
        ("TMLR, Aug 2024", "TMLR", "conference or journal", 2024, 8),
        ("N/A", None, "unknown", None, None),
        (None, None, "unknown", None, None),
    ],
)
def test_venues_give_name_kind_year_and_month(text: str, name: str, kind: str, year: int, month: int) -> None:
    found = venue(text)
    assert (found["venue_name"], found["published_in"], found["year"], found["month"]) == (name, kind, year, month)


def test_the_venue_as_written_is_kept() -> None:
    assert venue("GitHub,<br>Sep 2019")["venue"] == "GitHub, Sep 2019"


def test_markup_formulas_and_stray_whitespace_leave_texts() -> None:
    assert plain(" Robustness and\n Accuracy<br>&amp; more ") == "Robustness and Accuracy & more"
    assert plain(r"Uses \(\ell_{\infty} \) = 0.031") == "Uses ℓ∞ = 0.031"
    assert plain("<script>alert(1)</script>") == "alert(1)"
    assert plain("") is None


@pytest.mark.parametrize("text", ["8/255", "0.031", "0.5"])
def test_a_radius_in_either_notation_is_kept_as_written(text: str) -> None:
    assert radius("Linf", text, "entry") == text


def test_a_radius_that_is_none_is_refused() -> None:
    with pytest.raises(BadInputError, match="radius"):
        radius("Linf", "about 8", "entry.json")


def test_synthetic_images_are_read_from_the_footnote() -> None:
    assert synthetic("It uses additional 1M synthetic images in training.") is True
    assert synthetic("Compressed model") is False
    assert synthetic(None) is None


def test_papers_are_recognised_whatever_their_case_and_spaces() -> None:
    assert paper_key(" Robustness: and  Accuracy", "x") == paper_key("robustness and accuracy", "y")


def test_the_packaged_table_is_read_per_data_set_and_norm() -> None:
    (linf,) = packaged_entries("Linf", MARKDOWN)
    assert (linf["model_id"], linf["paper"], linf["link"]) == ("A2024", "On [0, 1] images", "https://e.org/a")
    assert (linf["clean_accuracy"], linf["best_known_accuracy"], linf["year"]) == (0.9368, 0.7371, 2024)
    (l2,) = packaged_entries("L2", MARKDOWN)
    assert (l2["paper"], l2["link"], l2["year"]) == ("No link", None, None)


def write_entry(folder: Path, name: str, **fields: object) -> None:
    entry = {
        "name": "P",
        "link": "https://e.org",
        "clean_acc": "90.0",
        "autoattack_acc": "50.00",
        "reported": "60",
        "eps": "8/255",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(entry | fields))


def test_the_table_of_a_data_set_ends_where_the_next_begins() -> None:
    (row,) = packaged_entries("Linf", MARKDOWN, dataset="cifar100")
    assert (row["model_id"], row["best_known_accuracy"]) == ("C", 0.3)
    corrupted = MARKDOWN + "\n".join(["", "#### Corruptions", HEAD, row_of_corruptions()])
    (found,) = packaged_entries("corruptions", corrupted, dataset="cifar100")
    assert (found["corruption_accuracy"], found["norm"]) == (0.7108, "corruptions")
    assert "best_known_accuracy" not in found
    with pytest.raises(BadInputError, match="imagenet corruptions"):
        packaged_entries("L2", MARKDOWN, dataset="imagenet")


def row_of_corruptions() -> str:
    return row("**1**", "**D**", "*[D](d)*", "79.93%", "71.08%", "RN", "NeurIPS 2021")


def test_every_board_of_the_package_is_read_whole() -> None:
    """As many rows as the description has, counted by hand."""
    counts = {board.name: len(leaderboard(board.threat, dataset=board.dataset)) for board in BOARDS}
    assert counts == {
        "CIFAR-10 Linf": 76,
        "CIFAR-10 L2": 21,
        "CIFAR-10 corruptions": 17,
        "CIFAR-100 Linf": 38,
        "CIFAR-100 corruptions": 12,
        "ImageNet Linf": 30,
        "ImageNet corruptions": 12,
    }


def test_an_entry_under_corruptions_has_accuracies_and_mean_errors(tmp_path: Path) -> None:
    folder = tmp_path / "imagenet" / "corruptions"
    folder.mkdir(parents=True)
    values = {"corruptions_acc_2d": "62.88", "corruptions_acc_3d": "64.32", "corruptions_mce_2d": "47.06"}
    (folder / "a.json").write_text(json.dumps({"clean_acc": "80.32", "eps": "4/255", **values}))
    (entry,) = info_entries("corruptions", tmp_path, "imagenet")
    assert (entry["corruption_accuracy"], entry["corruption_accuracy_3d"]) == (0.6288, 0.6432)
    assert (entry["mce"], entry["mce_3d"]) == (0.4706, None)
    assert "radius" not in entry  # no attack, although the entry names one
    table = leaderboard("corruptions", tmp_path, dataset="imagenet").set_index("model_id")
    assert table.loc["a", "robust_accuracy"] == 0.6288
    write_entry(folder, "b")
    with pytest.raises(BadInputError, match="corruptions_acc"):
        info_entries("corruptions", tmp_path, "imagenet")


def test_reliability_has_three_values(tmp_path: Path) -> None:
    for name, fields in {"yes": {"unreliable": False}, "no": {"unreliable": True}, "unknown": {}}.items():
        write_entry(tmp_path / "cifar10" / "Linf", name, **fields)
    assert {e["model_id"]: e["unreliable"] for e in info_entries("Linf", tmp_path)} == {
        "yes": False,
        "no": True,
        "unknown": None,
    }


def test_best_known_accuracy_is_the_lower_of_autoattack_and_external(tmp_path: Path) -> None:
    write_entry(tmp_path, "a", external="7.40")
    write_entry(tmp_path, "b")
    assert [e["best_known_accuracy"] for e in info_entries("Linf", tmp_path)] == [0.074, 0.5]


def test_a_footnote_may_be_absent_empty_or_null(tmp_path: Path) -> None:
    write_entry(tmp_path, "absent")
    write_entry(tmp_path, "empty", footnote="")
    write_entry(tmp_path, "null", footnote=None)
    assert [e["footnote"] for e in info_entries("Linf", tmp_path)] == [None, None, None]


def test_an_entry_that_is_none_is_named(tmp_path: Path) -> None:
    tmp_path.joinpath("broken.json").write_text("<html>quota exceeded</html>")
    with pytest.raises(BadInputError, match=r"broken\.json"):
        info_entries("Linf", tmp_path)


def test_a_folder_without_entries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no JSON file there"):
        info_entries("Linf", tmp_path)


def test_synthetic_data_does_not_count_as_none(tmp_path: Path) -> None:
    write_entry(
        tmp_path, "made-up-id", additional_data=False, footnote="It uses additional 1M synthetic images in training."
    )
    table = leaderboard("Linf", tmp_path).set_index("model_id")
    assert table.loc["made-up-id", "training_data"] == "synthetic images"
    assert not table.loc["made-up-id", "in_zoo"]


def test_the_installed_package_gives_both_norms() -> None:
    linf, l2 = leaderboard("Linf"), leaderboard("L2")
    assert (len(linf), len(l2)) == (76, 21)
    assert linf["robust_accuracy"].is_monotonic_decreasing
    assert linf[["clean_accuracy", "robust_accuracy"]].max().max() <= 1
    # The package states the lowest accuracy that is known, not AutoAttack's.
    assert linf["autoattack_accuracy"].isna().all()


@pytest.mark.shared
def test_the_real_entries_are_read_whole() -> None:
    if not SHARED.is_dir():
        pytest.skip("RobustBench's model_info is not there")
    table = leaderboard("Linf", SHARED)
    assert len(table) == 99
    assert table["paper_key"].nunique() == 69
    assert int((~table["in_zoo"]).sum()) == 23
    assert table["best_known_accuracy"].notna().all()
    assert table["unreliable"].isna().sum() == 32
    assert set(table["radius"]) == {"8/255", "0.031"}
    over = table["reported_accuracy"] - table["autoattack_accuracy"]
    assert (int((over > 0.05).sum()), int((over < 0).sum())) == (14, 13)
