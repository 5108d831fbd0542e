"""``measurebench status``: shows what is done, missing and failed in a results folder."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from measurebench.cli.printing import say, say_json

if TYPE_CHECKING:
    from measurebench.store.status import ModelStatus

__all__ = ["status"]

_SHOWN = 6


def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A results folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one object per model.")] = False,
) -> int:
    """Show for each model how much is measured, undefined, missing and failed, with the reasons.

    Exit status: 0, or 1 if something failed.
    """
    from measurebench.store.status import read_status

    models = read_status(folder)
    if as_json:
        say_json([model.to_json() for model in models])
    else:
        _print(folder, models)
    return 1 if any(model.failed for model in models) else 0


def _print(folder: Path, models: "Sequence[ModelStatus]") -> None:
    times = Counter(model.id for model in models)
    rows = f" in {len(models)} configurations" if len(times) < len(models) else ""
    say(f"{folder}: {len(times)} models{rows}, {sum(model.measured for model in models)} values")
    alike = Counter((model.id, model.threat) for model in models)
    for model in models:
        known = [model.threat] if times[model.id] > 1 else []
        known += [f"configuration {model.config_digest}"] if alike[model.id, model.threat] > 1 else []
        counts = {"undefined": len(model.undefined), "missing": len(model.missing), "failed": len(model.failed)}
        parts = [f"{model.measured} measured", *(f"{n} {word}" for word, n in counts.items() if n)]
        told = f" ({', '.join(known)})" if known else ""
        say(f"  {model.id}{told}: {', '.join(parts)}")
        for kind, items in (("failed", model.failed), ("undefined", model.undefined)):
            for item in items:
                say(f"    {kind} {item.measure} {item.split}: {item.reason}")
        for value in model.flagged:
            say(f"    flagged {value.measure} {value.split}: {value.flags}")
        if model.missing:
            shown = [f"{measure} ({split})" for measure, split in model.missing[:_SHOWN]]
            more = [f"and {len(model.missing) - _SHOWN} more"] if len(model.missing) > _SHOWN else []
            say(f"    missing {', '.join([*shown, *more])}")
