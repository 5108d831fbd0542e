"""What a photograph needs to be classified by a network for ImageNet: the names of the classes, and its usual crop."""

from functools import cache
from importlib.util import find_spec

from measurebench.core.errors import BadInputError

__all__ = ["CROP_SHARE", "N_CLASSES", "SIDE", "imagenet_names"]

N_CLASSES = 1000
SIDE = 224
# Networks for ImageNet are evaluated on the middle 224 pixels of pictures whose short side was scaled to 256.
CROP_SHARE = SIDE / 256


@cache
def imagenet_names() -> tuple[str, ...]:
    """Return the names of ImageNet's 1,000 classes in the order of the labels, as torchvision's weights state them.

    Raises BadInputError where torchvision is not installed.
    """
    if find_spec("torchvision") is None:
        raise BadInputError(
            "imagenet", "torchvision, which holds the names", "it is not installed", "see --classes FILE"
        )
    from torchvision.models import ResNet50_Weights

    return tuple(str(name) for name in ResNet50_Weights.IMAGENET1K_V2.meta["categories"])
