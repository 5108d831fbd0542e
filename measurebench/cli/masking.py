"""Signs of gradient masking: attacks that should not do better than others, and do.

The signs are those of Athalye et al. 2018 (arXiv:1802.00420, section 3.1) and Carlini et al. 2019
(arXiv:1902.06705, section 5): black box beats white box, an unbounded attack fails, more steps find much more.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from measurebench.attacks.autoattack import attack_shard
from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import AttackContext
from measurebench.core.errors import MeasurebenchError
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import Norm, ThreatModel

if TYPE_CHECKING:
    from measurebench.cli.check import Effort, Line
    from measurebench.datasets import Dataset

__all__ = ["attack_lines", "default_threat"]

_SQUARE_QUERIES = 200
_UNBOUNDED = {Norm.LINF: "0.5", Norm.L2: "16"}


def attack_lines(
    network: nn.Module, spec: ModelSpec, images: Tensor, labels: Tensor, data: "Dataset", effort: "Effort"
) -> "list[Line]":
    """Attack images that are classified correctly, and say what looks like gradient masking."""
    from measurebench.cli.check import Line

    threat = spec.threat_model or default_threat(data)
    images, labels = images.to(effort.device), labels.to(effort.device)
    after_10 = _survivors(network, images, labels, threat, 10)
    left = int(after_10.sum())
    text = f"{left} of {len(images)} correct images withstand PGD-10 ({threat})"
    lines = [Line("ok", "robustness", text if left else f"{text}: it has no robustness")]
    if left:
        lines += _masking_lines(network, images[after_10], labels[after_10], threat, len(images))
    if effort.autoattack:
        lines += _autoattack_lines(network, images, labels, threat, data.n_classes)
    return lines


def default_threat(data: "Dataset") -> ThreatModel:
    """Return the usual threat model of a dataset: 1/8 for 8x8 digits, 8/255 otherwise, both Linf."""
    return ThreatModel.parse("Linf", "1/8" if data.name == "digits" else "8/255")


def _survivors(network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, steps: int) -> Tensor:
    """Return which images are still classified correctly after PGD."""
    keys = torch.arange(len(images), device=images.device)
    fraction = 0.25 if steps <= 10 else 0.1
    attack = PGD(steps=steps, step_fraction=fraction)
    adversarial = attack(network, images, labels, AttackContext(threat, keys)).adversarial
    return _is_correct(network, adversarial, labels)


def _is_correct(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return which images are classified correctly."""
    with torch.no_grad():
        logits: Tensor = network(images)
    return logits.argmax(1) == labels


def _masking_lines(network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, n_all: int) -> "list[Line]":
    """Try on the images that withstood PGD-10 what gradient masking would show."""
    from measurebench.cli.check import Line

    lines = []
    after_40 = _survivors(network, images, labels, threat, 40)
    fallen = int((~after_40).sum())
    if fallen > max(1, 0.1 * n_all):
        lines.append(
            Line("hint", "gradient masking", f"PGD-40 with small steps breaks {fallen} more; trust AutoAttack only")
        )
    unbounded = ThreatModel.parse(threat.norm.value, _UNBOUNDED[threat.norm])
    still = int(_survivors(network, images, labels, unbounded, 20).sum())
    if still > max(1, 0.1 * n_all):
        text = f"{still} of {len(images)} withstand even radius {unbounded.text}, where any image can be reached"
        lines.append(Line("hint", "gradient masking", f"{text}: its gradients mislead attacks"))
    if bool(after_40.any()):
        broken = int((~_square(network, images[after_40], labels[after_40], threat)).sum())
        if broken > max(1, 0.05 * n_all):
            text = f"a black box of {_SQUARE_QUERIES} queries breaks {broken} that PGD-40 does not"
            lines.append(Line("hint", "gradient masking", f"{text}: its gradients mislead attacks"))
    if not lines:
        lines.append(Line("ok", "gradient masking", "no sign of it in PGD-40, a black box, and an unbounded attack"))
    return lines


def _square(network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
    """Return which images withstand a short Square Attack (Andriushchenko et al. 2020, arXiv:1912.00049)."""
    from pyautoattack.square import SquareAttack

    attack: Any = SquareAttack(
        network, norm=threat.norm.value, n_queries=_SQUARE_QUERIES, eps=threat.radius, seed=0, device=images.device
    )
    with torch.no_grad():
        adversarial = attack.perturb(images, labels)
    return _is_correct(network, adversarial, labels)


def _autoattack_lines(
    network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, n_classes: int
) -> "list[Line]":
    """Run AutoAttack and show what it warns of."""
    from measurebench.cli.check import Line

    try:
        result = attack_shard(network, images, labels, threat, 0, "test", 0, n_classes)
    except MeasurebenchError as error:
        return [Line("hint", "AutoAttack", str(error))]
    left = int(_is_correct(network, result.adversarial, labels).sum())
    lines = [Line("ok", "AutoAttack", f"{left} of {len(images)} correct images withstand it")]
    return [*lines, *(Line("hint", "AutoAttack's warning", flag) for flag in result.flags)]
