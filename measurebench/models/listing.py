"""Lists of models and architectures that can be measured, as plain values."""

from typing import Any

from measurebench.core.specs import ModelSpec
from measurebench.models.references import resolve

__all__ = ["list_models"]


def list_models(source: str = "digits", dataset: str = "cifar10") -> list[dict[str, Any]]:
    """Return a description of each model of a source; its ``reference`` is what ``run`` and ``check_model`` take.

    ``source`` is ``digits`` (the shipped zoo), ``robustbench`` or ``robustbench:PATTERN`` (offline, from the tables of
    its package, for ``dataset``), ``architectures`` (the registered ones), a folder, a manifest or any model reference.
    What is not known is None. Raises BadInputError where a reference names no model.

    >>> list_models("digits")[0]["norm"]
    'Linf'
    """
    if source == "architectures":
        return _architectures()
    if source.partition(":")[0] == "robustbench":
        return _robustbench(source.partition(":")[2] or "*", dataset)
    return [_row(spec) for spec in resolve(["digits:*" if source == "digits" else source])]


def _row(spec: ModelSpec) -> dict[str, Any]:
    """Describe a model as its manifest does."""
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


def _robustbench(pattern: str, dataset: str) -> list[dict[str, Any]]:
    """Describe RobustBench's models from the tables of the installed package."""
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


def _architectures() -> list[dict[str, Any]]:
    """Describe the registered architectures, with the number of parameters for ten classes and their origin."""
    import torch

    from measurebench.models.architectures import all_architectures

    rows, known = [], all_architectures()
    for name, item in known.items():
        with torch.device("meta"):  # counts the parameters without making them
            network = item.build(n_classes=10, in_channels=item.image_shape[0])
        count = sum(parameter.numel() for parameter in network.parameters())
        shape = "x".join(str(size) for size in item.image_shape)
        row = {"architecture": name, "image_shape": shape, "n_parameters": count, "source": item.source}
        rows.append(row | {"origin": str(known.origin(name))})
    return rows
