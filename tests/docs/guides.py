"""Reads the guides: the files that a reader is told to write, and the blocks that a reader is told to run."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

_RUNS = ("run", "run: slow", "run: cluster")
_MARK = re.compile(r"^<!-- (?:run|file)\b", re.MULTILINE)
_BLOCK = re.compile(
    r"^<!-- (?P<mark>(?:run|file)[^>]*?) -->\n+```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A marked block of a page.

    ``file: NAME`` is written into a file, ``run`` is run, ``run: slow`` is run by `nox -s slow` alone, and
    ``run: cluster``, which needs Ray or submitit, by `nox -s cluster` alone.
    """

    mark: str
    kind: str
    body: str

    @property
    def file(self) -> str:
        return self.mark.partition("file: ")[2]

    @property
    def slow(self) -> bool:
        return self.mark == "run: slow"

    @property
    def cluster(self) -> bool:
        return self.mark == "run: cluster"


def pages() -> list[Path]:
    """Return every page that holds a marked block."""
    return [path for path in sorted(DOCS.rglob("*.md")) if blocks(path)]


def blocks(page: Path) -> list[Block]:
    """Return the marked blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = [Block(match["mark"], match["kind"], match["body"]) for match in _BLOCK.finditer(text)]
    if len(found) != len(_MARK.findall(text)):
        raise ValueError(f"{page}: a mark is not followed by a block")
    if unknown := [block.mark for block in found if not block.file and block.mark not in _RUNS]:
        raise ValueError(f"{page}: unknown marks {unknown}")
    return found
