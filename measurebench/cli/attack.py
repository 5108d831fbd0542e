"""``measurebench attack``: what an attack does to one image, or to a gallery of them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from measurebench.models import LoadedModel

__all__ = ["CANDIDATES", "GALLERY_SIZE", "Subjects", "attack", "attacked"]

GALLERY_SIZE = 6
CANDIDATES = 4


@dataclass(frozen=True)
class Subjects:
    """Images to attack: pixels [n, C, H, W], labels (None: unknown), their numbers, the names of the classes."""

    images: "npt.NDArray[np.float32]"
    labels: "npt.NDArray[np.int64] | None"
    indices: list[int]
    names: tuple[str, ...]

    def name(self, label: int) -> str:
        """Return a class's name, or its number where it has none."""
        return self.names[label] if label < len(self.names) else f"class {label}"


def attack(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model reference.")],
    out: Annotated[Path | None, typer.Option(help="FILE.png: clean image, perturbation, adversarial image.")] = None,
    gallery: Annotated[Path | None, typer.Option(help="Folder for a gallery; DIR/gallery shows on DIR's page.")] = None,
    image: Annotated[Path | None, typer.Option(help="A picture file.")] = None,
    index: Annotated[int, typer.Option(min=0, help="Number of a test image of the dataset.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="Images in a gallery.")] = GALLERY_SIZE,
    target: Annotated[str, typer.Option(help="Class to reach, by name or number; untargeted without it.")] = "",
    dataset: Annotated[
        str, typer.Option(help="Where --index and the class names come from. [default: the model's]")
    ] = "",
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the dataset in its original form.")] = None,
    classes: Annotated[Path | None, typer.Option(help="A file with one class name per line.")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="For a checkpoint: built-in name or module:callable.")
    ] = None,
    normalization: Annotated[str | None, typer.Option(help="For a checkpoint: none, cifar10 or imagenet.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Side to which a picture file is scaled.")] = None,
    norm: Annotated[str, typer.Option(help="Linf or L2. [default: the model's]")] = "",
    radius: Annotated[str, typer.Option(help="Such as 8/255. [default: the model's]")] = "",
    steps: Annotated[int, typer.Option(min=1, help="Steps of PGD.")] = 40,
    seed: Annotated[int, typer.Option(help="Seed of the random start.")] = 0,
) -> int:
    """Attack an image with PGD and write what it looks like: clean, amplified perturbation, adversarial."""
    from measurebench.models import load_model

    if (out is None) == (gallery is None):
        raise BadInputError("attack", "one of --out FILE.png and --gallery DIR", "both" if out else "neither")
    loaded = load_model(model, architecture=architecture, normalization=normalization)
    threat = _threat(loaded, norm, radius)
    subjects = _subjects(loaded, image, index, count * CANDIDATES if gallery else 1, dataset, data_dir, classes, size)
    goal = _class(target, subjects)
    entries, pictures = attacked(loaded, subjects, threat, goal, steps, seed)
    if gallery:
        untargeted = attacked(loaded, subjects, threat, None, steps, seed) if goal is not None else ([], [])
        entries, pictures = _most_telling((untargeted[0], entries), (untargeted[1], pictures), count)
    _write(entries, pictures, out, gallery)
    for entry in entries:
        typer.echo(
            f"image {entry['index']}: {entry['clean_label']} ({entry['clean_confidence']:.0%}) -> "
            f"{entry['adversarial_label']} ({entry['adversarial_confidence']:.0%}), distance {entry['distance']:.4f}"
        )
    return 0


def _threat(loaded: "LoadedModel", norm: str, radius: str) -> ThreatModel:
    own = loaded.spec.threat_model
    if norm or radius or own is None:
        default = ("Linf", "8/255") if own is None else (own.norm.value, own.text)
        return ThreatModel.parse(norm or default[0], radius or default[1])
    return own


def _subjects(
    loaded: "LoadedModel",
    image: Path | None,
    index: int,
    count: int,
    dataset: str,
    data_dir: Path | None,
    classes: Path | None,
    size: int | None,
) -> Subjects:
    """Read the picture, or take images of the test split."""
    import numpy as np

    from measurebench.datasets import load_dataset
    from measurebench.reporting.figures.pictures import read_picture

    names = _names(classes)
    if image is not None:
        return _in_its_channels(loaded, Subjects(read_picture(image, size)[None], None, [0], names), image)
    source = load_dataset(dataset or loaded.spec.dataset or "digits", data_dir)
    if index >= len(source.test):
        raise BadInputError("--index", f"below {len(source.test)}, the number of test images", str(index))
    chosen = list(range(index, min(index + count, len(source.test))))
    labels = np.asarray(source.test.labels[chosen], dtype=np.int64)
    subjects = Subjects(source.test.images[chosen], labels, chosen, names or source.class_names)
    _check_shape(loaded, subjects, f"images of {source.name}", "")
    return subjects


def _in_its_channels(loaded: "LoadedModel", subjects: Subjects, path: Path) -> Subjects:
    """Return a picture as the network takes it: in grey where the network has one channel."""
    import numpy as np

    from measurebench.models.inputs import refusal

    colours = subjects.images
    if refusal(loaded.network, colours.shape[1:]) and not refusal(loaded.network, (1, *colours.shape[2:])):
        weights = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R 601, as in every picture program
        return replace(subjects, images=np.einsum("c,nchw->nhw", weights, colours)[:, None].clip(0, 1))
    _check_shape(loaded, subjects, str(path), "choose its side with --size {side}")
    return subjects


def _check_shape(loaded: "LoadedModel", subjects: Subjects, subject: str, hint: str) -> None:
    """Refuse images that the network cannot take, naming both shapes."""
    from measurebench.models.inputs import refusal, usual_shape

    shape = subjects.images.shape[1:]
    if not (reason := refusal(loaded.network, shape)):
        return
    if fitting := usual_shape(loaded):
        wanted, hint = f"images {list(fitting)}, as the network takes", hint.format(side=fitting[-1])
    else:
        wanted, hint = "images that the network takes", reason
    raise BadInputError(subject, wanted, str(list(shape)), hint)


def _names(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        raise BadInputError(str(path), "a file with one class name per line", "no such file") from None


def _class(target: str, subjects: Subjects) -> int | None:
    """Return the number of a class given by name or number; None for an untargeted attack."""
    if not target:
        return None
    if target in subjects.names:
        return subjects.names.index(target)
    if target.isdigit():
        return int(target)
    from measurebench.core.errors import near_names

    raise BadInputError("--target", "a class by name or number", repr(target), near_names(target, subjects.names))


def attacked(
    loaded: "LoadedModel", subjects: Subjects, threat: ThreatModel, target: int | None, steps: int, seed: int
) -> tuple[list[dict[str, Any]], list[tuple[Any, Any, Any]]]:
    """Attack the images; return an entry of the gallery each, and clean, perturbation and adversarial pixels.

    Without labels the attack moves away from the network's own prediction.
    """
    import torch

    from measurebench.attacks.audit import audit
    from measurebench.attacks.pgd import PGD
    from measurebench.attacks.protocol import AttackContext

    images = torch.from_numpy(subjects.images)
    with torch.no_grad():
        clean = loaded.network(images)
    if target is not None and target >= clean.shape[1]:
        raise BadInputError("--target", f"a class below {clean.shape[1]}", str(target))
    labels = clean.argmax(1) if subjects.labels is None else torch.from_numpy(subjects.labels)
    targets = None if target is None else torch.full_like(labels, target)
    attack_by = PGD(steps=steps, step_fraction=max(2.5 / steps, 0.05))
    given = AttackContext(threat, torch.tensor(subjects.indices), seed, targets=targets)
    adversarial = attack_by(loaded.network, images, labels, given).adversarial
    with torch.no_grad():
        after = loaded.network(adversarial)
    outcome = audit(images, labels, adversarial, clean, after, threat)
    if bool(outcome.violations.any()):
        raise BadInputError("attack", f"images within {threat}", "one outside")
    entries = [
        _entry(loaded, subjects, i, clean, after, target, float(outcome.distances[i]))
        | {"threat_model": str(threat), "attack": f"PGD-{steps}"}
        for i in range(len(images))
    ]
    return _shown(entries, subjects.images, adversarial.numpy())


def _entry(
    loaded: "LoadedModel", subjects: Subjects, i: int, clean: Any, after: Any, target: int | None, distance: float
) -> dict[str, Any]:
    before, now = clean[i].softmax(0).max(0), after[i].softmax(0).max(0)
    return {
        "model_id": loaded.spec.id,
        "index": subjects.indices[i],
        "true": "" if subjects.labels is None else subjects.name(int(subjects.labels[i])),
        "clean_label": subjects.name(int(before.indices)),
        "clean_confidence": float(before.values),
        "adversarial_label": subjects.name(int(now.indices)),
        "adversarial_confidence": float(now.values),
        "target": "" if target is None else subjects.name(target),
        "distance": distance,
    }


def _shown(entries: list[dict[str, Any]], clean: Any, adversarial: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """Add the amplified perturbation and its factor."""
    from measurebench.reporting.figures.pictures import amplified

    pictures = []
    for entry, before, after in zip(entries, clean, adversarial, strict=True):
        change, factor = amplified(before, after)
        entry["factor"] = factor
        pictures.append((before, change, after))
    return entries, pictures


def _most_telling(
    groups: tuple[list[dict[str, Any]], ...], pictures: tuple[list[Any], ...], count: int
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return ``count`` of each group: images that the attack turned first, in the order of the data set."""
    chosen: list[tuple[dict[str, Any], Any]] = []
    for entries, images in zip(groups, pictures, strict=True):
        pairs = list(zip(entries, images, strict=True))
        chosen += sorted(pairs, key=lambda pair: not _turned(pair[0]))[:count]
    return [entry for entry, _ in chosen], [image for _, image in chosen]


def _turned(entry: dict[str, Any]) -> bool:
    reached = entry["target"] or entry["adversarial_label"]
    return bool(entry["clean_label"] != entry["adversarial_label"] == reached)


def _write(entries: list[dict[str, Any]], pictures: list[Any], out: Path | None, gallery: Path | None) -> None:
    """Write the one picture, or the gallery."""
    from measurebench.reporting.figures.gallery import write_gallery
    from measurebench.reporting.figures.pictures import png_bytes, strip

    try:
        if gallery is not None:
            write_gallery(gallery, entries, [tuple(png_bytes(part) for part in parts) for parts in pictures])  # type: ignore[misc]
        elif out is not None:
            entry = entries[0]
            captions = [
                (entry["clean_label"], f"{entry['clean_confidence']:.0%} confident"),
                (f"perturbation x {entry['factor']:g}", f"{entry['threat_model']}, size {entry['distance']:.4f}"),
                (entry["adversarial_label"], f"{entry['adversarial_confidence']:.0%} confident"),
            ]
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(strip(pictures[0], captions))
    except OSError as error:
        raise BadInputError(
            str(gallery or out), "a place that can be written to", error.strerror or str(error)
        ) from error
