"""``measurebench status``: what of a results folder is done, missing or failed."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["status"]


def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A results folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one object per model.")] = False,
) -> int:
    """Tell what is done, missing and failed, with reasons; exit status 1 where something failed."""
    from measurebench.store.folder import ResultsFolder, model_key

    results = ResultsFolder.open(folder)
    records = results.records_by_model()
    rows = [_summary(entry, records[model_key(entry)]) for entry in results.catalogue().values()]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        _print(folder, rows)
    return 1 if any(row["failed"] for row in rows) else 0


def _summary(entry: dict[str, Any], records: list[Any]) -> dict[str, Any]:
    mine = [r for r in records if r.measure != "load"]
    failed = [{"measure": r.measure, "split": r.split, "reason": r.reason} for r in mine if r.status == "failed"]
    if entry.get("failure"):
        failed.insert(0, {"measure": "load", "split": "", "reason": entry["failure"]})
    counts = Counter(r.status for r in mine)
    return {
        "id": entry["model_id"],
        "measured": counts["measured"],
        "undefined": [
            {"measure": r.measure, "split": r.split, "reason": r.reason} for r in mine if r.status == "undefined"
        ],
        "failed": failed,
        "done": sorted({(r.measure, r.split) for r in mine}),
    }


def _print(folder: Path, rows: list[dict[str, Any]]) -> None:
    everything = {tuple(pair) for row in rows for pair in row["done"]}
    typer.echo(f"{folder}: {len(rows)} models, {sum(row['measured'] for row in rows)} values")
    for row in rows:
        missing = sorted(everything - {tuple(pair) for pair in row["done"]})
        parts = [f"{row['measured']} measured"]
        parts += [f"{len(row['undefined'])} undefined"] if row["undefined"] else []
        parts += [f"{len(missing)} missing"] if missing else []
        parts += [f"{len(row['failed'])} failed"] if row["failed"] else []
        typer.echo(f"  {row['id']}: {', '.join(parts)}")
        for kind in ("failed", "undefined"):
            for item in row[kind]:
                typer.echo(f"    {kind} {item['measure']} {item['split']}: {item['reason']}")
        if missing:
            typer.echo(f"    missing {', '.join(f'{measure} ({split})' for measure, split in missing[:6])}")
