"""Hooks of the site: generated pages, formulas as MathML, and a check that no page asks another host."""

import html
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from commands import commands_page  # noqa: E402
from python_page import python_page  # noqa: E402

from measurebench.core.mathematics import mathml  # noqa: E402

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
_RESOURCE = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*\brel=["']?(?:stylesheet|preload|icon|"""
    r"""preconnect)\b[^>]*\bhref=["']?(?:https?:)?//|@import\s+url\(["']?https?:|url\(["']?https?://"""
)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the command line and of the Python interface, generated from the code."""
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    files.append(File.generated(config, "reference/python.md", content=python_page()))
    return files


def on_page_content(text: str, **_: Any) -> str:
    """Set every formula of a page as MathML. A formula that cannot be set stops the build."""
    text = _INLINE.sub(lambda found: mathml(html.unescape(found[1])), text)
    return _BLOCK.sub(lambda found: _block(html.unescape(found[1]).strip()), text)


def _block(latex: str) -> str:
    """Return a formula and its side conditions, one under the other where they do not fit side by side."""
    first, *conditions = latex.split(r",\quad ")
    parts = [mathml(first, block=True), *(mathml(condition) for condition in conditions)]
    return '<div class="formula">' + "".join(f"<div>{part}</div>" for part in parts) + "</div>"


def on_post_build(config: Any) -> None:
    """Refuse a site of which a page asks another host for something, or leaves a formula as text."""
    for path in sorted(Path(config["site_dir"]).rglob("*")):
        if path.suffix not in (".html", ".css"):
            continue
        text = path.read_text(encoding="utf-8")
        if found := _RESOURCE.search(text):
            raise PluginError(f"{path} asks another host: {text[found.start() : found.start() + 120]!r}")
        if "arithmatex" in text and path.suffix == ".html":
            raise PluginError(f"{path} holds a formula that was not set")
