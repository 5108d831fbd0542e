"""Pictures of attacks: images before and after, side by side or as a gallery for the page of a study."""

from typing import TYPE_CHECKING

from measurebench.core.importing import names_on_first_use

if TYPE_CHECKING:
    from measurebench.gallery.attacked import AttackedImage, attack_images
    from measurebench.gallery.subjects import Subjects, dataset_subjects, picture_subjects
    from measurebench.gallery.writing import write_gallery, write_picture, write_tensors

__all__ = [
    "AttackedImage",
    "Subjects",
    "attack_images",
    "dataset_subjects",
    "picture_subjects",
    "write_gallery",
    "write_picture",
    "write_tensors",
]

_HOMES = {
    "AttackedImage": ".attacked",
    "Subjects": ".subjects",
    "attack_images": ".attacked",
    "dataset_subjects": ".subjects",
    "picture_subjects": ".subjects",
    "write_gallery": ".writing",
    "write_picture": ".writing",
    "write_tensors": ".writing",
}

__getattr__ = names_on_first_use(__name__, _HOMES)
