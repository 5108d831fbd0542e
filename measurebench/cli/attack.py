"""``measurebench attack``: attacks one image and writes the picture, or several and writes a gallery."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from measurebench.cli.declared import ONE_RADIUS, takes
from measurebench.cli.printing import say
from measurebench.core.errors import BadInputError

if TYPE_CHECKING:
    from measurebench.gallery import AttackedImage, Subjects
    from measurebench.models import LoadedModel

__all__ = ["attack"]

_SIZE = 6
_CANDIDATES = 4  # images attacked for each one shown: the gallery shows first those that the attack turned


_Out = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Picture: clean image, perturbation and adversarial image.")
]
_Gallery = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder for a gallery; RESULTS/gallery is shown on the page of RESULTS."),
]
_Image = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="Picture file to attack; may be given several times.")
]
_Target = Annotated[
    str, typer.Option(metavar="CLASS", help="Class to reach, by name or number. [default: any other class]")
]
_Classes = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|imagenet",
        help="File with one class name per line. [default: the data set's, or ImageNet's for 1,000 classes]",
    ),
]
_Side = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Side in pixels to which a picture file is scaled.")
]
_Preprocessing = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Of picture files: square (the middle square, scaled to --size), or imagenet (the middle 224 pixels, "
        "the short side scaled to 256).",
    ),
]
_Steps = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Steps of PGD. [default: 40, or 200 with --target]")
]
_Tensors = Annotated[
    bool, typer.Option("--tensors", help="Also write the images as numbers: an .npz file beside the picture.")
]


@takes(
    *("dataset", "data_dir", "norm", "radius", "seed", "architecture", "normalization", "weights"),
    *("allow_pickle", "trust_code", "offline"),
    shown=ONE_RADIUS,
    dataset="the model's own, else digits",
)
def attack(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model reference.")],
    out: _Out = None,
    gallery: _Gallery = None,
    image: _Image = None,
    index: Annotated[int, typer.Option(min=0, metavar="N", help="Number of the (first) test image to attack.")] = 0,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Images in a gallery.")] = _SIZE,
    target: _Target = "",
    classes: _Classes = None,
    size: _Side = None,
    preprocessing: _Preprocessing = "square",
    steps: _Steps = None,
    tensors: _Tensors = False,
    **given: Any,
) -> int:
    """Attack images with PGD and write what they look like: clean, perturbation (amplified), adversarial.

    A gallery keeps the images of other models and other picture files that it holds.
    """
    from measurebench.gallery import attack_images, write_gallery, write_picture, write_tensors
    from measurebench.gallery.attacked import most_telling

    pictures = image or []
    _check_places(out, gallery, len(pictures))
    loaded = _loaded(model, given)
    part = (index, count * _CANDIDATES if gallery else 1)
    subjects = _subjects(loaded, (pictures, size, preprocessing), part, classes, given)
    how: dict[str, Any] = {name: given[name] for name in ("norm", "radius", "seed") if name in given}
    how["steps"] = steps
    attacked = attack_images(loaded, subjects, target=target or None, **how)
    if gallery is not None:
        untargeted = [attack_images(loaded, subjects, **how)] if target else []
        attacked = most_telling([*untargeted, attacked], len(pictures) or count)
        write_gallery(attacked, gallery)
    elif out is not None:
        write_picture(attacked[0], out)
    if tensors:
        write_tensors(attacked, gallery / "images.npz" if gallery else (out or Path()).with_suffix(".npz"))
    for item in attacked:
        for line in _lines(item):
            say(line)
    return 0


def _check_places(out: Path | None, gallery: Path | None, n_pictures: int) -> None:
    """Refuse names of files before anything is computed."""
    from measurebench.gallery.writing import check_picture_name

    if (out is None) == (gallery is None):
        raise BadInputError("attack", "one of --out FILE.png and --gallery DIR", "both" if out else "neither")
    if out is not None and n_pictures > 1:
        raise BadInputError("--out", "one picture file, or --gallery DIR for several", f"{n_pictures} of them")
    if out is not None:
        check_picture_name(out)


def _loaded(model: str, given: dict[str, Any]) -> "LoadedModel":
    from measurebench.models import load_model

    names = ("architecture", "normalization", "weights", "allow_pickle", "trust_code", "offline")
    return load_model(model, **{name: given[name] for name in names if name in given})


def _subjects(
    loaded: "LoadedModel",
    image: tuple[list[Path], int | None, str],
    part: tuple[int, int],
    classes: Path | None,
    given: dict[str, Any],
) -> "Subjects":
    from measurebench.gallery.subjects import (
        dataset_subjects,
        picture_subjects,
        read_class_names,
        with_imagenet_names,
    )

    names = read_class_names(classes)
    pictures, size, preprocessing = image
    if pictures:
        found = picture_subjects(loaded, pictures, size=size, names=names, preprocessing=preprocessing)
        return found if names else with_imagenet_names(loaded, found)
    where = {name: given[name] for name in ("dataset", "data_dir", "offline") if name in given}
    return dataset_subjects(loaded, *part, names=names, **where)


def _lines(item: "AttackedImage") -> list[str]:
    """Return what happened to an image, and for a picture file the likeliest classes before and after."""
    from measurebench.gallery.writing import length_text

    told = (
        f"{item.source or f'image {item.index}'}: {item.clean_label} ({item.clean_confidence:.0%}) -> "
        f"{item.adversarial_label} ({item.adversarial_confidence:.0%}), distance {length_text(item.distance)}"
    )
    rankings = (("before", item.clean_top), ("after", item.adversarial_top)) if item.source else ()
    return [told] + [f"  {when}: {', '.join(f'{name} {share:.1%}' for name, share in top)}" for when, top in rankings]
