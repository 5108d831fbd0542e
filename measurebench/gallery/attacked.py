"""Attacks images with PGD and keeps what each looks like before and after, and what the network says of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from measurebench.attacks.audit import audit
from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import AttackContext
from measurebench.core.config import choose_threat
from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.gallery.subjects import Subjects
from measurebench.models import LoadedModel
from measurebench.reporting.figures.pictures import amplified

__all__ = ["AttackedImage", "attack_images", "most_telling"]

_Pixels = npt.NDArray[np.float32]
# All steps together reach 2.5 times the radius, so that the attack can cross the ball and turn (as AutoAttack's APGD
# does with its first steps); a step is never below a twentieth of the radius, or many steps would stay near the start.
_REACH, _SMALLEST_STEP = 2.5, 0.05
# A class among many needs more steps to be reached with confidence than any class needs to be left.
_STEPS, _TARGETED_STEPS = 40, 200
_TOP = 5


@dataclass(frozen=True)
class AttackedImage:
    """One image before and after an attack.

    ``clean`` and ``adversarial`` are pixels [C, H, W] in [0, 1]; ``perturbation`` [C, H, W] is their difference around
    mid-grey, ``factor`` times as large. Labels are names of classes; ``true`` is empty where the true class is not
    known, ``target`` where the attack had none. Confidences are softmax probabilities of the predicted class,
    ``distance`` is in pixel units of the threat model's norm. ``source`` is the name of the picture file, empty for an
    image of a data set. The likeliest classes, five at most, are ``clean_top`` and ``adversarial_top``, each with its
    probability.
    """

    model_id: str
    index: int
    true: str
    clean_label: str
    clean_confidence: float
    adversarial_label: str
    adversarial_confidence: float
    target: str
    distance: float
    factor: float
    threat_model: str
    attack: str
    clean: _Pixels
    perturbation: _Pixels
    adversarial: _Pixels
    source: str = ""
    clean_top: tuple[tuple[str, float], ...] = ()
    adversarial_top: tuple[tuple[str, float], ...] = ()

    @property
    def is_turned(self) -> bool:
        """Tell whether the prediction changed, and is the target's class where there is a target."""
        reached = self.target or self.adversarial_label
        return self.clean_label != self.adversarial_label == reached


def attack_images(
    loaded: LoadedModel,
    subjects: Subjects,
    *,
    norm: str | None = None,
    radius: str | float | None = None,
    target: str | int | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> list[AttackedImage]:
    """Attack images with PGD and return each with its perturbation and the network's answers, in their order.

    ``target`` is a class to reach, by name or number; without one the attack leads away from the true class or, where
    that is not known, from the network's own prediction. ``norm`` and ``radius`` are the model's own unless given, else
    Linf 8/255. ``steps`` are 40, or 200 with a target, which is harder to reach. Raises BadInputError for a target or a
    threat model that cannot be, MeasurebenchError where the attack leaves the threat model.

    >>> from measurebench import dataset_subjects, load_model
    >>> loaded = load_model("digits:plain-standard-b64-s0-last")
    >>> (item,) = attack_images(loaded, dataset_subjects(loaded, index=4))
    >>> item.threat_model, item.true, item.clean_label, item.adversarial_label
    ('Linf 3/20', '4', '4', '1')
    """
    threat = choose_threat(loaded.spec.threat_model, norm, radius)
    aim = subjects.number(target) if isinstance(target, str) else target
    steps = steps or (_STEPS if aim is None else _TARGETED_STEPS)
    device = next((parameter.device for parameter in loaded.network.parameters()), torch.device("cpu"))
    images = torch.from_numpy(subjects.images).to(device)
    with torch.no_grad():
        before = loaded.network(images)
    if aim is not None and not 0 <= aim < before.shape[1]:
        raise BadInputError("target", f"a class below {before.shape[1]}", str(aim))
    labels = before.argmax(1) if subjects.labels is None else torch.from_numpy(subjects.labels).to(device)
    attack = PGD(steps=steps, step_fraction=max(_REACH / steps, _SMALLEST_STEP))
    targets = None if aim is None else torch.full_like(labels, aim)
    given = AttackContext(threat, torch.tensor(subjects.indices, device=device), seed=seed, targets=targets)
    adversarial = attack(loaded.network, images, labels, given).adversarial
    with torch.no_grad():
        after = loaded.network(adversarial)
    outcome = audit(images, labels, adversarial, before, after, threat)
    if bool(outcome.violations.any()):
        raise MeasurebenchError(f"attack: expected images within {threat}, got one outside")
    facts = {"threat_model": str(threat), "attack": f"PGD-{steps}", "target": "" if aim is None else subjects.name(aim)}
    return [
        _attacked(
            loaded.spec.id, subjects, i, (before[i], after[i]), adversarial[i], float(outcome.distances[i]), facts
        )
        for i in range(len(images))
    ]


def most_telling(groups: Sequence[Sequence[AttackedImage]], count: int) -> list[AttackedImage]:
    """Return ``count`` images of each group: first those that the attack turned, otherwise in their order."""
    return [item for group in groups for item in sorted(group, key=lambda item: not item.is_turned)[:count]]


def _attacked(
    model_id: str,
    subjects: Subjects,
    i: int,
    logits: tuple[Tensor, Tensor],
    adversarial: Tensor,
    distance: float,
    facts: dict[str, Any],
) -> AttackedImage:
    """Return the i-th image with what the network says of it before and after."""
    before, after = (rows.softmax(0).max(0) for rows in logits)
    first, last = (_likeliest(rows, subjects) for rows in logits)
    clean, pixels = subjects.images[i], adversarial.cpu().numpy()
    change, factor = amplified(clean, pixels)
    return AttackedImage(
        model_id=model_id,
        index=subjects.indices[i],
        true="" if subjects.labels is None else subjects.name(int(subjects.labels[i])),
        clean_label=subjects.name(int(before.indices)),
        clean_confidence=float(before.values),
        adversarial_label=subjects.name(int(after.indices)),
        adversarial_confidence=float(after.values),
        distance=distance,
        factor=factor,
        clean=clean,
        perturbation=change,
        adversarial=pixels,
        source=subjects.sources[i] if subjects.sources else "",
        clean_top=first,
        adversarial_top=last,
        **facts,
    )


def _likeliest(logits: Tensor, subjects: Subjects) -> tuple[tuple[str, float], ...]:
    """Return the likeliest classes of one image by name, each with its probability."""
    found = logits.softmax(0).topk(min(_TOP, len(logits)))
    pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return tuple((subjects.name(label), float(chance)) for label, chance in pairs)
