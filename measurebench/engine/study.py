"""The Python mirror of ``measurebench run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from measurebench.core.specs import ModelSpec
    from measurebench.engine.runner import RunSummary

__all__ = ["run"]


def run(
    models: str | Sequence[str | ModelSpec],
    dataset: str,
    out: str | Path,
    *,
    workers: int | Literal["auto"] = 1,
    **options: Any,
) -> RunSummary:
    """Measure models on a dataset, record every value under ``out``, and return what was done.

    ``models`` are references (``digits:*``, a manifest) or specifications; ``options`` are the fields of
    ``engine.options.RunOptions``: measures, attacks, norm, radius, train_examples, seed and so on. Raises
    BadInputError for what can be known to be wrong before anything is measured.
    """
    from measurebench.engine.options import RunOptions
    from measurebench.engine.runner import run as run_models
    from measurebench.models.references import resolve

    chosen = RunOptions(dataset=dataset, **options)
    specs: list[ModelSpec] = []
    for model in [models] if isinstance(models, str) else models:
        specs += (
            resolve([model], dataset=dataset, allow_pickle=chosen.allow_pickle) if isinstance(model, str) else [model]
        )
    return run_models(specs, chosen, out, workers=workers)
