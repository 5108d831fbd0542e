import pytest
import torch
from torch import nn

from measurebench.attacks.protocol import AttackContext
from measurebench.attacks.registry import find_attack
from measurebench.core.threat import ThreatModel
from measurebench.testing import check_attack


@pytest.mark.parametrize(("norm", "radius"), [("Linf", "1/16"), ("L2", "1/2")])
def test_the_attack_keeps_the_contract_of_attacks(norm: str, radius: str) -> None:
    check_attack("one_step", norm=norm, radius=radius)


def test_one_step_on_a_linear_network_goes_along_the_sign_of_the_weights() -> None:
    # Two classes with logits w.x and 0, label 0: the loss falls along w, so that every pixel steps against its sign.
    net = nn.Linear(2, 2, bias=False)
    net.weight.data = torch.tensor([[1.0, -2.0], [0.0, 0.0]])
    images, labels = torch.full((1, 2), 0.5), torch.tensor([0])
    context = AttackContext(ThreatModel.parse("Linf", "0.1"), keys=torch.tensor([0]))
    found = find_attack("one_step")(net, images, labels, context).adversarial
    assert found.tolist() == [pytest.approx([0.4, 0.6])]
