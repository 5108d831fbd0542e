"""What a chart really draws: its marks with their positions, read from the scene that Vega lays out.

The tests of the charts compare these positions with numbers that they compute from the table themselves. A position
becomes a value again through the labelled ticks of the axis, so that a wrong scale is noticed as much as a wrong mark.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import vl_convert

from measurebench.reporting.figures.figure import Figure
from measurebench.reporting.figures.figure_files import standalone
from measurebench.reporting.html.bundle import VEGA_LITE

__all__ = ["Axis", "Layer", "Scene", "drawn", "number", "told"]

Item = dict[str, Any]


def number(text: str) -> float:
    """Return the value of a tick's label: "−0.8" is -0.8, "60%" is 0.6, "10M" is ten million."""
    plain = text.replace("\u2212", "-").replace(",", "")
    if plain.endswith("%"):
        return float(plain[:-1]) / 100
    factor = {"k": 1e3, "M": 1e6, "G": 1e9}.get(plain[-1])
    return float(plain[:-1]) * factor if factor else float(plain)


def told(item: Item) -> dict[str, str]:
    """Return what a mark's description says, by field: {"title": "local lip", "tau": "0.5"}."""
    parts = [part.partition(": ") for part in str(item.get("description", "")).split("; ")]
    return {name: value for name, _, value in parts}


@dataclass(frozen=True)
class Axis:
    """The labelled ticks of an axis and its title; ``unit`` is what one unit of its labels means."""

    texts: tuple[str, ...]
    positions: tuple[float, ...]
    title: str
    unit: float = 1.0

    def at(self, position: float, log: bool = False) -> float:
        """Return the value at a position in pixels, through the outermost labelled ticks."""
        labelled = [(number(t) * self.unit, p) for t, p in zip(self.texts, self.positions, strict=True) if t]
        (a, left), (b, right) = labelled[0], labelled[-1]
        share = (position - left) / (right - left)
        return math.exp(math.log(a) + share * math.log(b / a)) if log else a + share * (b - a)

    def name(self, position: float) -> str:
        """Return the label of the row or column that lies nearest to a position."""
        return min(zip(self.texts, self.positions, strict=True), key=lambda pair: abs(pair[1] - position))[0]

    def centre(self, name: str) -> float:
        """Return where a row or column lies."""
        return self.positions[self.texts.index(name)]


@dataclass(frozen=True)
class Layer:
    """The marks of one layer, in the order in which they are drawn."""

    kind: str
    items: tuple[Item, ...]

    def by(self, field: str) -> dict[str, Item]:
        """Return the marks by a field of their descriptions."""
        return {told(item)[field]: item for item in self.items}


@dataclass(frozen=True)
class Scene:
    """A chart as it is drawn."""

    root: Item
    frame: Item

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of marks, from the bottom to the top."""
        nodes = [n for n in self.frame["items"] if (n.get("name") or "").endswith(("marks", "pathgroup"))]
        return tuple(layer for node in nodes for layer in _layers(node))

    def of(self, kind: str) -> list[Layer]:
        """Return the layers of one kind of mark: symbol, rule, rect, line, area, text."""
        return [layer for layer in self.layers if layer.kind == kind]

    @property
    def width(self) -> float:
        """The width of the frame in pixels."""
        return float(self.frame["width"])

    @property
    def height(self) -> float:
        """The height of the frame in pixels."""
        return float(self.frame["height"])

    def axis(self, orient: str, unit: float = 1.0) -> Axis:
        """Return the labelled axis at the bottom, left or top."""
        for node in self.frame["items"]:
            if node.get("role") != "axis":
                continue
            item = node["items"][0]
            labels = [mark for mark in item["items"] if mark.get("role") == "axis-label"]
            if item["orient"] == orient and labels:
                titles = [mark for mark in item["items"] if mark.get("role") == "axis-title"]
                title = titles[0]["items"][0].get("text", "") if titles else ""
                along = "x" if orient in ("bottom", "top") else "y"
                items = labels[0]["items"]
                return Axis(tuple(_text(i) for i in items), tuple(float(i[along]) for i in items), _text(title), unit)
        raise AssertionError(f"no labelled axis at the {orient}")

    @property
    def x(self) -> Axis:
        """The axis at the bottom."""
        return self.axis("bottom")

    @property
    def y(self) -> Axis:
        """The axis at the left."""
        return self.axis("left")

    @cached_property
    def legend(self) -> dict[str, Item]:
        """The symbols of the legend by their labels."""
        found = {}
        for node in _walk(self.root, lambda node: node.get("role") == "legend-entry"):
            for entry in _walk(node, lambda node: node.get("role") == "scope"):
                for group in entry["items"]:
                    symbols = [i for m in group["items"] if m.get("role") == "legend-symbol" for i in m["items"]]
                    labels = [i for m in group["items"] if m.get("role") == "legend-label" for i in m["items"]]
                    found |= {_text(label): symbol for label, symbol in zip(labels, symbols, strict=True)}
        return found


def drawn(figure: Figure) -> Scene:
    """Lay a figure out as its file is and return the scene."""
    root = vl_convert.vegalite_to_scenegraph(standalone(figure), vl_version=VEGA_LITE)["scenegraph"]
    return Scene(root, root["items"][0])


def _layers(node: Item) -> Iterator[Layer]:
    """Yield a mark's own layer, or those of the facets that lines and areas are grouped into."""
    if node["marktype"] != "group":
        yield Layer(node["marktype"], tuple(node.get("items", ())))
        return
    for item in node["items"]:
        for inner in item.get("items", ()):
            yield from _layers(inner)


def _walk(node: Item, wanted: Callable[[Item], bool]) -> Iterator[Item]:
    if wanted(node):
        yield node
        return
    for child in node.get("items", ()):
        if isinstance(child, dict):
            yield from _walk(child, wanted)


def _text(item: Any) -> str:
    text = item.get("text", "") if isinstance(item, dict) else item
    return "\n".join(map(str, text)) if isinstance(text, list) else str(text)
