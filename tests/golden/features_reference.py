"""Slow, plain references of the measures of features and of gradients across examples, one example at a time."""

import math
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["OF_FEATURES", "gradient_noise", "jacobian_norm"]


def features(case: Any, pgd: bool) -> dict[int, list[np.ndarray]]:
    """Return the vectors that the last linear layer reads, by label."""
    last = [m for m in case.net.modules() if isinstance(m, nn.Linear)][-1]
    by_label: dict[int, list[np.ndarray]] = defaultdict(list)
    for image, label in zip(case.at(pgd), case.labels.tolist(), strict=True):
        handle = last.register_forward_pre_hook(
            lambda _m, inputs, label=label: by_label[label].append(inputs[0][0].detach().numpy().copy())
        )
        case.net(image[None])
        handle.remove()
    return by_label


def centres(found: dict[int, list[np.ndarray]]) -> tuple[list[np.ndarray], list[float]]:
    means = [sum(vectors) / len(vectors) for vectors in found.values()]
    spreads = [
        sum(math.dist(v, m) for v in vectors) / len(vectors) for m, vectors in zip(means, found.values(), strict=True)
    ]
    return means, spreads


def davies_bouldin(case: Any, pgd: bool) -> float:
    means, spreads = centres(features(case, pgd))
    k = range(len(means))
    return sum(max((spreads[i] + spreads[j]) / math.dist(means[i], means[j]) for j in k if j != i) for i in k) / len(
        means
    )


def difference_index(case: Any, pgd: bool) -> float:
    means, spreads = centres(features(case, pgd))
    middle = sum(means) / len(means)
    inter, intra = sum(math.dist(m, middle) for m in means) / len(means), sum(spreads) / len(spreads)
    return (inter - intra) / max(inter, intra)


def collapse(case: Any, pgd: bool) -> float:
    found = features(case, pgd)
    means, _ = centres(found)
    middle = sum(means) / len(means)
    between = sum(np.outer(m - middle, m - middle) for m in means) / len(means)
    each = [v - m for m, vectors in zip(means, found.values(), strict=True) for v in vectors]
    within = sum(np.outer(d, d) for d in each) / len(each)
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-11, hermitian=True)) / len(means))


def rank(case: Any, pgd: bool) -> float:
    singular = np.linalg.svd(np.stack([v for vectors in features(case, pgd).values() for v in vectors]))[1]
    shares = [s / sum(singular) for s in singular if s > 0]
    return math.exp(-sum(q * math.log(q) for q in shares))


OF_FEATURES = {
    "davies_bouldin": davies_bouldin,
    "rdi": difference_index,
    "neural_collapse": collapse,
    "feature_rank": rank,
}


def jacobian_norm(case: Any, image: torch.Tensor, _label: int) -> float:
    jacobian = torch.autograd.functional.jacobian(lambda x: case.net(x[None])[0], image)
    return float(jacobian.square().sum().sqrt())


def gradient_noise(gradients: list[dict[str, torch.Tensor]]) -> float:
    rows = torch.stack([torch.cat([part.flatten() for part in one.values()]) for one in gradients])
    return float((rows - rows.mean(0)).square().sum()) / (len(rows) - 1)
