"""AutoAttack and its attacks as registered attacks: what they say of each other, of Square alone, and of precision."""

import pytest
import torch
from torch import Tensor, nn

from measurebench.attacks.perform import perform
from measurebench.attacks.protocol import AttackContext, AttackInfo
from measurebench.attacks.registry import find_attack
from measurebench.compute.precision import searching
from measurebench.core.errors import BadInputError, ModelError
from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.measures.registry import find_measure

N, K = 12, 5
THREAT = ThreatModel.parse("Linf", "1/50")


def subject() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, K)).eval()
    images = torch.rand(N, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return network, images, network(images).argmax(1)


def given(n_classes: int = K) -> AttackContext:
    return AttackContext(THREAT, torch.arange(N), n_classes=n_classes)


@pytest.mark.usefixtures("short_autoattack")
def test_an_attack_by_itself_breaks_what_it_breaks_first_in_autoattack() -> None:
    whole = perform(find_attack("autoattack"), *subject(), given())
    alone = perform(find_attack("apgd-ce"), *subject(), given())
    assert 0 < int(alone.robust.sum()) < N
    assert torch.equal(alone.robust, whole.details["withstood_apgd_ce"])
    assert torch.equal(~alone.robust, whole.details["broken_by"] == 0)


def test_square_alone_breaks_what_lies_far_inside_and_nothing_that_cannot_be_broken() -> None:
    weight = torch.cos(1.7 * torch.arange(64, dtype=torch.float64))
    threat, dual = ThreatModel.parse("Linf", "1/10"), weight.abs().sum()
    margins = 0.1 * dual * torch.tensor([0.05, 0.2, 0.4, 1.02, 1.1, 1.5])
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).double().eval()
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].weight[1] = weight
        network[1].bias.copy_(torch.tensor([0.0, -weight.sum() / 2, -9.0, -9.0]))
    images = (0.5 + margins[:, None] * weight / weight.square().sum()).reshape(6, 1, 8, 8)
    context = AttackContext(threat, torch.arange(6), n_classes=4)
    outcome = perform(find_attack("square:queries=1000"), network, images, network(images).argmax(1), context)
    assert outcome.robust.tolist() == [False] * 3 + [True] * 3


@pytest.mark.parametrize("name", ["autoattack", "autoattack-sampled", "autoattack-stock", "apgd-t", "square"])
def test_three_classes_are_too_few(name: str) -> None:
    with pytest.raises(ModelError, match="expected at least 4 classes, got 3"):
        perform(find_attack(name), *subject(), given(n_classes=3))


def test_a_setting_out_of_bounds_is_refused() -> None:
    with pytest.raises(BadInputError, match="share: expected above 0 and at most 1, got 1.5"):
        find_attack("autoattack-sampled:share=1.5")
    with pytest.raises(BadInputError, match="square_queries: expected a positive integer"):
        find_attack("square:queries=0")


def test_columns_of_registered_attacks_have_no_dashes() -> None:
    assert find_attack("autoattack-sampled:share=0.5").info.column == "autoattack_sampled:share=0.5"
    assert AttackInfo("my-file.py:shift", "", "", reference="x").column == "my-file.py:shift"


@pytest.mark.usefixtures("short_autoattack")
def test_an_attack_on_a_network_that_only_searches_is_judged_by_the_one_inside() -> None:
    network, images, labels = subject()
    context = given()

    def found(net: nn.Module) -> Tensor:
        return find_attack("autoattack")(net, images, labels, context).adversarial

    assert torch.equal(found(network), found(searching(network, lambda points: -network(points))))


@pytest.mark.usefixtures("short_autoattack")
def test_the_estimate_has_a_standard_error_and_intervals() -> None:
    network, images, labels = subject()
    context = MeasureContext(network, images, labels, MeasureSettings(THREAT))
    found = find_measure("autoattack_sampled_accuracy")(context)
    told = found.diagnostics
    assert told["low"] <= found.value <= told["high"]
    assert told["population_low"] < found.value < told["population_high"]
    assert told["n_sampled"] == told["n_survivors"]  # fewer than 40
    assert found.standard_error > 0


def test_a_list_of_autoattack_s_attacks_leaves_what_withstands_each_of_them() -> None:
    network, images, labels = subject()
    context = given()
    left = {
        name: perform(find_attack(name), network, images, labels, context).robust
        for name in ("apgd-ce", "apgd-t", "autoattack:attacks=apgd-ce+apgd-t", "autoattack:attacks=apgd-ce")
    }
    both = left["autoattack:attacks=apgd-ce+apgd-t"]
    assert torch.equal(both, left["apgd-ce"] & left["apgd-t"])
    assert torch.equal(left["autoattack:attacks=apgd-ce"], left["apgd-ce"])
    assert 0 < int(both.sum()) < N


def test_a_list_that_is_not_of_autoattack_is_an_error() -> None:
    assert find_attack("autoattack:attacks=apgd-ce+apgd-t+fab-t+square") == find_attack("autoattack")
    assert find_attack("autoattack:attacks=square+apgd-ce").info.column == "autoattack:attacks=square+apgd-ce"
    with pytest.raises(BadInputError, match="expected apgd-ce, apgd-t, fab-t, square, got 'pgd'"):
        find_attack("autoattack:attacks=apgd-ce+pgd")
    with pytest.raises(BadInputError, match="got 'version'; autoattack-stock:version=plus and autoattack-stock:vers"):
        find_attack("autoattack:version=plus")
