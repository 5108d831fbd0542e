"""The base class."""

from typing import Any


class EvasionAttack:
    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
