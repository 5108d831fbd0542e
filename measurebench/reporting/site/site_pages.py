"""Writes the published site: an index of studies, each with its page, its data files and a stable address."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError
from measurebench.core.threat import radius_text
from measurebench.reporting.comparison.comparison_page import comparison, comparison_page, comparison_sentence
from measurebench.reporting.html.shell import templates, write_text
from measurebench.reporting.html.wording import count
from measurebench.reporting.leaderboard.boards import BOARDS, Board, find_board
from measurebench.reporting.leaderboard.entries import leaderboard
from measurebench.reporting.leaderboard.leaderboard_page import headline, leaderboard_page, prepared
from measurebench.reporting.pairs.pairs_page import neighbours_sentence, rank_in_pairs, tiers_sentence, write_pairs
from measurebench.reporting.study.finding import finding
from measurebench.reporting.study.study_page import study_page
from measurebench.reporting.subject.study import Study, load_study, study_name
from measurebench.store.csv_text import csv_text
from measurebench.store.verdicts import load_verdicts

__all__ = ["Published", "slug", "write_site"]


@dataclass(frozen=True)
class Published:
    """One line of the index: where a study lies, what it says, and its files with their digests."""

    address: str
    title: str
    text: str
    files: tuple[tuple[str, int, str], ...]


def write_site(
    out: Path | str,
    studies: Sequence[Path | str],
    *,
    norms: Sequence[str] = ("Linf", "L2"),
    boards: Sequence[tuple[str, str]] | str = (),
    comparisons: Sequence[tuple[Path | str, Path | str]] = (),
    pairs: Sequence[Path | str] = (),
    model_info: Path | str | None = None,
) -> Path:
    """Write a static site under ``out``: ``index.html``, ``studies/NAME/`` for each, ``leaderboard/NORM/``.

    ``boards`` are further leaderboards, as pairs of data set and threat (``("cifar100", "Linf")``), or ``all``.
    ``comparisons`` are pairs of studies; each has a page that says which conclusions of the first the second confirms.
    ``pairs`` are results folders, or files of verdicts, whose models are ranked on the same images: ``pairs/NAME/``,
    or ``pairs/NAME-at-RADIUS/`` for each of several radii.
    ``studies`` are results folders or tables; a study's address is its name. ``index.json`` lists the same with the
    SHA-256 of every file. Files of an earlier site in ``out`` are replaced, others are left alone. The index links to
    the documentation where that lies in ``out``, as ``docs/index.html``. Raises
    BadInputError for two studies of one name, and for input that cannot be used.
    """
    out = Path(out)
    published, taken = [], set[str]()
    for source in studies:
        study = load_study(Path(source))
        address = f"studies/{slug(study.name)}"
        if address in taken:
            raise BadInputError(str(source), "studies of different names", f"{study.name!r} twice", "rename a folder")
        taken.add(address)
        published.append(_write_study(study, out / address, address))
    published += [_write_comparison(first, second, out) for first, second in comparisons]
    published += [page for source in pairs for page in _write_pairs(Path(source), out)]
    cifar10 = [find_board("cifar10", norm) for norm in norms]
    others = BOARDS if boards == "all" else [find_board(*chosen) for chosen in boards if not isinstance(chosen, str)]
    for board in dict.fromkeys([*cifar10, *others]):
        published.append(_write_board(board, out, Path(model_info) if model_info else None))
    listing = [
        {
            "address": p.address,
            "title": p.title,
            "text": p.text,
            "files": [dict(zip(("name", "bytes", "sha256"), f, strict=True)) for f in p.files],
        }
        for p in published
    ]
    write_text(out / "index.json", json.dumps(listing, indent=1, ensure_ascii=False) + "\n")
    write_text(out / ".nojekyll", "")
    return write_text(out / "index.html", _index(published, has_docs=(out / "docs" / "index.html").is_file()))


def slug(name: str) -> str:
    """Return a name as part of an address: lower case letters, digits and hyphens.

    >>> slug("My Study: v2")
    'my-study-v2'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "study"


def _write_study(study: Study, folder: Path, address: str) -> Published:
    """Write a study's page, the table of models and the analysis."""
    from measurebench.stats import write_analysis

    _fresh(folder)
    write_text(folder / "index.html", study_page(study))
    plain = study.table[[name for name in study.table.columns if not name.startswith("_")]]
    write_text(folder / "models.csv", csv_text(plain))
    write_analysis(study.analysis, folder)
    told = finding(study)
    return Published(address, study.name, f"{count(len(study.table), 'model')}. {told.sentence}.", _files(folder))


def _write_comparison(first: Path | str, second: Path | str, out: Path) -> Published:
    """Write the page of two studies compared."""
    studies = load_study(Path(first)), load_study(Path(second))
    address = f"comparisons/{slug(studies[0].name)}-and-{slug(studies[1].name)}"
    _fresh(out / address)
    write_text(out / address / "index.html", comparison_page(*studies))
    title = f"{studies[0].name} and {studies[1].name} compared"
    return Published(address, title, f"{comparison_sentence(comparison(*studies))}.", _files(out / address))


def _write_pairs(source: Path, out: Path) -> list[Published]:
    """Write the page of models compared in pairs, and its tables; a page for each radius where there are several."""
    verdicts = load_verdicts(source)
    radii = sorted(set(verdicts["radius"].dropna())) if "radius" in verdicts.columns else []
    if len(radii) < 2:
        return [_write_ranking(source, "", out)]
    return [_write_ranking(source, radius_text(radius), out) for radius in radii]


def _write_ranking(source: Path, radius: str, out: Path) -> Published:
    ranking = rank_in_pairs([source], radius=radius)
    name = study_name(source) + (f" at {radius}" if radius else "")
    address = f"pairs/{slug(name)}"
    _fresh(out / address)
    write_pairs(ranking, out / address)
    text = f"{tiers_sentence(ranking)}. {neighbours_sentence(ranking)}."
    return Published(address, f"{name}: models compared in pairs", text, _files(out / address))


def _write_board(board: Board, out: Path, model_info: Path | None) -> Published:
    """Write the page of a leaderboard; ``model_info`` counts where it has entries of the board."""
    address = f"leaderboard/{board.slug}"
    _fresh(out / address)
    known = model_info if model_info and (model_info / board.dataset / board.threat).is_dir() else None
    table = prepared(leaderboard(board.threat, known, dataset=board.dataset))
    write_text(out / address / "index.html", leaderboard_page(table, []))
    text = f"{headline(table)}, by {board.robust} with 95 % intervals."
    return Published(address, f"RobustBench, {board.title}, {board.threat}", text, _files(out / address))


def _fresh(folder: Path) -> None:
    """Empty a study's folder, so that no file of an earlier release stays behind."""
    if folder.is_dir():
        shutil.rmtree(folder)


def _files(folder: Path) -> tuple[tuple[str, int, str], ...]:
    found = sorted(path for path in folder.iterdir() if path.is_file())
    return tuple((path.name, path.stat().st_size, digest_file(path)) for path in found)


def _index(published: Sequence[Published], *, has_docs: bool) -> str:
    values: dict[str, Any] = {
        "title": "measurebench: studies of robust generalization",
        "description": "Which measures of a robust classifier tell how well its robustness generalizes?",
        "sections": [],
        "published": published,
        "has_docs": has_docs,
    }
    return str(templates().get_template("index.html").render(**values))
