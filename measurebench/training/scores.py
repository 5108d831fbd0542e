"""Accuracy during training, on training and validation images; never on test images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from measurebench.attacks.audit import is_correct
from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import AttackContext
from measurebench.core.threat import ThreatModel
from measurebench.datasets.base import ImageSplit

__all__ = ["Score", "clean_accuracy", "score"]

_BATCH = 256


@dataclass(frozen=True)
class Score:
    """Fractions of images classified correctly, clean and under PGD-10, and the mean cross-entropy under it."""

    clean_accuracy: float
    pgd_accuracy: float
    pgd_loss: float

    @property
    def order(self) -> tuple[float, float]:
        """The better of two scores is the larger one: by PGD accuracy, equal ones by PGD loss."""
        return self.pgd_accuracy, -self.pgd_loss


def score(network: nn.Module, split: ImageSplit, threat: ThreatModel, seed: int, device: str) -> Score:
    """Attack the split's images with PGD-10 and count; the network is left in train mode."""
    network.eval()
    attack = PGD()
    n_clean, n_robust, loss = 0, 0, 0.0
    for start in range(0, len(split), _BATCH):
        images = torch.tensor(split.images[start : start + _BATCH], device=device)
        labels = torch.tensor(split.labels[start : start + _BATCH], device=device)
        keys = torch.tensor(split.indices[start : start + _BATCH], device=device)
        adversarial = attack(network, images, labels, AttackContext(threat, keys, seed)).adversarial
        with torch.no_grad():
            n_clean += int(is_correct(network(images), labels).sum())
            logits = network(adversarial)
        n_robust += int(is_correct(logits, labels).sum())
        loss += float(F.cross_entropy(logits.double(), labels, reduction="sum"))
    network.train()
    return Score(n_clean / len(split), n_robust / len(split), loss / len(split))


def clean_accuracy(network: nn.Module, split: ImageSplit, device: str) -> float:
    """Return the fraction of images classified correctly; the network is left in eval mode."""
    network.eval()
    n_correct = 0
    with torch.no_grad():
        for start in range(0, len(split), _BATCH):
            logits = network(torch.tensor(split.images[start : start + _BATCH], device=device))
            labels = torch.tensor(split.labels[start : start + _BATCH], device=device)
            n_correct += int(is_correct(logits, labels).sum())
    return n_correct / len(split)
