"""AutoAttack with few steps: what is tested holds for any number of them, and the full ones take minutes."""

from dataclasses import replace
from typing import Any

import pytest
from pyautoattack import AutoAttack

from measurebench.attacks import on_engine

__all__ = ["shorten_autoattack"]


def shorten_autoattack(
    patch: pytest.MonkeyPatch, apgd_steps: int = 20, fab_steps: int = 5, queries: int = 20, targets: int | None = None
) -> None:
    """Give pyautoattack and the package's own engine at most so many steps, and queries of Square."""
    stock, engine = AutoAttack.run_standard_evaluation, on_engine.standard_attack

    def short_stock(self: Any, *arguments: Any, **named: Any) -> Any:
        self.apgd.n_iter = self.apgd_targeted.n_iter = apgd_steps
        self.fab.n_iter, self.square.n_queries = fab_steps, queries
        if targets is not None:
            self.apgd_targeted.n_target_classes = self.fab.n_target_classes = targets
        return stock(self, *arguments, **named)

    def short_engine(*arguments: Any, settings: Any, **named: Any) -> Any:
        fewer = {"apgd_steps": apgd_steps, "fab_steps": fab_steps, "square_queries": queries}
        fewer |= {} if targets is None else {"targets": targets}
        least = {name: min(value, getattr(settings, name)) for name, value in fewer.items()}
        return engine(*arguments, settings=replace(settings, **least), **named)

    patch.setattr(AutoAttack, "run_standard_evaluation", short_stock)
    patch.setattr(on_engine, "standard_attack", short_engine)
