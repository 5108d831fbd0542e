"""``measurebench attack``: attacks one image and writes the picture, or several and writes a gallery."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.cli.declared import takes
from measurebench.cli.printing import say
from measurebench.core.errors import BadInputError

if TYPE_CHECKING:
    from measurebench.gallery import AttackedImage, Subjects
    from measurebench.models import LoadedModel

__all__ = ["attack"]

_SIZE = 6
_CANDIDATES = 4  # images attacked for each one shown: the gallery shows first those that the attack turned


@takes(
    *("dataset", "data_dir", "norm", "radius", "seed", "architecture", "normalization", "weights"),
    *("allow_pickle", "trust_code", "offline"),
    dataset="the model's own, else digits",
)
def attack(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model reference.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Picture: clean image, perturbation and adversarial image."),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for a gallery; RESULTS/gallery is shown on the page of RESULTS."),
    ] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="Picture file to attack.")] = None,
    index: Annotated[int, typer.Option(min=0, metavar="N", help="Number of the (first) test image to attack.")] = 0,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Images in a gallery.")] = _SIZE,
    target: Annotated[
        str, typer.Option(metavar="CLASS", help="Class to reach, by name or number. [default: any other class]")
    ] = "",
    classes: Annotated[Path | None, typer.Option(metavar="FILE", help="File with one class name per line.")] = None,
    size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Side in pixels to which a picture file is scaled.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Steps of PGD.")] = 40,
    **given: Any,
) -> int:
    """Attack images with PGD and write what they look like: clean, perturbation (amplified), adversarial."""
    from measurebench.gallery import attack_images, write_gallery, write_picture
    from measurebench.gallery.attacked import most_telling

    _check_places(out, gallery)
    loaded = _loaded(model, given)
    subjects = _subjects(loaded, image, (index, count * _CANDIDATES if gallery else 1), classes, size, given)
    how: dict[str, Any] = {name: given[name] for name in ("norm", "radius", "seed") if name in given}
    how["steps"] = steps
    attacked = attack_images(loaded, subjects, target=target or None, **how)
    if gallery is not None:
        untargeted = [attack_images(loaded, subjects, **how)] if target else []
        attacked = most_telling([*untargeted, attacked], count)
        write_gallery(attacked, gallery)
    elif out is not None:
        write_picture(attacked[0], out)
    for item in attacked:
        say(_line(item))
    return 0


def _check_places(out: Path | None, gallery: Path | None) -> None:
    """Refuse names of files before anything is computed."""
    from measurebench.gallery.writing import check_picture_name

    if (out is None) == (gallery is None):
        raise BadInputError("attack", "one of --out FILE.png and --gallery DIR", "both" if out else "neither")
    if out is not None:
        check_picture_name(out)


def _loaded(model: str, given: dict[str, Any]) -> "LoadedModel":
    from measurebench.models import load_model

    names = ("architecture", "normalization", "weights", "allow_pickle", "trust_code", "offline")
    return load_model(model, **{name: given[name] for name in names if name in given})


def _subjects(
    loaded: "LoadedModel",
    image: Path | None,
    part: tuple[int, int],
    classes: Path | None,
    size: int | None,
    given: dict[str, Any],
) -> "Subjects":
    from measurebench.gallery.subjects import dataset_subjects, picture_subjects, read_class_names

    names = read_class_names(classes)
    if image is not None:
        return picture_subjects(loaded, image, size=size, names=names)
    where = {name: given[name] for name in ("dataset", "data_dir", "offline") if name in given}
    return dataset_subjects(loaded, *part, names=names, **where)


def _line(item: "AttackedImage") -> str:
    return (
        f"image {item.index}: {item.clean_label} ({item.clean_confidence:.0%}) -> "
        f"{item.adversarial_label} ({item.adversarial_confidence:.0%}), distance {item.distance:.4f}"
    )
