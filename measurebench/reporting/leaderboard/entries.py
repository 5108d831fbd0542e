"""Reads RobustBench's leaderboard into one clean table. Every irregularity of its sources is handled here."""

import html
import importlib.resources
import re
from pathlib import Path
from typing import Any

import pandas as pd

from measurebench.core.errors import BadInputError
from measurebench.core.limits import TEXT_BYTES
from measurebench.core.packages import description_of
from measurebench.core.reading import parse_json
from measurebench.core.threat import ThreatModel
from measurebench.reporting.leaderboard.boards import CORRUPTIONS, Board, find_board
from measurebench.reporting.subject.drawable import drawable

__all__ = [
    "COLUMNS",
    "fraction",
    "info_entries",
    "leaderboard",
    "packaged_entries",
    "paper_key",
    "plain",
    "radius",
    "synthetic",
    "venue",
]

COLUMNS = (
    "model_id",
    "paper",
    "link",
    "authors",
    "clean_accuracy",
    "autoattack_accuracy",
    "reported_accuracy",
    "best_known_accuracy",
    "robust_accuracy",
    "corruption_accuracy",
    "corruption_accuracy_3d",
    "mce",
    "mce_3d",
    "unreliable",
    "training_data",
    "extra_data",
    "synthetic_data",
    "architecture",
    "n_parameters",
    "defense",
    "cluster",
    "venue",
    "venue_name",
    "published_in",
    "year",
    "month",
    "dataset",
    "norm",
    "radius",
    "forward_passes",
    "in_zoo",
    "footnote",
    "paper_key",
)
_NUMBERS = (
    "clean_accuracy",
    "autoattack_accuracy",
    "reported_accuracy",
    "best_known_accuracy",
    "robust_accuracy",
    "corruption_accuracy",
    "corruption_accuracy_3d",
    "mce",
    "mce_3d",
    "n_parameters",
    "year",
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_PREPRINTS = frozenset({"arxiv", "openreview", "github"})
_TAG = re.compile(r"<[^>]*>")


def leaderboard(norm: str = "Linf", model_info: Path | None = None, *, dataset: str = "cifar10") -> pd.DataFrame:
    """Return the entries of a board, the most robust first; accuracies are fractions, unknown is missing.

    ``norm`` is Linf, L2 or ``corruptions``. ``robust_accuracy`` ranks the entries: the lowest accuracy that any attack
    has shown (``best_known_accuracy``), or the mean accuracy over common corruptions (``corruption_accuracy``).
    The installed robustbench package gives ids, papers, these accuracies, architecture and venue (package metadata, no
    import). ``model_info``, a folder of RobustBench's JSON entries, adds AutoAttack's and the reported accuracy, extra
    data, reliability and footnotes, the mean corruption error ``mce`` (1 for AlexNet), and the entries without weights.
    Raises BadInputError for files that cannot be read, and for a board that RobustBench does not have.
    """
    board = find_board(dataset, norm)
    rows = {row["model_id"]: row | {"in_zoo": True} for row in packaged_entries(norm, dataset=dataset)}
    for entry in info_entries(norm, model_info, dataset) if model_info else []:
        known = rows.get(entry["model_id"], {"in_zoo": False})
        rows[entry["model_id"]] = known | {name: value for name, value in entry.items() if value is not None}
    curated = _curated(norm) if dataset == "cifar10" else {}
    found = [_completed(row, curated.get(row["model_id"], {}), board) for row in rows.values()]
    if not found:
        raise BadInputError("robustbench", f"a table of {board.name} models in its package metadata", "none")
    table = pd.DataFrame(found).reindex(columns=list(COLUMNS))
    for name in _NUMBERS:
        table[name] = pd.to_numeric(table[name])
    order = ["robust_accuracy", "model_id"]
    return drawable(table.sort_values(order, ascending=[False, True]).reset_index(drop=True))


def packaged_entries(norm: str, text: str | None = None, *, dataset: str = "cifar10") -> list[dict[str, Any]]:
    """Return the rows of the Markdown table of a board in robustbench's package description.

    Its robust accuracy is the best known one: where another attack has found less than AutoAttack, that counts.
    """
    board = find_board(dataset, norm)
    lines = (description_of("robustbench") if text is None else text).splitlines()
    rows, inside, here = [], False, ""
    for line in lines:
        if line.startswith("### "):
            here, inside = line.strip("# ").lower(), False
        elif line.startswith("#"):
            inside = here == board.title.lower() and _is_of(board, line.strip("# ").lower())
        elif inside and line.startswith("|") and (row := _markdown_row(line, board)):
            rows.append(row)
    return rows


def _is_of(board: Board, heading: str) -> bool:
    """Tell whether a heading such as ``linf, eps=8/255`` or ``common corruptions`` is that of a board."""
    return CORRUPTIONS in heading if board.is_corruptions else heading.startswith(f"{board.threat.lower()},")


def _markdown_row(line: str, board: Board) -> dict[str, Any] | None:
    """Read ``| 1 | id | [paper](link) | 93.68% | 73.71% | architecture | venue |``; None for heads and rules."""
    cells = [_TAG.sub("", cell).replace("*", "").strip() for cell in line.strip().strip("|").split("|")]
    if len(cells) != 7 or not cells[0].isdigit():
        return None
    paper = re.fullmatch(r"\[(.*)\]\((.*?)\)", cells[2])
    return {
        "model_id": cells[1],
        "paper": plain(paper[1] if paper else cells[2]),
        "link": paper[2].strip() if paper else None,
        "clean_accuracy": fraction(cells[3]),
        ("corruption_accuracy" if board.is_corruptions else "best_known_accuracy"): fraction(cells[4]),
        "architecture": plain(cells[5]),
        "norm": board.threat,
        **venue(cells[6]),
    }


def info_entries(norm: str, folder: Path, dataset: str = "cifar10") -> list[dict[str, Any]]:
    """Return RobustBench's JSON entries of a board under ``folder`` (its ``model_info``).

    Raises BadInputError where the folder holds none, and for a file that is not an entry.
    """
    board = find_board(dataset, norm)
    norm = board.threat
    place = next((p for p in (folder / dataset / norm, folder / norm, folder) if any(p.glob("*.json"))), None)
    if place is None:
        raise BadInputError(str(folder), f"RobustBench's model_info with {dataset}/{norm}/*.json", "no JSON file there")
    return [_info(path, board) for path in sorted(place.glob("*.json"))]


def _info(path: Path, board: Board) -> dict[str, Any]:
    raw = parse_json(path, TEXT_BYTES, "a leaderboard entry")
    fields = ("corruptions_acc", "corruptions_acc_2d") if board.is_corruptions else ("autoattack_acc",)
    if not isinstance(raw, dict) or not any(name in raw for name in fields):
        raise BadInputError(str(path), f"an entry with the field {' or '.join(map(repr, fields))}", "none")
    footnote = plain(raw.get("footnote"))
    return {
        "model_id": path.stem,
        "paper": plain(raw.get("name")),
        "link": plain(raw.get("link")),
        "authors": plain(raw.get("authors")),
        "clean_accuracy": fraction(raw.get("clean_acc")),
        "reported_accuracy": fraction(raw.get("reported")),
        **(_under_corruptions(raw) if board.is_corruptions else _under_attack(raw, board, path)),
        "unreliable": raw.get("unreliable"),
        "extra_data": raw.get("additional_data"),
        "synthetic_data": synthetic(footnote),
        "architecture": plain(raw.get("architecture")),
        "norm": board.threat,
        "forward_passes": raw.get("number_forward_passes"),
        "footnote": footnote,
        **venue(raw.get("venue")),
    }


def _under_attack(raw: dict[str, Any], board: Board, path: Path) -> dict[str, Any]:
    """Return AutoAttack's accuracy, the best known one, and the radius."""
    autoattack, external = fraction(raw["autoattack_acc"]), fraction(raw.get("external"))
    known = [value for value in (autoattack, external) if value is not None]
    return {
        "autoattack_accuracy": autoattack,
        "best_known_accuracy": min(known, default=None),
        "radius": radius(board.threat, raw.get("eps"), str(path)),
    }


def _under_corruptions(raw: dict[str, Any]) -> dict[str, Any]:
    """Return accuracy and mean corruption error, of ImageNet also those of its 3D common corruptions."""
    return {
        "corruption_accuracy": fraction(raw.get("corruptions_acc", raw.get("corruptions_acc_2d"))),
        "corruption_accuracy_3d": fraction(raw.get("corruptions_acc_3d")),
        "mce": fraction(raw.get("corruptions_mce", raw.get("corruptions_mce_2d"))),
        "mce_3d": fraction(raw.get("corruptions_mce_3d")),
    }


def fraction(value: Any) -> float | None:
    """Return an accuracy in percent as a fraction; None where it is absent or not a number.

    >>> fraction("73.71"), fraction(" 7.40% "), fraction("N/A")
    (0.7371, 0.074, None)
    """
    text = str(value).strip().rstrip("%").strip() if value is not None else ""
    try:
        return round(float(text) / 100, 8)
    except ValueError:
        return None


def radius(norm: str, value: Any, subject: str) -> str | None:
    """Return a radius as its author wrote it ("8/255", "0.031"), after checking that it is one.

    ``subject`` is the file that an error names.
    """
    return ThreatModel.parse(norm, value, f"{subject}: radius").text if value not in (None, "") else None


def plain(value: Any) -> str | None:
    r"""Return a text without markup, entities, formula signs and stray whitespace; None for an empty one.

    >>> plain(" Robustness<br>&amp; more "), plain(r"\(\ell_2 \) = 0.5"), plain("")
    ('Robustness & more', 'ℓ2 = 0.5', None)
    """
    if value is None:
        return None
    text = html.unescape(_TAG.sub(" ", str(value)))
    text = re.sub(r"\\\(|\\\)", "", text).replace(r"\ell_{\infty}", "ℓ∞").replace(r"\ell_2", "ℓ2")
    return re.sub(r"\s+", " ", text).strip() or None


def synthetic(footnote: str | None) -> bool | None:
    """Tell whether a footnote speaks of synthetic images; None without a footnote."""
    return None if footnote is None else "synthetic" in footnote.lower()


def venue(value: Any) -> dict[str, Any]:
    """Return venue text, its name, year, month and kind ("conference or journal", "preprint", "unknown").

    Understands "ICML 2024", "arXiv, Jun 2024", "GitHub,<br>Sep 2019", "arXiv, Dec. 2022", "Pattern Recognition 2024";
    "N/A" is unknown. The text is kept as ``venue``.

    >>> found = venue("arXiv, Dec. 2022")
    >>> found["venue_name"], found["published_in"], found["year"], found["month"]
    ('arXiv', 'preprint', 2022, 12)
    """
    text = plain(value)
    if text is None or text.upper() in {"N/A", "NA", "NONE", "UNPUBLISHED"}:
        return {"venue": text, "venue_name": None, "published_in": "unknown", "year": None, "month": None}
    year = re.search(r"(?<!\d)((?:19|20)\d\d)(?!\d)", text)
    words = re.findall(r"[A-Za-z]+", text)
    month = next((_MONTHS.index(word[:3].lower()) + 1 for word in words[1:] if word[:3].lower() in _MONTHS), None)
    name = re.split(r",|\s(?=(?:19|20)\d\d)", text)[0].strip()
    kind = "preprint" if name.lower() in _PREPRINTS else "conference or journal"
    return {
        "venue": text,
        "venue_name": name or None,
        "published_in": kind,
        "year": int(year[1]) if year else None,
        "month": month,
    }


def paper_key(title: str | None, model_id: str) -> str:
    """Return what entries of one paper share: its title in lower case, without punctuation and stray spaces.

    >>> paper_key(" Robustness: and  Accuracy", "x")
    'robustness and accuracy'
    """
    return re.sub(r"[^a-z0-9]+", " ", (title or model_id).lower()).strip()


def _curated(norm: str) -> dict[str, dict[str, str]]:
    """Return the package's own notes on the zoo: defense, data, parameters, base network."""
    place = importlib.resources.files("measurebench").joinpath("models", "robustbench", "defenses.csv")
    with importlib.resources.as_file(place) as path:
        if not path.is_file():
            return {}
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    rows = table[table["threat"] == norm].to_dict("records")
    return {str(row["id"]): {str(k): str(v) for k, v in row.items()} for row in rows}


def _completed(row: dict[str, Any], notes: dict[str, str], board: Board) -> dict[str, Any]:
    """Add the package's notes where the sources are silent, and what follows from the rest."""
    flags = {"true": True, "false": False}
    made: dict[str, Any] = {
        "n_parameters": notes.get("n_parameters") or None,
        "defense": notes.get("defense") or None,
        "cluster": notes.get("cluster") or None,
    }
    for name in ("extra_data", "synthetic_data"):
        stated, noted = row.get(name), flags.get(notes.get(name, ""))
        # Entries that say "no extra data" and speak of synthetic images in the footnote are about real images only.
        made[name] = noted if stated is None else stated
    made["training_data"] = _training_data(made["extra_data"], made["synthetic_data"], board)
    made["robust_accuracy"] = row.get("corruption_accuracy" if board.is_corruptions else "best_known_accuracy")
    made["dataset"] = board.dataset
    return row | made | {"paper_key": paper_key(row.get("paper"), row["model_id"])}


def _training_data(extra: bool | None, generated: bool | None, board: Board) -> str:
    if extra:
        return "extra real images"
    if generated:
        return "synthetic images"
    return f"{board.title} only" if extra is False else "not stated"
