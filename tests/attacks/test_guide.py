"""The attack that the guide shows is one that works."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from measurebench.attacks import registry
from measurebench.attacks.perform import perform
from measurebench.attacks.plugin import OFFERED
from measurebench.attacks.protocol import AttackContext
from measurebench.core.registry import Registry
from measurebench.core.threat import ThreatModel

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "attack.md").read_text(encoding="utf-8")


def test_the_class_of_the_guide_is_an_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(block for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "@register_attack" in block)
    known = dict(registry.all_attacks().items())
    fresh: Registry[Any] = Registry("attack")
    monkeypatch.setattr(registry, "_ATTACKS", fresh)
    for name, attack in known.items():
        fresh.add(name, attack)
    exec(code, {"__name__": "guide"})
    attack = registry.find_attack("one_step:share=0.5")
    assert attack.info.id == "one_step:share=0.5"
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images, labels = torch.full((3, 1, 2, 2), 0.5), torch.zeros(3, dtype=torch.int64)
    context = AttackContext(ThreatModel.parse("Linf", "0.1"), torch.arange(3))
    outcome = perform(attack, network, images, labels, context)
    torch.testing.assert_close(outcome.distances, torch.full((3,), 0.05, dtype=torch.float64))


def test_the_guide_names_all_that_a_function_is_offered() -> None:
    assert all(f"`{name}`" in GUIDE for name in OFFERED)
