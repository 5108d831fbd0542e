"""``measurebench models``: what can be measured, and how each model is named."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.core.specs import ModelSpec

__all__ = ["models"]


def models(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[SOURCE]", help="robustbench, digits, architectures, a directory, or any model reference."
        ),
    ] = "digits",
    dataset: Annotated[str, typer.Option(help="For robustbench: cifar10 or cifar100.")] = "cifar10",
    as_json: Annotated[bool, typer.Option("--json", help="Print one list of objects.")] = False,
) -> int:
    """List what can be measured; a model's reference is what ``run`` and ``check`` take."""
    if source == "architectures":
        rows = _architecture_rows()
    elif source.partition(":")[0] == "robustbench":
        rows = _robustbench_rows(source.partition(":")[2] or "*", dataset)
    else:
        from measurebench.models.references import resolve

        reference = "digits:*" if source == "digits" else source
        rows = [_row(spec) for spec in resolve([reference])]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        _print(rows, source)
    return 0


def _row(spec: ModelSpec) -> dict[str, Any]:
    """Describe a model as its manifest does; what is unknown is null."""
    threat = spec.threat_model
    return {
        "reference": spec.reference,
        "id": spec.id,
        "architecture": spec.architecture,
        "defense": spec.defense,
        "dataset": spec.dataset,
        "norm": threat.norm.value if threat else None,
        "radius": threat.text if threat else None,
        "clean_accuracy": spec.expected_clean_accuracy,
        "cluster": spec.cluster,
        "run": spec.run,
        "settings": dict(spec.settings),
    }


def _robustbench_rows(pattern: str, dataset: str) -> list[dict[str, Any]]:
    """Describe RobustBench's models from the tables of the installed package, offline."""
    from measurebench.models.robustbench.zoo import entries, zoo_specs

    wanted = {spec.locator for spec in zoo_specs(pattern, dataset)}
    rows = []
    for entry in entries(dataset):
        if (spec := entry.spec()).locator in wanted:
            rows.append(
                _row(spec)
                | {
                    "robust_accuracy": entry.robust_accuracy,
                    "n_parameters": entry.n_parameters,
                    "paper": entry.paper,
                    "link": entry.link,
                    "venue": entry.venue,
                    "cached": entry.is_cached,
                }
            )
    return rows


def _architecture_rows() -> list[dict[str, Any]]:
    """Describe the registered architectures, with the parameters they have for ten classes and their origin."""
    import torch

    from measurebench.models.architectures import all_architectures

    rows, known = [], all_architectures()
    for name, item in known.items():
        with torch.device("meta"):
            network = item.build(n_classes=10, in_channels=item.image_shape[0])
        count = sum(parameter.numel() for parameter in network.parameters())
        shape = "x".join(str(size) for size in item.image_shape)
        row = {"architecture": name, "image_shape": shape, "n_parameters": count, "source": item.source}
        rows.append(row | {"origin": str(known.origin(name))})
    return rows


_COLUMNS = {
    "reference": "reference",
    "architecture": "architecture",
    "image_shape": "images",
    "defense": "defense",
    "norm": "norm",
    "radius": "radius",
    "clean_accuracy": "clean",
    "robust_accuracy": "robust",
    "n_parameters": "parameters",
    "cached": "cached",
    "source": "source",
    "origin": "origin",
    "paper": "paper",
}


def _print(rows: list[dict[str, Any]], source: str) -> None:
    """Print a table of the columns that have something to say."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    columns = [key for key in _COLUMNS if any(row.get(key) is not None for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for key in columns:
        table.add_column(_COLUMNS[key], overflow="fold", no_wrap=key == "reference")
    for row in rows:
        table.add_row(*(escape(_cell(key, row.get(key))) for key in columns))
    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    console.print(table)
    others = [name for name in ("robustbench", "digits", "architectures") if name != source]
    console.print(f"{len(rows)} in {escape(source)}; also: {', '.join(others)}, or a directory with a models.toml")


def _cell(key: str, value: Any) -> str:
    """Write a value for people."""
    if value is None:
        return ""
    if key.endswith("_accuracy"):
        return f"{100 * value:.2f} %"
    if key == "n_parameters":
        return f"{value:,}"
    if key == "cached":
        return "yes" if value else "no"
    return str(Path(value).name) if key == "architecture" and "/" in str(value) else str(value)
