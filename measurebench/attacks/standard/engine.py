"""The standard evaluation of AutoAttack (Croce and Hein 2020), job by job.

A verdict depends on the network, the image, the example's key, the seed and the settings alone: neither on the other
examples, nor on the order, the number of slots or interruptions. Every adversarial image is judged by the reference
network and by the auditor.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from measurebench.attacks.standard.blocks import Store
from measurebench.attacks.standard.evaluation import Evaluation, SearchNetwork
from measurebench.attacks.standard.networks import tf32
from measurebench.attacks.standard.result import StandardResult
from measurebench.attacks.standard.settings import StandardSettings
from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel

__all__ = ["SearchNetwork", "StandardResult", "standard_attack"]

_LATER = ("fab-t", "square")


def standard_attack(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: ThreatModel,
    *,
    keys: Tensor,
    seed: int,
    n_classes: int,
    settings: StandardSettings | None = None,
    store: Store | None = None,
    batch_size: int = 512,
    search: SearchNetwork = "folded",
    save_seconds: float = 60.0,
    order: npt.NDArray[np.int64] | None = None,
    share: float | None = None,
    only: tuple[int, int] | None = None,
) -> StandardResult:
    """Attack every example that the network classifies rightly, and return what withstood.

    ``images`` [n, C, H, W] in [0, 1], ``labels`` and ``keys`` int64 [n]; ``n_classes`` is the number of the
    network's outputs. ``store`` keeps what is done, so that the same call goes on after an interruption; it must
    belong to this network. ``search`` names the fastest network that may search; the judge is always the reference.
    ``order`` int64 [n] is the order in which examples are taken up, which changes no result. With ``share``
    FAB-T and Square take this share of what is left when they begin (see ``sampled``). With ``only`` the examples from
    the first to the second number (exclusive) are searched, and the store's blocks of others are neither read nor
    written; both are multiples of ``BLOCK``, or the second is the number of images. Raises BadInputError
    where the images or classes cannot be attacked, or a class is outside the network's outputs.
    """
    settings = settings or StandardSettings()
    settings.check_images(tuple(images.shape), n_classes)
    if len(labels) != len(images) or len(keys) != len(images):
        raise BadInputError("labels and keys", f"one for each of {len(images)} images", f"{len(labels)}, {len(keys)}")
    if len(images) == 0:
        raise BadInputError("images", "at least one", "none")
    evaluation = Evaluation(network, images.detach(), labels, threat, keys, seed, n_classes, settings, batch_size)
    # Precision "fast" allows TF32 everywhere, but FAB's projections and the 16-bit network's last layer need float32.
    with torch.no_grad(), tf32(images.device, False):
        evaluation.prepare(search)
        drawn = share is None
        for attack in settings.attacks:
            if share is not None and attack in _LATER and not drawn:
                order, drawn = evaluation.draw(share), True
            evaluation.run(attack, store, save_seconds, order, only)
        return evaluation.result()
