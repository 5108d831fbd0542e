"""Signs of gradient masking: one attack does better than another that should be stronger.

The signs are those of Athalye et al. 2018 (arXiv:1802.00420, section 3.1) and Carlini et al. 2019 (arXiv:1902.06705,
section 5): a black box attack beats a white box attack, an attack without bound fails, more steps find much more.
"""

from typing import Any

import torch
from torch import Tensor, nn

from measurebench.attacks.audit import is_correct
from measurebench.attacks.autoattack import AutoAttack
from measurebench.attacks.perform import require_classes
from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import AttackContext
from measurebench.checks.results import CheckLine, Effort
from measurebench.core.config import PGD_STEP_FRACTION, PGD_STEPS
from measurebench.core.errors import MeasurebenchError
from measurebench.core.threat import Norm, ThreatModel

__all__ = ["robustness_lines"]

_SMALL_STEP_FRACTION = 0.1  # for many steps: small ones follow the loss more closely
_SQUARE_QUERIES = 200
# Within these radii any image can become any other, or nearly: 0.5 reaches mid-grey from everywhere in [0, 1].
_UNBOUNDED = {Norm.LINF: "0.5", Norm.L2: "16"}
# Shares of the images beyond which a difference between two attacks is a sign rather than noise.
_MANY, _SOME = 0.1, 0.05


def robustness_lines(
    network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, n_classes: int, effort: Effort
) -> list[CheckLine]:
    """Attack images [n, C, H, W] that are classified correctly as labels [n]; report what looks like masking."""
    images, labels = images.to(effort.device), labels.to(effort.device)
    after_10 = _survivors(network, images, labels, threat, PGD_STEPS)
    left = int(after_10.sum())
    text = f"{left} of {len(images)} correct images withstand PGD-{PGD_STEPS} ({threat})"
    lines = [CheckLine("ok", "robustness", text if left else f"{text}: it has no robustness")]
    if left:
        lines += _masking_lines(network, images[after_10], labels[after_10], threat, len(images))
    if effort.autoattack:
        lines += _autoattack_lines(network, images, labels, threat, n_classes)
    return lines


def _survivors(network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, steps: int) -> Tensor:
    """Return which images are still classified correctly after PGD."""
    keys = torch.arange(len(images), device=images.device)
    fraction = PGD_STEP_FRACTION if steps <= PGD_STEPS else _SMALL_STEP_FRACTION
    attack = PGD(steps=steps, step_fraction=fraction)
    adversarial = attack(network, images, labels, AttackContext(threat, keys)).adversarial
    return _is_correct(network, adversarial, labels)


def _is_correct(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return which images are classified correctly."""
    with torch.no_grad():
        logits: Tensor = network(images)
    return is_correct(logits, labels)


def _masking_lines(
    network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, n_all: int
) -> list[CheckLine]:
    """Attack the images that withstood PGD-10 in the ways in which masked gradients show."""
    lines = []
    after_40 = _survivors(network, images, labels, threat, 40)
    fallen = int((~after_40).sum())
    if fallen > max(1, _MANY * n_all):
        lines.append(f"PGD-40 with small steps breaks {fallen} more; rely on AutoAttack alone")
    unbounded = ThreatModel.parse(threat.norm.value, _UNBOUNDED[threat.norm])
    still = int(_survivors(network, images, labels, unbounded, 20).sum())
    if still > max(1, _MANY * n_all):
        text = f"{still} of {len(images)} withstand even radius {unbounded.text}, where any image can be reached"
        lines.append(f"{text}: its gradients mislead attacks")
    if bool(after_40.any()):
        broken = int((~_square(network, images[after_40], labels[after_40], threat)).sum())
        if broken > max(1, _SOME * n_all):
            text = f"a black box attack of {_SQUARE_QUERIES} queries breaks {broken} that PGD-40 does not"
            lines.append(f"{text}: its gradients mislead attacks")
    if not lines:
        text = "no sign of it in PGD-40, a black box attack and an unbounded attack"
        return [CheckLine("ok", "gradient masking", text)]
    return [CheckLine("hint", "gradient masking", line) for line in lines]


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
) -> list[CheckLine]:
    """Run AutoAttack and report its warnings."""
    try:
        require_classes(AutoAttack.base, n_classes)
        keys = torch.arange(len(images), device=images.device)
        result = AutoAttack()(network, images, labels, AttackContext(threat, keys, n_classes=n_classes))
    except MeasurebenchError as error:
        return [CheckLine("hint", "AutoAttack", str(error))]
    left = int(_is_correct(network, result.adversarial, labels).sum())
    lines = [CheckLine("ok", "AutoAttack", f"{left} of {len(images)} correct images withstand it")]
    return [*lines, *(CheckLine("hint", "AutoAttack's warning", flag) for flag in result.flags)]
