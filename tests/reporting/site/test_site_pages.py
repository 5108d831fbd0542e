import json
from pathlib import Path

import pandas as pd
import pytest

from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError
from measurebench.reporting.site.site_pages import slug, write_site
from measurebench.reporting.subject.study import Study
from measurebench.stats import write_analysis
from tests.reporting.pairs.test_pairs_page import results
from tests.stats.judging.test_paired_ranking import verdicts

__all__ = ["results"]  # a fixture


@pytest.fixture
def source(study: Study, tmp_path: Path) -> Path:
    folder = tmp_path / "Small Study"
    folder.mkdir()
    study.table.drop(columns=["_i", "_target", "_defense"]).to_csv(folder / "models.csv", index=False)
    return folder / "models.csv"


def test_a_site_lists_studies_with_files_and_digests(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: Study
) -> None:
    monkeypatch.setattr("measurebench.reporting.subject.study.analyze", lambda *_, **__: study.analysis)
    out = tmp_path / "site"
    index = write_site(out, [source], norms=["L2"])
    listing = json.loads((out / "index.json").read_text())
    assert [entry["address"] for entry in listing] == ["studies/small-study", "leaderboard/L2"]
    assert "first place" in listing[1]["text"] or "most robust of" in listing[1]["text"]
    assert {file["name"] for file in listing[0]["files"]} == {
        "index.html",
        "models.csv",
        "analysis.json",
        "correlations.csv",
        "regressions.csv",
    }
    for entry in listing:
        for file in entry["files"]:
            path = out / entry["address"] / file["name"]
            assert (path.stat().st_size, digest_file(path)) == (file["bytes"], file["sha256"])
    assert 'href="studies/small-study/index.html"' in index.read_text()


def test_boards_and_comparisons_have_addresses_of_their_own(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: Study
) -> None:
    monkeypatch.setattr("measurebench.reporting.subject.study.analyze", lambda *_, **__: study.analysis)
    out = tmp_path / "site"
    write_site(out, [], norms=["L2"], boards=[("imagenet", "corruptions")], comparisons=[(source, source)])
    listing = json.loads((out / "index.json").read_text())
    assert [entry["address"] for entry in listing] == [
        "comparisons/small-study-and-small-study",
        "leaderboard/L2",
        "leaderboard/imagenet-corruptions",
    ]
    assert listing[0]["text"].startswith("None of ")
    assert listing[2]["text"].endswith("by corruption accuracy with 95 % intervals.")
    assert all((out / entry["address"] / "index.html").is_file() for entry in listing)


def test_models_compared_in_pairs_have_a_page_with_their_tables(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    write_site(out, [], norms=[], pairs=[results])
    (entry,) = json.loads((out / "index.json").read_text())
    assert entry["address"] == f"pairs/{slug(results.parent.name)}"
    assert entry["text"].startswith("3 models in 1 tier")
    assert {file["name"] for file in entry["files"]} == {"index.html", "ranking.csv", "pairs.csv", "pairs.json"}


def test_models_attacked_at_several_radii_have_a_page_for_each(tmp_path: Path) -> None:
    file = tmp_path / "several.csv"
    robust = {"a": [True] * 9, "b": [False] * 9}
    pd.concat([verdicts(robust, radius=2 / 255), verdicts(robust, radius=8 / 255)]).to_csv(file, index=False)
    write_site(tmp_path / "site", [], norms=[], pairs=[file])
    listing = json.loads((tmp_path / "site" / "index.json").read_text())
    assert [entry["address"] for entry in listing] == ["pairs/several-at-2-255", "pairs/several-at-8-255"]
    assert listing[1]["title"] == "several at 8/255: models compared in pairs"


def test_the_index_links_to_the_documentation_where_it_is_there(tmp_path: Path) -> None:
    assert "docs/index.html" not in write_site(tmp_path, [], norms=[]).read_text()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.html").write_text("the documentation")
    assert 'href="docs/index.html"' in write_site(tmp_path, [], norms=[]).read_text()
    assert (tmp_path / "docs" / "index.html").read_text() == "the documentation"


def test_two_studies_of_one_name_are_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: Study
) -> None:
    monkeypatch.setattr("measurebench.reporting.subject.study.analyze", lambda *_, **__: study.analysis)
    with pytest.raises(BadInputError, match="twice"):
        write_site(tmp_path / "site", [source, source], norms=[])


def test_the_analysis_beside_a_table_counts_only_for_that_table(source: Path, study: Study) -> None:
    from measurebench.reporting.subject.study import load_study
    from measurebench.store.tables import read_table

    table = read_table(source)
    from measurebench.stats import analyze

    write_analysis(analyze(table, bootstrap=33, permutations=19, measures=["local_lip"]), source.parent)
    assert load_study(source).analysis.provenance["bootstrap"] == 33


def test_addresses_are_plain() -> None:
    assert slug("My Study: v2") == "my-study-v2"
    assert slug("///") == "study"
