"""A stand-in with the interface of torchattacks 3.5.1."""

from typing import Any

import torch
from torch import Tensor, nn

from .attack import Attack

__version__ = "3.5.1"


class PGD(Attack):
    def __init__(
        self, model: nn.Module, eps: float = 8 / 255, alpha: float = 2 / 255, steps: int = 10, random_start: bool = True
    ) -> None:
        super().__init__("PGD", model)
        self.eps, self.alpha, self.steps, self.random_start = eps, alpha, steps, random_start

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        adversarial = images.clone()
        if self.random_start:
            adversarial = (adversarial + torch.empty_like(images).uniform_(-self.eps, self.eps)).clamp(0, 1)
        for _ in range(self.steps):
            adversarial.requires_grad_(True)
            loss = nn.functional.cross_entropy(self.model(adversarial), labels)
            (gradient,) = torch.autograd.grad(loss, adversarial)
            moved = adversarial.detach() + self.alpha * gradient.sign()
            adversarial = (images + (moved - images).clamp(-self.eps, self.eps)).clamp(0, 1)
        return adversarial


class PGDL2(Attack):
    def __init__(self, model: nn.Module, eps: float = 1.0) -> None:
        super().__init__("PGDL2", model)


class CW(Attack):
    """Goes twice as far as 1/4 in L2, whatever the radius is."""

    def __init__(self, model: nn.Module, c: float = 1, kappa: float = 0, steps: int = 50, lr: float = 0.01) -> None:
        super().__init__("CW", model)
        self.c = c

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        assert self.c == 0.5
        step = torch.ones_like(images) / images[0].numel() ** 0.5
        return images + 0.5 * step


class Square(Attack):
    """Says what it was given."""

    def __init__(
        self,
        model: nn.Module,
        norm: str = "Linf",
        eps: float = 8 / 255,
        n_queries: int = 5000,
        loss: str = "margin",
        seed: int = 0,
        n_classes: int = 10,
        verbose: bool = True,
    ) -> None:
        super().__init__("Square", model)
        self.given = {"norm": norm, "eps": eps, "seed": seed, "n_classes": n_classes, "verbose": verbose, "loss": loss}

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        print("noise on the standard output")
        raise ValueError(str(self.given))


class Vandal(Attack):
    """Writes into what it is given and leaves the ball."""

    def __init__(self, model: nn.Module, eps: float = 8 / 255) -> None:
        super().__init__("Vandal", model)

    def forward(self, images: Tensor, labels: Tensor) -> Any:
        labels.zero_()
        return images.zero_()


class LGV(Attack):
    def __init__(self, model: nn.Module, trainloader: Any, lr: float = 0.05) -> None:
        super().__init__("LGV", model)
