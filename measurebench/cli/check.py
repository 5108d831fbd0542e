"""``measurebench check``: load a model, try it, and say what is wrong with it and how to mend it."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.core.specs import NORMALIZATIONS, ModelSpec, Normalization

if TYPE_CHECKING:
    from measurebench.datasets import Dataset
    from measurebench.models import LoadedModel

__all__ = ["Effort", "Line", "Verdict", "check", "check_one", "correct_predictions"]

Verdict = Literal["ok", "hint", "WRONG"]
_CLEARLY_BETTER = 0.05


@dataclass(frozen=True)
class Line:
    """One line of the result: what was looked at, how it stands, and what to do about it."""

    verdict: Verdict
    subject: str
    text: str


def check(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model reference; patterns check several.")],
    dataset: Annotated[
        str | None, typer.Option(help="digits, cifar10, cifar100 or arrays:FILE.npz. [default: the model's own]")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the dataset in its original form.")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="For a checkpoint: built-in name, module:callable or file.py:callable.")
    ] = None,
    normalization: Annotated[str | None, typer.Option(help="For a checkpoint: none, cifar10 or imagenet.")] = None,
    examples: Annotated[int, typer.Option(min=1, help="Test images for clean accuracy.")] = 1000,
    attack_examples: Annotated[int, typer.Option(min=0, help="Test images to attack; 0 for no attack.")] = 32,
    autoattack: Annotated[
        bool, typer.Option("--autoattack", help="Also run AutoAttack on them and show its warnings.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")] = "auto",
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load files that may run code. Only your own.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one list of objects.")] = False,
) -> int:
    """Load a model, run the preflight, compare clean accuracy, try a few attacks; exit status 2 if it is wrong."""
    from measurebench.compute.devices import choose_device
    from measurebench.models.references import resolve

    specs = resolve(
        [model],
        architecture=architecture,
        normalization=normalization,
        dataset=dataset if model.startswith("robustbench:") else None,
        allow_pickle=allow_pickle,
    )
    effort = Effort(examples, attack_examples, autoattack, choose_device(device), offline)
    results: list[dict[str, Any]] = []
    for spec in specs:
        lines = check_one(spec, dataset, data_dir, effort)
        results.append({"reference": spec.reference, "id": spec.id, "lines": [asdict(line) for line in lines]})
        if not as_json:
            _print(spec, lines)
    if as_json:
        typer.echo(json.dumps(results, indent=1))
    wrong = [line for result in results for line in result["lines"] if line["verdict"] == "WRONG"]
    if wrong and (len(specs) == 1 or as_json):
        raise BadInputError(
            f"{wrong[0]['subject']}: {wrong[0]['text']}" if len(specs) == 1 else f"{len(wrong)} findings"
        )
    return 2 if wrong else 0


@dataclass(frozen=True)
class Effort:
    """How much is tried: images, attacked images, AutoAttack, and where."""

    examples: int
    attack_examples: int
    autoattack: bool
    device: str
    offline: bool = False


def check_one(spec: ModelSpec, dataset_name: str | None, data_dir: Path | None, effort: Effort) -> list[Line]:
    """Return the findings for one model, in the order in which they were looked for."""
    from measurebench.models.loading import load_model

    try:
        model = load_model(spec, offline=effort.offline)
    except MeasurebenchError as error:
        return [
            Line("WRONG", "loading", str(error)),
            *_tried_normalizations(spec, dataset_name, data_dir, effort.offline),
        ]
    lines = _loaded_lines(model)
    name = dataset_name or spec.dataset
    if name is None:
        hint = "give --dataset to run the preflight and measure clean accuracy"
        return [*lines, Line("hint", "images", f"none to try it on; {hint}")]
    try:
        from measurebench.datasets import load_dataset

        data = load_dataset(name, data_dir, offline=effort.offline)
        return lines + _tried_lines(model, spec, data, effort)
    except MeasurebenchError as error:
        return [*lines, Line("WRONG", "images", str(error))]


def _tried_normalizations(
    spec: ModelSpec, dataset_name: str | None, data_dir: Path | None, offline: bool
) -> list[Line]:
    """Where a checkpoint lacks only its normalisation, say what each usual one would give."""
    import torch

    from measurebench.datasets import load_dataset
    from measurebench.models.loading import load_model

    if spec.normalization.stated or dataset_name is None or spec.architecture is None:
        return []
    lines = []
    try:
        test = load_dataset(dataset_name, data_dir, offline=offline).test.first(200)
        for name in ("none", *NORMALIZATIONS):
            model = load_model(replace(spec, normalization=Normalization.named(name)))
            correct = correct_predictions(model.network, torch.from_numpy(test.images), torch.from_numpy(test.labels))
            text = f"with --normalization {name}: {float(correct.double().mean()):.4f} of {len(correct)} test images"
            lines.append(Line("hint", "normalization", text))
    except (MeasurebenchError, RuntimeError):
        return []
    return lines


def _loaded_lines(model: "LoadedModel") -> list[Line]:
    """Say what was found in the file."""
    normalization = model.spec.normalization
    scaled = f"mean {_short(normalization.mean)}, std {_short(normalization.std)}" if normalization.mean else "none"
    if model.spec.source == "robustbench":
        scaled = "as the network's own code has it"
    return [
        *(Line("ok", "file", note) for note in model.notes),
        Line("ok", "network", f"{model.spec.architecture or 'pickled module'}, {model.n_parameters:,} parameters"),
        Line("ok", "normalization", scaled),
        Line("ok", "digest", model.digest),
    ]


def _short(numbers: tuple[float, ...]) -> str:
    """Write numbers with four digits."""
    return "(" + ", ".join(f"{number:.4g}" for number in numbers) + ")"


def _tried_lines(model: "LoadedModel", spec: ModelSpec, data: "Dataset", effort: Effort) -> list[Line]:
    """Run the network on images: preflight, clean accuracy, attacks."""
    import torch

    from measurebench.models.verify import check_images, preflight_findings

    test = data.test.first(effort.examples)
    images, labels = torch.from_numpy(test.images), torch.from_numpy(test.labels)
    check_images(images, labels, data.n_classes)
    network = model.network.to(effort.device)
    few, their_labels = images[:8].to(effort.device), labels[:8].to(effort.device)
    if findings := preflight_findings(network, few, their_labels, data.n_classes):
        return [Line("WRONG", "preflight", str(finding)) for finding in findings]
    lines = [Line("ok", "preflight", "repeatable logits with a gradient, one per class")]
    correct = correct_predictions(network, images, labels)
    lines += _accuracy_lines(spec, int(correct.sum()), len(correct), data.n_classes)
    lines += _normalization_lines(model, spec, images, labels, correct, effort)
    if effort.attack_examples and bool(correct.any()):
        from measurebench.cli.masking import attack_lines

        chosen = correct.nonzero().flatten()[: effort.attack_examples]
        lines += attack_lines(network, spec, images[chosen], labels[chosen], data, effort)
    return lines


def correct_predictions(network: Any, images: Any, labels: Any, batch: int = 100) -> Any:
    """Return which images [n] are classified correctly, as a Boolean tensor on the CPU."""
    import torch

    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        parts = [
            network(images[i : i + batch].to(device)).argmax(1).cpu() == labels[i : i + batch]
            for i in range(0, len(images), batch)
        ]
    return torch.cat(parts)


def _accuracy_lines(spec: ModelSpec, n_correct: int, n: int, n_classes: int) -> list[Line]:
    """Compare clean accuracy with the published figure, or with guessing where there is none."""
    from measurebench.models.verify import accuracy_finding

    text = f"{n_correct / n:.4f} ({n_correct} of {n} test images)"
    if (published := spec.expected_clean_accuracy) is not None:
        if finding := accuracy_finding(published, n_correct, n):
            return [Line("WRONG", "clean accuracy", str(finding).removeprefix("clean accuracy: "))]
        return [Line("ok", "clean accuracy", f"{text}, {published:.4f} published")]
    if n_correct / n < 2 / n_classes:
        cause = "other classes, another normalisation, or weights that were not trained?"
        return [Line("WRONG", "clean accuracy", f"expected better than guessing, got {text}; {cause}")]
    return [Line("ok", "clean accuracy", f"{text}; no published figure to compare with")]


def _normalization_lines(
    model: "LoadedModel", spec: ModelSpec, images: Any, labels: Any, correct: Any, effort: Effort
) -> list[Line]:
    """Say whether another usual normalisation makes the network clearly better: then this one is likely wrong."""
    from measurebench.models.normalized import Normalized, normalized

    if spec.source == "robustbench" or images.shape[1] != 3:
        return []
    few, their_labels = images[:200], labels[:200]
    bare = model.network.network if isinstance(model.network, Normalized) else model.network
    used = model.spec.normalization
    best, best_name = float(correct[: len(few)].double().mean()) + _CLEARLY_BETTER, ""
    for name in ("none", *NORMALIZATIONS):
        other = Normalization.named(name)
        if other == replace(used, stated=True):
            continue
        tried = normalized(bare, other).to(effort.device).eval()
        reached = float(correct_predictions(tried, few, their_labels).double().mean())
        if reached > best:
            best, best_name = reached, name
    if not best_name:
        return []
    text = f"with {best_name} its clean accuracy is {best:.4f} on {len(few)} images; is {best_name} the right one?"
    return [Line("hint", "normalization", text)]


def _print(spec: ModelSpec, lines: list[Line]) -> None:
    """Print the findings of one model."""
    typer.echo(spec.reference)
    for line in lines:
        typer.echo(f"  {line.verdict:<5} {line.subject}: {line.text}")
