"""``measurebench convert``: writes a checkpoint as safetensors, with a manifest entry."""

from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.cli.declared import takes
from measurebench.cli.printing import say

__all__ = ["convert"]


@takes("architecture", "normalization", "weights", "allow_pickle", "trust_code")
def convert(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A checkpoint, or any reference to local models.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the safetensors files and their models.toml.")],
    **given: Any,
) -> int:
    """Write weights as safetensors, under the network's own names, and add the model to the manifest of the folder."""
    from measurebench.models.convert import convert_checkpoint

    for spec in convert_checkpoint(model, out, **given):
        say(f"{out / Path(spec.locator).name}  ({spec.reference})")
    return 0
