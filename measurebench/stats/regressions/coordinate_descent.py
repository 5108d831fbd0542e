"""The compiled loop of the lasso."""

from typing import Any

import numpy as np

from measurebench.stats.resampling.compiled import compiled

__all__ = ["descend"]

A = np.ndarray[Any, Any]


@compiled
def _gap(w: A, alpha: float, fitted: A, xy: A, yy: float, left: A) -> Any:
    """Return the duality gap and the largest |x'r|, r the residual; write x'r into ``left`` [p]."""
    agreed, squared, size, largest = 0.0, 0.0, 0.0, 0.0
    for j in range(len(w)):
        agreed += w[j] * xy[j]
        squared += w[j] * fitted[j]
        size += abs(w[j])
        left[j] = xy[j] - fitted[j]
        largest = max(largest, abs(left[j]))
    of_residual = yy + squared - 2.0 * agreed
    scale = alpha / largest if largest > alpha else 1.0
    primal = 0.5 * of_residual + alpha * size
    dual = -0.5 * scale**2 * of_residual + scale * (yy - agreed)
    return primal - dual, largest


@compiled
def _screen(gram: A, w: A, alpha: float, fitted: A, left: A, gap: float, largest: float, kept: A) -> None:
    """Drop from ``kept`` [p] the columns whose coefficient is surely 0 (gap safe rules, Ndiaye et al. 2017, eq. 11)."""
    radius = np.sqrt(2 * abs(gap)) / alpha
    for j in range(len(w)):
        if kept[j] and (1 - abs(left[j] / max(alpha, largest))) / np.sqrt(gram[j, j]) > radius:
            kept[j] = False
            if w[j] != 0:
                for k in range(len(w)):
                    fitted[k] -= w[j] * gram[j, k]
                w[j] = 0.0


@compiled
def descend(gram: A, xy: A, yy: float, w: A, alpha: float, tolerance: float, rounds: int) -> None:
    """Minimise w'Gw/2 - w'c + alpha |w|_1, one coefficient after the other, in place of the start ``w`` [p].

    ``gram`` [p, p] is G, ``xy`` [p] c, ``yy`` the square of the target. It ends where no coefficient moves by more than
    ``tolerance`` of the largest and the duality gap is at most ``tolerance`` of ``yy`` (Friedman, Hastie and Tibshirani
    2010).
    """
    fitted, left, kept = gram @ w, np.empty(len(w)), np.ones(len(w), np.bool_)
    for j in range(len(w)):
        if gram[j, j] == 0.0:
            w[j], kept[j] = 0.0, False
    gap, largest = _gap(w, alpha, fitted, xy, yy, left)
    if 0 <= gap <= tolerance * yy:
        return
    _screen(gram, w, alpha, fitted, left, gap, largest, kept)
    for turn in range(rounds):
        most, moved = 0.0, 0.0
        for j in range(len(w)):
            if kept[j]:
                before = w[j]
                rest = xy[j] - fitted[j] + before * gram[j, j]
                w[j] = np.sign(rest) * max(abs(rest) - alpha, 0.0) / gram[j, j]
                if w[j] != before:
                    for k in range(len(w)):
                        fitted[k] += (w[j] - before) * gram[j, k]
                moved, most = max(moved, abs(w[j] - before)), max(most, abs(w[j]))
        if most == 0.0 or moved / most <= tolerance or turn == rounds - 1:
            gap, largest = _gap(w, alpha, fitted, xy, yy, left)
            if gap <= tolerance * yy:
                return
            _screen(gram, w, alpha, fitted, left, gap, largest, kept)
