"""Signs of gradient masking, on networks of which it is known whether their gradients mislead."""

from collections.abc import Callable

import pytest
import torch

from measurebench.attacks.autoattack import AutoAttack
from measurebench.attacks.protocol import AttackResult
from measurebench.checks import CheckLine, masking
from measurebench.checks.results import Effort
from measurebench.core.errors import ModelError
from measurebench.core.threat import ThreatModel
from tests.checks.masked import Slope, lines_for


def test_masked_gradients_are_hinted_at() -> None:
    masked, plain = lines_for(masked=True), lines_for(masked=False)
    assert [line.subject for line in masked if line.verdict == "hint"]
    assert all("gradient masking" in line.subject for line in masked if line.verdict == "hint")
    assert not [line for line in plain if line.verdict == "hint"]


def robustness(monkeypatch: pytest.MonkeyPatch, attack: Callable) -> list[CheckLine]:
    """Return what is said of an unmasked network with AutoAttack replaced by ``attack``."""
    monkeypatch.setattr(AutoAttack, "__call__", attack)
    images = torch.full((4, 1, 8, 8), 0.5) + torch.tensor([0.05, -0.05, 0.05, -0.05]).view(4, 1, 1, 1)
    network = Slope(masked=False).eval().requires_grad_(False)
    threat = ThreatModel.parse("Linf", "0.01")  # none of the images can be turned
    labels = torch.tensor([1, 0, 1, 0])
    return masking.robustness_lines(network, images, labels, threat, 4, Effort(autoattack=True))


def test_autoattack_s_warnings_are_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    def warns(_self: object, _network: object, images: torch.Tensor, *_rest: object) -> AttackResult:
        return AttackResult(images, ("flag one", "flag two"), 3)

    lines = robustness(monkeypatch, warns)
    assert [(line.verdict, line.subject, line.text) for line in lines] == [
        ("ok", "robustness", "4 of 4 correct images withstand PGD-10 (Linf 0.01)"),
        ("ok", "gradient masking", "no sign of it in PGD-40, a black box attack and an unbounded attack"),
        ("ok", "AutoAttack", "4 of 4 correct images withstand it"),
        ("hint", "AutoAttack's warning", "flag one"),
        ("hint", "AutoAttack's warning", "flag two"),
    ]


def test_an_autoattack_that_fails_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_arguments: object) -> AttackResult:
        raise ModelError("AutoAttack needs at least four classes")

    assert robustness(monkeypatch, fails)[-1] == CheckLine(
        "hint", "AutoAttack", "AutoAttack needs at least four classes"
    )


def test_a_network_that_falls_to_pgd_has_no_robustness() -> None:
    line = lines_for(masked=False)[0]
    assert (line.verdict, line.text) == (
        "ok",
        "0 of 16 correct images withstand PGD-10 (Linf 0.1): it has no robustness",
    )
