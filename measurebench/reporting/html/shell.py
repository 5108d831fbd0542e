"""Renders pages from templates, with one block of data in each, and writes them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.files import write_atomically
from measurebench.core.packages import own_version
from measurebench.reporting.html import theme
from measurebench.reporting.html.bundle import javascript_bundle
from measurebench.reporting.html.embedding import script_json
from measurebench.reporting.html.wording import fixed, percent

__all__ = ["render", "templates", "write_text"]


@cache
def templates() -> Any:
    """Return the Jinja environment of the templates; it escapes everything that is not marked as safe."""
    import jinja2

    loader = jinja2.PackageLoader("measurebench.reporting.html", "templates")
    made = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    made.globals.update(
        theme=theme,
        version=own_version(),
        num=lambda value: fixed(value, 3).rstrip("0").rstrip("."),
        pct=percent,
        home="#main",
    )
    return made


def render(template: str, data: Mapping[str, Any], **values: Any) -> str:
    """Return a page as HTML; ``data`` goes into it once, as JSON, and ``values`` are the template's own."""
    shared = {"config": theme.vega_config(), "colors": theme.LIGHT}
    return str(
        templates()
        .get_template(template)
        .render(data=script_json({**shared, **data}), bundle=javascript_bundle(), **values)
    )


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all (its folder is made where missing) and return its path.

    Raises BadInputError where it cannot be written.
    """
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise BadInputError(str(path), "a place that can be written to", error.strerror or str(error)) from error
    return path
