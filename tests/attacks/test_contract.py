"""What every registered attack must keep, whatever it is: a new one is held to it without another line of test."""

import pickle
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from measurebench.attacks.audit import TOLERANCE
from measurebench.attacks.geometry import distance
from measurebench.attacks.perform import attacked, perform
from measurebench.attacks.protocol import Attack, AttackContext
from measurebench.attacks.registry import all_attacks, find_attack
from measurebench.compute.batching import Batches
from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel
from measurebench.engine.options import RunOptions

ATTACKS = list(all_attacks())
THREATS = [ThreatModel.parse("Linf", "1/20"), ThreatModel.parse("L2", "1/4")]
N, K = 16, 5
WEIGHT = torch.cos(1.7 * torch.arange(64, dtype=torch.float64))


pytestmark = pytest.mark.usefixtures("short_autoattack")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, K)).eval()


def examples(net: nn.Module) -> tuple[Tensor, Tensor]:
    """Return images that reach the edge of the box, and the labels that the network gives but for every fourth."""
    images = (1.2 * torch.rand(N, 1, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.1).clamp(0, 1)
    images = images.to(next(net.parameters()).dtype)
    labels = net(images).argmax(1)
    labels[::4] = (labels[::4] + 1) % K
    return images, labels


def given(threat: ThreatModel, seed: int = 0) -> AttackContext:
    return AttackContext(threat, torch.arange(100, 100 + N), seed, n_classes=K)


def run(attack: Attack, net: nn.Module, threat: ThreatModel, seed: int = 0, batch: int = 64) -> Tensor:
    images, labels = examples(net)
    return attacked(attack, net, images, labels, given(threat, seed), Batches(batch)).adversarial


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_a_frozen_dataclass_with_defaults_that_says_what_it_is(name: str) -> None:
    attack = all_attacks()[name]
    assert is_dataclass(attack)
    assert type(attack)() == attack
    assert hash(attack) == hash(pickle.loads(pickle.dumps(attack)))
    info = attack.info
    assert info.id == name
    assert info.title
    assert info.source
    assert info.explanation
    if info.counted_by:
        options = {field.name for field in fields(RunOptions)}
        assert {f"{info.counted_by}_examples", f"{info.counted_by}_train_examples"} <= options


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("name", ATTACKS)
def test_images_stay_in_ball_and_box_where_that_is_promised(name: str, threat: ThreatModel) -> None:
    attack, net = find_attack(name), network()
    images, _ = examples(net)
    found = run(attack, net, threat)
    if attack.info.in_ball:
        assert float(distance(found, images, threat.norm).max()) <= threat.radius + TOLERANCE
        assert 0 <= float(found.min()) <= float(found.max()) <= 1


@pytest.mark.parametrize("name", ATTACKS)
def test_the_seed_fixes_the_result(name: str) -> None:
    attack, net = find_attack(name), network()
    assert torch.equal(run(attack, net, THREATS[0]), run(attack, net, THREATS[0]))


@pytest.mark.parametrize("name", ATTACKS)
def test_global_random_state_plays_no_part_and_stays(name: str) -> None:
    attack, net = find_attack(name), network()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = run(attack, network(), THREATS[0])
    torch.manual_seed(2)
    state = torch.get_rng_state()
    images, labels = examples(net)
    second = attacked(attack, net, images, labels, given(THREATS[0]), Batches(64)).adversarial
    assert torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(state)


@pytest.mark.parametrize("name", ATTACKS)
def test_network_and_inputs_are_left_as_they_were(name: str) -> None:
    attack, net = find_attack(name), network()
    images, labels = examples(net)
    copies = images.clone(), labels.clone(), {key: value.clone() for key, value in net.state_dict().items()}
    context = given(THREATS[0])
    attack(net, images, labels, context)  # not through the engine, which would hand out copies
    assert torch.equal(images, copies[0])
    assert torch.equal(labels, copies[1])
    assert all(torch.equal(value, copies[2][key]) for key, value in net.state_dict().items())
    assert not net.training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(context.keys, torch.arange(100, 100 + N))


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("name", [name for name in ATTACKS if all_attacks()[name].info.batch_independent])
def test_neither_batch_nor_order_matters_where_that_is_promised(name: str, threat: ThreatModel) -> None:
    attack, net = find_attack(name), network().double()
    images, labels = examples(net)
    whole = run(attack, net, threat)
    torch.testing.assert_close(run(attack, net, threat, batch=3), whole, rtol=0, atol=1e-9)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    context = replace(given(threat), keys=given(threat).keys[order])
    shuffled = attacked(attack, net, images[order], labels[order], context, Batches(64)).adversarial
    torch.testing.assert_close(shuffled, whole[order], rtol=0, atol=1e-9)


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("name", ATTACKS)
def test_a_network_without_gradients_yields_valid_images_and_keeps_its_accuracy(name: str, threat: ThreatModel) -> None:
    net = network()
    images, labels = examples(net)
    for parameter in net.parameters():
        parameter.data.zero_()
    net[4].bias.data[2] = 1.0
    outcome = perform(find_attack(name), net, images, labels, given(threat))
    assert not bool(outcome.violations.any())
    assert torch.equal(outcome.robust, labels == 2)


@pytest.mark.parametrize(("norm", "dual"), [("Linf", WEIGHT.abs().sum()), ("L2", WEIGHT.norm())])
# Square alone is a random search; what it must and must not break stands in test_single.py. Noise searches nothing.
@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in ("square", "noise")])
def test_robust_accuracy_of_a_linear_network_is_exact(name: str, norm: str, dual: Tensor) -> None:
    # Logits are 0 and w.(x - 1/2); three further classes never win. By Hoelder an image of label y withstands radius r
    # exactly if its margin exceeds r times the dual norm of w; images lie so far inside the box that it plays no part.
    # Margins avoid 5 % around the threshold, since a fixed number of steps ends near the optimum and not on it.
    radius = 0.1
    margins = radius * dual * torch.tensor([0.05, 0.3, 0.6, 0.9, 0.95, 1.05, 1.1, 1.5])
    images = 0.5 + torch.cat([margins, -margins])[:, None] * WEIGHT / WEIGHT.square().sum()
    images = images.reshape(N, 1, 8, 8)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, K)).double().eval()
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].weight[1] = WEIGHT
        net[1].bias.copy_(torch.tensor([0.0, -WEIGHT.sum() / 2, -9.0, -9.0, -9.0]))
    labels = net(images).argmax(1)
    labels[0] = 1 - labels[0]  # wrong from the start
    outcome = perform(find_attack(name), net, images, labels, given(ThreatModel.parse(norm, str(radius))))
    expected = torch.cat([margins, margins]) > radius * dual
    assert float((images - 0.5).abs().max()) + radius < 0.5
    assert torch.equal(outcome.robust, expected)
    assert int(outcome.correct.sum()) == N - 1


@pytest.mark.parametrize("name", ATTACKS)
def test_targets_are_aimed_at_or_refused(name: str) -> None:
    attack, net = find_attack(name), network()
    images, labels = examples(net)
    targets = (net(images).argmax(1) + 1) % K
    context = replace(given(THREATS[0]), targets=targets)
    if not attack.info.targeted:
        with pytest.raises(BadInputError, match=f"attack {name}: expected no targets"):
            attacked(attack, net, images, labels, context, Batches(64))
        return
    found = attacked(attack, net, images, labels, context, Batches(64)).adversarial
    rise = (net(found) - net(images)).gather(1, targets[:, None])
    assert float(rise.detach().mean()) > 0
