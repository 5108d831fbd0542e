"""Defines colours, shapes and type of every page and figure, for light, dark and print."""

from collections.abc import Sequence
from typing import Any

__all__ = [
    "DARK",
    "FONT",
    "LIGHT",
    "SERIES",
    "SHAPES",
    "TAU_FILLS",
    "TAU_INKS",
    "TAU_STEPS",
    "Colors",
    "contrast",
    "css_variables",
    "resolved",
    "series",
    "vega_config",
]

Colors = dict[str, str]

# Series hues keep apart under the common colour-vision deficiencies (tests/reporting/html/test_theme.py) and every
# series has a shape of its own besides. h1..h9 run from tau = -1 to +1, t1..t9 are the ink on them.
LIGHT: Colors = {
    "paper": "#ffffff",
    "panel": "#f6f7f8",
    "ink": "#1c2127",
    "muted": "#56616c",
    "rule": "#d8dde2",
    "grid": "#e7eaed",
    "accent": "#0b5a9d",
    "mark": "#fff3c4",
    "good": "#10694c",
    "bad": "#a03a07",
    "s1": "#2a72b5",
    "s2": "#c4520a",
    "s3": "#0d7f63",
    "s4": "#99468c",
    "s5": "#8a6a00",
    "s6": "#4b6478",
    "s7": "#b03a4e",
    "s8": "#3c3c3c",
    "h1": "#a4500a",
    "h2": "#d98432",
    "h3": "#f2b777",
    "h4": "#f9dfbf",
    "h5": "#f1f2f3",
    "h6": "#d3e4f1",
    "h7": "#97c3e1",
    "h8": "#5297c8",
    "h9": "#1d5f9e",
    "t1": "#ffffff",
    "t2": "#1c2127",
    "t3": "#1c2127",
    "t4": "#1c2127",
    "t5": "#1c2127",
    "t6": "#1c2127",
    "t7": "#1c2127",
    "t8": "#10151a",
    "t9": "#ffffff",
}
DARK: Colors = {
    "paper": "#14171b",
    "panel": "#1c2026",
    "ink": "#e7e9ec",
    "muted": "#a6b0ba",
    "rule": "#363d45",
    "grid": "#282e35",
    "accent": "#86bdf2",
    "mark": "#4a4110",
    "good": "#62cfa4",
    "bad": "#f2a06b",
    "s1": "#6fb2ee",
    "s2": "#f2995c",
    "s3": "#4cc4a2",
    "s4": "#d597cb",
    "s5": "#d9ba55",
    "s6": "#a9bdcc",
    "s7": "#f08a9b",
    "s8": "#d0d0d0",
    "h1": "#f4b877",
    "h2": "#c98238",
    "h3": "#8a5417",
    "h4": "#4d3314",
    "h5": "#262b31",
    "h6": "#1c3a54",
    "h7": "#235b8a",
    "h8": "#4d95cf",
    "h9": "#9accf5",
    "t1": "#14171b",
    "t2": "#14171b",
    "t3": "#ffffff",
    "t4": "#f4f5f6",
    "t5": "#e7e9ec",
    "t6": "#f4f5f6",
    "t7": "#ffffff",
    "t8": "#101418",
    "t9": "#14171b",
}

SERIES = tuple(f"var(--s{i})" for i in range(1, 9))
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
# Nine classes of tau. The middle one, from -0.1 to 0.1, is grey: it reads as "nothing".
TAU_STEPS = (-0.7, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5, 0.7)
TAU_FILLS = tuple(f"var(--h{i})" for i in range(1, 10))
TAU_INKS = tuple(f"var(--t{i})" for i in range(1, 10))
FONT = 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


def css_variables(colors: Colors) -> str:
    """Return one scheme as CSS declarations.

    >>> css_variables({"ink": "#1c2127", "paper": "#ffffff"})
    '--ink: #1c2127; --paper: #ffffff;'
    """
    return " ".join(f"--{name}: {value};" for name, value in colors.items())


def vega_config() -> dict[str, Any]:
    """Return the Vega-Lite configuration of all charts; colours are CSS variables, so that a scheme needs no redraw."""
    text = {"labelColor": "var(--muted)", "titleColor": "var(--ink)"}
    return {
        "font": FONT,
        "background": "transparent",
        "view": {"stroke": None},
        "axis": {
            **text,
            "labelFontSize": 11,
            "titleFontSize": 12,
            "titleFontWeight": 500,
            "gridColor": "var(--grid)",
            "domainColor": "var(--rule)",
            "tickColor": "var(--rule)",
            "labelPadding": 5,
            "titlePadding": 9,
        },
        "axisBand": {"grid": False},
        "legend": {
            **text,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": 500,
            "symbolSize": 80,
            "orient": "top",
            "direction": "horizontal",
            "symbolStrokeWidth": 1.5,
            "columnPadding": 14,
        },
        "header": {**text, "labelFontSize": 12, "titleFontSize": 12},
        "title": {"color": "var(--ink)", "subtitleColor": "var(--muted)", "fontSize": 14, "anchor": "start"},
        "point": {"filled": True, "size": 46},
        "text": {"color": "var(--ink)", "fontSize": 11},
        "rule": {"color": "var(--muted)"},
        "line": {"strokeWidth": 1.8},
    }


def resolved(value: Any, colors: Colors = LIGHT) -> Any:
    """Return a specification with every ``var(--name)`` replaced by its colour, for files outside a page.

    >>> resolved({"color": "var(--s1)", "size": 3}, {"s1": "#2a72b5"})
    {'color': '#2a72b5', 'size': 3}
    """
    if isinstance(value, str) and value.startswith("var(--"):
        return colors[value[6:-1]]
    if isinstance(value, dict):
        return {key: resolved(item, colors) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolved(item, colors) for item in value]
    return value


def series(levels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a colour and a shape per level.

    Beyond eight levels both start again, shifted against each other, so that no pair repeats among the first 64.

    >>> series(["AT", "TRADES"])
    (['var(--s1)', 'var(--s2)'], ['circle', 'square'])
    """
    n = len(SERIES)
    colors = [SERIES[i % n] for i in range(len(levels))]
    return colors, [SHAPES[(i + i // n) % n] for i in range(len(levels))]


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours ``#rrggbb``, from 1 to 21 (WCAG 2.2, relative luminance).

    >>> round(contrast("#000000", "#ffffff"), 6), contrast("#2a72b5", "#2a72b5")
    (21.0, 1.0)
    """
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
