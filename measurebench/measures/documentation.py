"""docs/measures.md and the list of measures that torch-free code reads, from the measures' own descriptions."""

from collections.abc import Iterable
from pathlib import Path

from measurebench.core.info import FAMILIES, PROPERTIES, Family, MeasureInfo
from measurebench.core.infos import INFOS_FILE, infos_text, ordered
from measurebench.measures.registry import all_measures

__all__ = ["infos", "page", "write_documentation"]

_FAMILY_TITLES: dict[Family, str] = {
    "weights": "Weight norms",
    "margins": "Margins",
    "smoothness": "Smoothness",
    "flatness": "Flatness",
    "gradients": "Gradient norms",
    "robustness": "Robustness",
    "calibration": "Calibration",
}
_HYPOTHESES = {"+": "larger value, larger gap", "-": "larger value, smaller gap", "": "none"}
_HEAD = """# Measures

Written by `nox -s docs` from what each measure says of itself; not to be edited by hand.

A plain id reads clean images, the suffix `_pgd` PGD examples (10 steps of a quarter of the radius, random start).
Values are taken on training images unless a command says otherwise, in pixel units of [0, 1], with natural
logarithms. x* is the adversarial example of x, z are logits, p their softmax, y the label, l the cross-entropy.
Cost counts passes over the n images: F forward, B backward; `shared` means one that several measures share.
The hypothesis is the sign of the association with the robust generalization gap that folklore predicts; what is
found is for `measurebench analyze` to say. A variant is asked for as `id:variant`.

A measure without a value for a network is `undefined`, with the reason; it never returns a number in its place.
"""


def infos() -> list[MeasureInfo]:
    """Return what all built-in measures say of themselves, in listing order; third-party packages have own pages."""
    known = all_measures()
    return ordered(item.info for name, item in known.items() if known.origin(name).is_built_in)


def page() -> str:
    """Return docs/measures.md."""
    known = infos()
    parts = [_HEAD, _properties(), _overview(known)]
    for family in FAMILIES:
        mine = [info for info in known if info.family == family]
        if mine:
            parts.append(f"## {_FAMILY_TITLES[family]}\n")
            parts += [_card(group) for group in _groups(mine)]
    return "\n".join(parts)


def write_documentation(root: Path) -> list[Path]:
    """Write docs/measures.md and the package's list of measures below ``root``; return their paths."""
    target = root / "docs" / "measures.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(), encoding="utf-8")
    listing = root / "measurebench" / "core" / INFOS_FILE.name
    listing.write_text(infos_text(infos()), encoding="utf-8")
    return [target, listing]


def _properties() -> str:
    lines = [f"- `{name}`: {text}" for name, text in PROPERTIES.items()]
    head = "Properties, each shown to hold where it is declared and not to hold where it is not:"
    return "\n".join([head, "", *lines, ""])


def _overview(known: list[MeasureInfo]) -> str:
    rows = [
        f"| `{info.id}` | {info.family} | {info.tier} | {info.hypothesis} | {_cell(info.cost)} | {_cell(info.title)} |"
        for info in known
    ]
    return "\n".join(["| id | family | tier | hypothesis | cost | title |", "|---|---|---|---|---|---|", *rows, ""])


def _groups(mine: Iterable[MeasureInfo]) -> list[list[MeasureInfo]]:
    """Put the clean and the PGD form of one measure together, under the plain id."""
    groups: dict[str, list[MeasureInfo]] = {}
    for info in mine:
        groups.setdefault(info.id.removesuffix("_pgd"), []).append(info)
    return [sorted(group, key=lambda info: len(info.id)) for group in groups.values()]


def _card(group: list[MeasureInfo]) -> str:
    """Write one measure, with its clean and PGD forms."""
    info = group[0]
    lines = [f"### {', '.join(f'`{one.id}`' for one in group)}", "", f"**{info.title}**. {info.explanation}", ""]
    for one in group:
        if one is info or one.formula != info.formula:
            lines.append(f"- Formula{'' if one is info else f' of `{one.id}`'}: `{one.formula}` ({one.unit})")
    lines += [
        "- Reads: " + "; ".join(f"{one.id}: {', '.join(one.inputs)}" for one in group),
        f"- Hypothesis: {_HYPOTHESES[info.hypothesis]}",
        f"- Cost: {info.cost}",
        f"- Source: {info.source}",
    ]
    if info.properties:
        lines.append(f"- Properties: {', '.join(info.properties)}")
    lines += [f"- Variant `{info.id}:{name}`: {text}" for name, text in info.variants.items()]
    if info.departures:
        lines.append(f"- Departures: {info.departures}")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
