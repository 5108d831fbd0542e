"""Reads the guides: the files that a reader is told to write, and the blocks that a reader is told to run."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

_MARK = re.compile(r"^<!-- (?:run|file|not run)\b", re.MULTILINE)
_BLOCK = re.compile(
    r"^<!-- (?P<mark>(?:run|file|not run)[^>]*?) -->\n+```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE
)
_MEANS = re.compile(r"run|run: slow|run: cluster|file: \S+|not run: .+")


@dataclass(frozen=True)
class Block:
    """A marked block of a page.

    ``file: NAME`` is written into a file, ``run`` is run, ``run: slow`` is run by `nox -s slow` alone, ``run:
    cluster``, which needs Ray or submitit, by `nox -s cluster` alone, and ``not run: REASON`` is left out, since it
    needs a download, another machine or the like.
    """

    mark: str
    kind: str
    body: str

    @property
    def file(self) -> str:
        return self.mark.partition("file: ")[2]

    @property
    def runs(self) -> bool:
        return not self.mark.startswith("not run") and not self.cluster

    @property
    def slow(self) -> bool:
        return self.mark == "run: slow"

    @property
    def cluster(self) -> bool:
        return self.mark == "run: cluster"


def pages() -> list[Path]:
    """Return every page that holds a marked block."""
    return [path for path in sorted(DOCS.rglob("*.md")) if any(block.runs for block in blocks(path))]


def unmarked(page: Path) -> list[int]:
    """Return the lines at which a page has code for the shell or Python without a mark."""
    lines = page.read_text(encoding="utf-8").split("\n")
    starts = [i for i, line in enumerate(lines) if line in ("```sh", "```python")]
    return [i + 1 for i in starts if not _MARK.match(next(filter(None, reversed(lines[:i])), ""))]


def blocks(page: Path) -> list[Block]:
    """Return the marked blocks of a page, in order. Raises ValueError for a mark that means nothing."""
    text = page.read_text(encoding="utf-8")
    found = [Block(match["mark"], match["kind"], match["body"]) for match in _BLOCK.finditer(text)]
    if len(found) != len(_MARK.findall(text)):
        raise ValueError(f"{page}: a mark is not followed by a block")
    if unknown := [block.mark for block in found if not _MEANS.fullmatch(block.mark)]:
        raise ValueError(f"{page}: unknown marks {unknown}")
    return found
