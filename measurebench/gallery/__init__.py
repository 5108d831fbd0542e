"""Pictures of attacks: images before and after, side by side or as a gallery for the page of a study."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measurebench.gallery.attacked import AttackedImage, attack_images
    from measurebench.gallery.subjects import Subjects, dataset_subjects, picture_subjects
    from measurebench.gallery.writing import write_gallery, write_picture

__all__ = [
    "AttackedImage",
    "Subjects",
    "attack_images",
    "dataset_subjects",
    "picture_subjects",
    "write_gallery",
    "write_picture",
]

_HOMES = {
    "AttackedImage": "attacked",
    "Subjects": "subjects",
    "attack_images": "attacked",
    "dataset_subjects": "subjects",
    "picture_subjects": "subjects",
    "write_gallery": "writing",
    "write_picture": "writing",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
