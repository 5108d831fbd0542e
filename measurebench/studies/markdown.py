"""Tables in Markdown, and texts whose marked parts are computed."""

import re
from collections.abc import Callable, Mapping, Sequence

from measurebench.core.errors import BadInputError

__all__ = ["Maker", "fill", "head", "line"]

Maker = Callable[[], Sequence[str] | str]


def fill(text: str, makers: Mapping[str, Maker], where: str = "README.md") -> str:
    """Return a text in which each part between ``<!-- NAME -->`` and ``<!-- end -->`` is computed anew.

    A maker that returns lines fills a block of its own, between empty lines; one that returns a text fills a place
    inside a sentence. Raises BadInputError, which names ``where``, unless each name occurs, and no other one.

    >>> fill("<!-- n -->?<!-- end --> models", {"n": lambda: "64"})
    '<!-- n -->64<!-- end --> models'
    """
    unknown = sorted(set(re.findall(r"<!-- (\w+) -->", text)) - {*makers, "end"})
    if unknown:
        raise BadInputError(where, f"marks of {', '.join(makers)}", f"<!-- {unknown[0]} -->")
    for name, maker in makers.items():
        part = re.compile(rf"(<!-- {name} -->).*?(<!-- end -->)", re.DOTALL)
        made = maker() if part.search(text) else ""
        whole = made if isinstance(made, str) else "\n\n" + "\n".join(made) + "\n\n"
        text, n = part.subn(lambda match, whole=whole: f"{match[1]}{whole}{match[2]}", text)  # type: ignore[misc]
        if not n:
            raise BadInputError(where, f"a part <!-- {name} --> ... <!-- end -->", "none")
    return text


def head(*names: str) -> list[str]:
    """Return the first two lines of a table.

    >>> head("method", "models")
    ['| method | models |', '|---|---|']
    """
    return [line(*names), "|" + "---|" * len(names)]


def line(*cells: object) -> str:
    """Return one row of a table; a vertical bar inside a cell is escaped.

    >>> line("AT", 8)
    '| AT | 8 |'
    """
    return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |"
