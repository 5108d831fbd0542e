"""Checks a model from its reference to its robustness, and collects what is found."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from measurebench.checks.classification import (
    accuracy_lines,
    correct_predictions,
    n_outputs,
    nan_lines,
    normalization_lines,
    preflight_lines,
)
from measurebench.checks.masking import robustness_lines
from measurebench.checks.results import CheckLine, Effort, ModelCheck
from measurebench.compute.devices import choose_device
from measurebench.compute.numerics import full_precision
from measurebench.core.config import choose_threat
from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.core.specs import NORMALIZATIONS, ModelSpec, Normalization
from measurebench.core.threat import ThreatModel
from measurebench.core.trust import demand_word
from measurebench.datasets import Dataset, load_dataset
from measurebench.models import LoadedModel, load_model, resolve
from measurebench.models.identity import named_code
from measurebench.models.verify import check_images

__all__ = ["check_model", "check_models"]

_TRIAL_IMAGES = 200


def check_model(
    model: str | ModelSpec,
    dataset: str | None = None,
    *,
    data_dir: str | Path | None = None,
    classes: int | None = None,
    architecture: str | None = None,
    normalization: str | Normalization | None = None,
    weights: str | Sequence[str | int] | None = None,
    norm: str | None = None,
    radius: str | float | None = None,
    examples: int = 1000,
    attack_examples: int = 32,
    autoattack: bool = False,
    device: str = "auto",
    allow_pickle: bool = False,
    trust_code: bool = False,
    offline: bool = False,
) -> ModelCheck:
    """Load a model, test it on images, attack it, and return what was found.

    Clean accuracy is taken on ``examples`` test images; of those that are classified correctly, ``attack_examples`` are
    attacked. ``dataset`` is the model's own unless given, ``norm`` and ``radius`` its own threat model or else Linf
    8/255; ``classes`` is the number of classes of a data set whose labels may lack the highest. ``architecture``,
    ``normalization`` and ``weights`` are for a checkpoint without a manifest. ``trust_code`` lets code run that a
    manifest names. What is wrong with the model is in the result; raises BadInputError for a reference that names no
    model or several, and for options that cannot be used.

    >>> check = check_model("digits:plain-at-10-b64-s0-last", examples=200, attack_examples=4)
    >>> check.is_sound, check.lines[-2].text
    (True, '4 of 4 correct images withstand PGD-10 (Linf 3/20)')
    """
    effort = Effort(examples, attack_examples, autoattack, choose_device(device), offline, norm, radius, classes)
    spec = model
    if isinstance(spec, str):
        specs = _resolved(spec, dataset, architecture, normalization, weights, allow_pickle, trust_code)
        if len(specs) != 1:
            raise BadInputError(spec, "a reference to one model", f"{len(specs)}", "check_models checks several")
        spec = specs[0]
    demand_word(named_code([spec]), spec.trust_code or trust_code)
    return ModelCheck(spec.reference, spec.id, tuple(_lines(spec, dataset, data_dir, effort)))


def check_models(
    reference: str,
    dataset: str | None = None,
    *,
    architecture: str | None = None,
    normalization: str | Normalization | None = None,
    weights: str | Sequence[str | int] | None = None,
    allow_pickle: bool = False,
    trust_code: bool = False,
    **options: Any,
) -> Iterator[ModelCheck]:
    """Yield the result of ``check_model`` for each model that a reference names, as soon as it is known.

    ``options`` are those of ``check_model``.
    """
    for spec in _resolved(reference, dataset, architecture, normalization, weights, allow_pickle, trust_code):
        yield check_model(spec, dataset, **options)


def _resolved(
    reference: str,
    dataset: str | None,
    architecture: str | None,
    normalization: str | Normalization | None,
    weights: str | Sequence[str | int] | None,
    allow_pickle: bool,
    trust_code: bool,
) -> list[ModelSpec]:
    """Return the specifications of a reference; for RobustBench the data set chooses the list of models."""
    return resolve(
        [reference],
        architecture=architecture,
        normalization=normalization,
        weights=weights,
        dataset=dataset if reference.startswith("robustbench:") else None,
        allow_pickle=allow_pickle,
        trust_code=trust_code,
    )


def _lines(spec: ModelSpec, dataset: str | None, data_dir: str | Path | None, effort: Effort) -> list[CheckLine]:
    """Return the results for one model, in the order in which they are found."""
    threat = choose_threat(spec.threat_model, effort.norm, effort.radius)
    try:
        model = load_model(spec, offline=effort.offline)
    except MeasurebenchError as error:
        failure = CheckLine("WRONG", "loading", str(error))
        return [failure, *_missing_normalization_lines(spec, dataset, data_dir, effort.offline)]
    lines = _loaded_lines(model)
    name = dataset or spec.dataset
    if name is None:
        hint = "give --dataset to run the preflight and measure clean accuracy"
        return [*lines, CheckLine("hint", "images", f"none to test it on; {hint}")]
    try:
        data = load_dataset(name, data_dir, offline=effort.offline, classes=effort.classes)
        with full_precision():
            return lines + _tested_lines(model, data, threat, effort)
    except MeasurebenchError as error:
        return [*lines, CheckLine("WRONG", "images", str(error))]


def _missing_normalization_lines(
    spec: ModelSpec, dataset: str | None, data_dir: str | Path | None, offline: bool
) -> list[CheckLine]:
    """Where only the normalisation of a checkpoint is missing, return the accuracy that each usual one gives."""
    if spec.normalization.stated or dataset is None or spec.architecture is None:
        return []
    lines = []
    try:
        test = load_dataset(dataset, data_dir, offline=offline).test.first(_TRIAL_IMAGES)
        for name in ("none", *NORMALIZATIONS):
            model = load_model(replace(spec, normalization=Normalization.named(name)))
            correct = correct_predictions(model.network, torch.from_numpy(test.images), torch.from_numpy(test.labels))
            text = f"with --normalization {name}: {float(correct.double().mean()):.4f} of {len(correct)} test images"
            lines.append(CheckLine("hint", "normalization", text))
    except (MeasurebenchError, RuntimeError):  # something else is wrong, and has been said
        return []
    return lines


def _loaded_lines(model: LoadedModel) -> list[CheckLine]:
    """Return what was found in the file."""
    normalization = model.spec.normalization
    scaled = f"mean {_short(normalization.mean)}, std {_short(normalization.std)}" if normalization.mean else "none"
    if model.spec.source == "robustbench":
        scaled = "in the network's own code"
    return [
        *(CheckLine("ok", "file", note) for note in model.notes),
        CheckLine("ok", "network", f"{model.spec.architecture or 'pickled module'}, {model.n_parameters:,} parameters"),
        CheckLine("ok", "normalization", scaled),
        CheckLine("ok", "digest", model.digest),
    ]


def _short(numbers: tuple[float, ...]) -> str:
    """Return numbers with four digits each."""
    return "(" + ", ".join(f"{number:.4g}" for number in numbers) + ")"


def _threat_line(own: ThreatModel | None, used: ThreatModel) -> CheckLine:
    """Say at which radius the model is attacked, and whether that is its own."""
    if own is None:
        text = f"attacked at {used}; the model names none of its own (another: --norm and --radius)"
        return CheckLine("hint", "threat model", text)
    if (own.norm, own.fraction) == (used.norm, used.fraction):
        return CheckLine("ok", "threat model", f"attacked at {used}, the model's own")
    return CheckLine("hint", "threat model", f"attacked at {used}, as asked for; the model's own is {own}")


def _tested_lines(model: LoadedModel, data: Dataset, threat: ThreatModel, effort: Effort) -> list[CheckLine]:
    """Run the network on test images: preflight, clean accuracy, attacks."""
    test = data.test.first(effort.examples)
    images, labels = torch.from_numpy(test.images), torch.from_numpy(test.labels)
    check_images(images, labels, data.n_classes)
    network = model.network.to(effort.device)
    lines = preflight_lines(network, images, labels, data.n_classes, not data.classes_known)
    if lines[0].verdict == "WRONG":
        return lines
    correct = correct_predictions(network, images, labels)
    n_classes = n_outputs(network, images)
    published = model.spec.expected_clean_accuracy
    lines += accuracy_lines(published, int(correct.sum()), len(correct), n_classes)
    lines += nan_lines(network, images)
    lines += normalization_lines(model, images, labels, correct, effort)
    if effort.attack_examples and bool(correct.any()):
        lines.append(_threat_line(model.spec.threat_model, threat))
        chosen = correct.nonzero().flatten()[: effort.attack_examples]
        lines += robustness_lines(network, images[chosen], labels[chosen], threat, n_classes, effort)
    return lines
