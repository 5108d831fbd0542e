"""Distances by their power."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LpDistance:
    p: float


linf, l2, l1 = LpDistance(float("inf")), LpDistance(2), LpDistance(1)
