"""``measurebench.run``: the same run as that of the command line, called from Python."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measurebench.core.errors import BadInputError
from measurebench.core.option_fields import Option, check_names, options_of
from measurebench.engine.options import RunOptions

if TYPE_CHECKING:
    from measurebench.core.specs import ModelSpec
    from measurebench.datasets import Dataset
    from measurebench.engine.runner import Progress, RunSummary
    from measurebench.measures.registry import Measure

__all__ = ["run"]


def run(
    models: str | ModelSpec | Iterable[str | ModelSpec],
    dataset: str | Dataset | Any,
    out: str | Path,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> RunSummary:
    """Measure models on a data set, write every value under ``out``, and return a summary of what was done.

    Values that are on record already are not measured again. ``models`` are references (``digits:*``, a manifest, a
    checkpoint) or specifications; for a network in memory there is ``measurebench.measure``. ``dataset`` is a name, or
    images in memory: a ``Dataset``, items (image, label) such as a torch ``Dataset``, which are the test images, or a
    mapping of such items with ``train`` and ``test``. ``measures`` may be a list of ids and of measures with parameters
    of their own. ``progress`` hears what happens (``engine.runner.Progress``).
    Raises BadInputError for a name or a value that cannot be used, before anything is measured.

    Options, with the defaults of the command line:

    {options}
    """
    from measurebench.engine.runner import run as run_models

    check_names(RunOptions, options, "run")
    measures, settings = _measures(options.pop("measures", "core"), options.pop("measure_settings", {}))
    images = None if isinstance(dataset, str) else _images(dataset, options.get("classes"))
    name = str(dataset) if images is None else images.name
    chosen = RunOptions(dataset=name, measures=measures, measure_settings=settings, **options)
    return run_models(_specs(models, chosen), chosen, out, images=images, progress=progress)


def _images(dataset: Any, classes: int | None) -> Dataset:
    """Return images in memory as a data set."""
    from measurebench.datasets import Dataset, from_items
    from measurebench.datasets.base import clamped

    if isinstance(dataset, Dataset):
        return clamped(dataset if classes is None else dataset.with_classes(classes))
    return from_items(dataset, n_classes=classes)


def _specs(models: str | ModelSpec | Iterable[str | ModelSpec], options: RunOptions) -> Sequence[ModelSpec]:
    """Return the specifications of this shard; raises BadInputError for what is neither reference nor specification."""
    from measurebench.core.shards import part
    from measurebench.core.specs import ModelSpec
    from measurebench.models.references import resolve

    # A network may be iterable (nn.Sequential), but it is callable.
    several = isinstance(models, Iterable) and not isinstance(models, str) and not callable(models)
    given: list[Any] = list(models) if several else [models]  # type: ignore[arg-type]
    found: dict[str, ModelSpec] = {}
    for model in given:
        if not isinstance(model, str | ModelSpec):
            hint = "measurebench.measure(network, images, labels) measures a network in memory"
            raise BadInputError("models", "references or specifications of models", type(model).__name__, hint)
    asked: dict[str, Any] = {"architecture": options.architecture, "normalization": options.normalization}
    asked |= {"weights": options.weights, "dataset": options.dataset}
    asked |= {"allow_pickle": options.allow_pickle, "trust_code": options.trust_code}
    if all(isinstance(model, str) for model in given):
        return part(resolve(given, **asked), options.shard)
    for model in given:
        for spec in [model] if isinstance(model, ModelSpec) else resolve([model], **asked):
            if found.setdefault(spec.id, spec) != spec:
                raise BadInputError("models", "a different id for every model of a run", f"{spec.id!r} twice")
    return part(list(found.values()), options.shard)


def _measures(
    measures: str | Measure | Iterable[str | Measure], settings: Mapping[str, Mapping[str, Any]]
) -> tuple[Any, Any]:
    """Return measures as ids, and what sets their parameters: ids and settings alone tell records apart."""
    if isinstance(measures, str):
        return measures, settings
    items = list(measures) if isinstance(measures, list | tuple | set | frozenset) else [measures]
    changed = {name: dict(values) for name, values in settings.items()} if isinstance(settings, Mapping) else settings
    ids = []
    for item in items:
        ids.append(item if isinstance(item, str) else _id(item))
        if not isinstance(item, str) and (own := _changes(item)):
            changed[ids[-1]] = own | changed.get(ids[-1], {})
    return ids, changed


def _id(item: Any) -> str:
    """Return the id of a registered measure."""
    from measurebench.measures.registry import find_measure

    name = getattr(getattr(item, "info", None), "id", None)
    if isinstance(item, type) or not isinstance(name, str):
        raise BadInputError("measures", "ids or measures", repr(item)[:80])
    if type(find_measure(name)) is not type(item):
        hint = "register it with measurebench.measures.registry.register"
        raise BadInputError("measures", f"the registered measure {name}", type(item).__name__, hint)
    return name


def _changes(item: Any) -> dict[str, Any]:
    """Return the parameters in which a measure differs from the registered one of its id."""
    from measurebench.measures.registry import find_measure, parameters_of

    usual = parameters_of(find_measure(item.info.id))
    return {name: value for name, value in parameters_of(item).items() if value != usual[name]}


def _line(option: Option) -> str:
    default = f"default: {option.note}" if option.note else f"default: {option.default!r}"
    return f"    - ``{option.name}``: {option.help} [{default}]"


def _document() -> None:
    """Give ``run`` the signature and the list of options that ``RunOptions`` declares."""
    declared = [option for option in options_of(RunOptions).values() if not option.is_required]
    run.__doc__ = (run.__doc__ or "").replace("    {options}", "\n".join(map(_line, declared)))
    kept = [item for item in inspect.signature(run).parameters.values() if item.kind is not item.VAR_KEYWORD]
    more = [inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default) for item in declared]
    run.__signature__ = inspect.Signature([*kept, *more], return_annotation="RunSummary")  # type: ignore[attr-defined]


_document()
