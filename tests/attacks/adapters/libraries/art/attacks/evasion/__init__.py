"""Attacks of the stand-in, on arrays."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..attack import EvasionAttack

Images = npt.NDArray[np.float32]


class ProjectedGradientDescent(EvasionAttack):
    def __init__(
        self,
        estimator: Any,
        norm: Any = np.inf,
        eps: float = 0.3,
        eps_step: float = 0.1,
        decay: float | None = None,
        max_iter: int = 100,
        targeted: bool = False,
        num_random_init: int = 0,
        batch_size: int = 32,
        verbose: bool = True,
    ) -> None:
        super().__init__(estimator)
        assert norm in (np.inf, 2)
        assert not targeted
        assert not verbose
        self.eps, self.eps_step, self.max_iter, self.batch_size = eps, eps_step, max_iter, batch_size

    def generate(self, x: Images, y: Images) -> Images:
        assert self.batch_size == len(x)
        assert y.shape == (len(x), self.estimator.nb_classes)
        points = x
        for _ in range(self.max_iter):
            moved = points + self.eps_step * np.sign(self.estimator.loss_gradient(points, y))
            points = np.clip(x + np.clip(moved - x, -self.eps, self.eps), 0, 1).astype(np.float32)
        return points


class DeepFool(EvasionAttack):
    def __init__(self, classifier: Any, max_iter: int = 100, batch_size: int = 1, verbose: bool = True) -> None:
        super().__init__(classifier)

    def generate(self, x: Images, y: Images) -> Images:
        return np.zeros_like(x)
