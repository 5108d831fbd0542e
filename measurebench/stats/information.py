"""Conditional mutual information between the order of a measure and the order of the target."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from measurebench.stats.estimates import NAN, Estimate, Sample
from measurebench.stats.resampling import Floats, Ints

MAX_CELLS = 128


def conditional_information(sample: Sample, settings: Mapping[str, Ints]) -> Estimate:
    """Return K = min over sets S of at most two settings of I(V_x; V_y | U_S) / H(V_y | U_S) (Jiang et al. 2020).

    V is the sign of the difference over pairs of models, U_S the settings in S of both models; plug-in
    estimates over ordered pairs that differ in both, in [0, 1]. ``settings`` numbers each model's level. The axis
    of the result names the minimising set. A plug-in estimate has no interval here: it is biased upwards where
    few pairs share their settings.
    """
    pairs = int(np.count_nonzero(sample.signs)) // 2
    if sample.flaw or not pairs:
        reason = sample.flaw or "no pair differs in both"
        return Estimate("cmi", "", "", sample.n, pairs, NAN, reason=reason)
    greater_y = sample.cohort.signs_y > 0
    agree = ((sample.signs_x > 0) & greater_y).astype(np.float32)
    disagree = ((sample.signs_x < 0) & greater_y).astype(np.float32)
    best, chosen = np.inf, ""
    for axes in _sets(list(settings)):
        cells = _cells([settings[name] for name in axes], sample.n)
        if cells.shape[1] > MAX_CELLS:
            continue
        value = _normalised(cells.T @ agree @ cells, cells.T @ disagree @ cells)
        if value < best:
            best, chosen = value, " + ".join(axes)
    reason = "a plug-in estimate; no interval and no test"
    return Estimate("cmi", chosen, "", sample.n, pairs, float(best), reason=reason)


def _sets(names: list[str]) -> list[tuple[str, ...]]:
    return [(), *((name,) for name in names), *itertools.combinations(names, 2)]


def _cells(columns: list[Ints], n: int) -> Any:
    """Return the indicator [n, cells] of each model's combination of levels, float32."""
    key = np.stack(columns, axis=1) if columns else np.zeros((n, 1), np.int64)
    cell = np.unique(key, axis=0, return_inverse=True)[1].reshape(-1)
    indicator = np.zeros((n, int(cell.max()) + 1), np.float32)
    indicator[np.arange(n), cell] = 1
    return indicator


def _normalised(agree: Any, disagree: Any) -> float:
    """Return I / H from counts per pair of cells: x and y up together, and y up where x goes down."""
    joint = np.stack([agree, disagree, disagree.T, agree.T]).astype(np.float64)
    total = joint.sum(axis=0)
    y_up, x_up = joint[0] + joint[1], joint[0] + joint[2]
    h_y = _entropy(np.stack([y_up, total - y_up]))
    h_x = _entropy(np.stack([x_up, total - x_up]))
    overall = total.sum()
    conditional = ((h_x + h_y - _entropy(joint)) * total).sum() / overall
    entropy = (h_y * total).sum() / overall
    return float(max(0.0, conditional) / entropy) if entropy > 1e-12 else np.inf


def _entropy(counts: Floats) -> Floats:
    """Return the entropy over the first axis in nats; 0 for an empty cell."""
    total = np.maximum(counts.sum(axis=0), 1e-300)
    share = counts / total
    return np.asarray(-(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=0))
