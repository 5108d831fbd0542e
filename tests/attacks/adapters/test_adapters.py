"""Attacks of other libraries: what they are given, what may be set, and what becomes of what they return."""

import sys
from typing import Any

import pytest
import torch
from torch import nn

from measurebench.attacks.adapters.loading import LIBRARIES, load_adapted
from measurebench.attacks.perform import perform
from measurebench.attacks.protocol import AttackContext
from measurebench.attacks.registry import find_attack, find_attacks
from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel
from measurebench.measures.api import measure
from measurebench.measures.robustness.accuracy import AttackAccuracy

IMAGES = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LINF, L2 = ThreatModel.parse("Linf", "1/20"), ThreatModel.parse("L2", "1/4")
PGDS = (
    "torchattacks:PGD:steps=7,alpha=0.02,random_start=false",
    "foolbox:LinfPGD:steps=7,abs_stepsize=0.02,random_start=false",
    "art:ProjectedGradientDescent:max_iter=7,eps_step=0.02",
)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


LABELS = net()(IMAGES).argmax(1)


def outcome(reference: str, threat: ThreatModel = LINF, seed: int = 0) -> Any:
    context = AttackContext(threat, torch.arange(8), seed, n_classes=4)
    return perform(find_attack(reference), net(), IMAGES, LABELS, context)


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("reference", PGDS)
def test_a_library_s_pgd_gets_network_radius_and_settings_and_ends_where_ours_does(reference: str) -> None:
    ours, theirs = outcome("pgd:steps=7,step=0.02,start=false"), outcome(reference)
    torch.testing.assert_close(theirs.adversarial, ours.adversarial, atol=2e-6, rtol=0)
    assert torch.equal(theirs.robust, ours.robust)
    assert not theirs.violations.any()


@pytest.mark.usefixtures("stand_ins")
def test_norm_seed_and_number_of_classes_are_given_and_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    attack = find_attack("torchattacks:Square:n_queries=3,loss=ce")
    context = AttackContext(L2, torch.arange(8), seed=2**40 + 5, n_classes=4)
    with pytest.raises(ValueError, match="'loss': 'ce'") as caught:
        perform(attack, net(), IMAGES, LABELS, context)
    assert "'norm': 'L2', 'eps': 0.25, 'seed': 5, 'n_classes': 4, 'verbose': False" in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("stand_ins")
def test_random_numbers_follow_the_seed_of_the_run() -> None:
    first, again, other = (outcome("torchattacks:PGD", seed=seed).adversarial for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.usefixtures("stand_ins")
def test_an_attack_that_writes_into_its_input_changes_nothing_and_is_a_violation() -> None:
    images, labels = IMAGES.clone(), LABELS.clone()
    found = outcome("torchattacks:Vandal")
    assert torch.equal(IMAGES, images)
    assert torch.equal(LABELS, labels)
    assert bool(found.violations.all())


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("reference", ["torchattacks:CW:c=1/2", "foolbox:L2DeepFoolAttack", "art:DeepFool"])
def test_images_of_an_attack_without_a_radius_are_moved_back_to_the_radius(reference: str) -> None:
    found = outcome(reference, L2)
    assert not found.violations.any()
    assert float(found.distances.max()) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.usefixtures("stand_ins")
def test_an_attack_that_takes_a_distance_gets_that_of_the_run() -> None:
    for threat in (LINF, L2):
        found = outcome("foolbox:InversionAttack", threat)
        assert float(found.distances.max()) == pytest.approx(threat.radius, abs=1e-6)


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize(
    ("reference", "threat", "norms"),
    [
        ("torchattacks:PGDL2", LINF, "an attack for Linf, got one for L2"),
        ("torchattacks:PGD", L2, "an attack for L2, got one for Linf"),
        ("foolbox:L2DeepFoolAttack", LINF, "an attack for Linf, got one for L2"),
        ("foolbox:LinfPGD", L2, "an attack for L2, got one for Linf"),
        ("art:DeepFool", LINF, "an attack for Linf, got one for L2"),
    ],
)
def test_an_attack_for_another_norm_is_refused(reference: str, threat: ThreatModel, norms: str) -> None:
    with pytest.raises(BadInputError, match=f"attack {reference}: expected {norms}"):
        outcome(reference, threat)


@pytest.mark.usefixtures("stand_ins")
def test_columns_and_records_are_named_after_library_class_and_settings() -> None:
    attacks = find_attacks([*PGDS, "torchattacks:PGD"])
    assert [attack.info.column for attack in attacks] == [
        "torchattacks:PGD:alpha=0.02,random_start=false,steps=7",
        "foolbox:LinfPGD:abs_stepsize=0.02,random_start=false,steps=7",
        "art:ProjectedGradientDescent:eps_step=0.02,max_iter=7",
        "torchattacks:PGD",
    ]
    values = measure(net(), IMAGES, LABELS, [AttackAccuracy(attacks[0])], radius=1 / 20)
    assert values["torchattacks:PGD:alpha=0.02,random_start=false,steps=7_accuracy"].value == float(
        outcome(PGDS[0]).robust.double().mean()
    )


@pytest.mark.usefixtures("stand_ins")
def test_another_release_of_a_library_is_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    first = find_attack("torchattacks:PGD")
    monkeypatch.setattr(sys.modules["torchattacks"], "__version__", "3.5.2")
    monkeypatch.setattr("measurebench.attacks.adapters.loading.version", _not_installed)
    assert find_attack("torchattacks:PGD").info.version != first.info.version


def _not_installed(name: str) -> str:
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(name)


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("torchattacks:PDG", "expected an attack of torchattacks, got 'PDG'; did you mean 'PGD'"),
        ("foolbox:linfpgd", "expected an attack of foolbox, got 'linfpgd'; did you mean 'LinfPGD'"),
        ("art:PGD", "expected an attack of art, got 'PGD'; did you mean 'ProjectedGradientDescent'"),
        ("art:Nothing", "got 'Nothing'; it has DeepFool, ProjectedGradientDescent$"),
        ("foolbox:Attack", "expected an attack of foolbox, got 'Attack'"),
        ("foolbox:LinfBaseGradientDescent", "expected an attack of foolbox"),
        ("torchattacks", "name the attack, such as torchattacks:PGD"),
        ("torchattacks:PGD:stepz=1", "expected one of: alpha, steps, random_start, got 'stepz'; did you mean 'steps'"),
        ("torchattacks:PGD:eps=8/255", "got 'eps'; --radius of the run sets it"),
        ("art:ProjectedGradientDescent:norm=2", "got 'norm'; --norm of the run sets it"),
        ("art:ProjectedGradientDescent:targeted=true", "expected one of: .*, got 'targeted'$"),
        ("torchattacks:PGD:steps=many", "torchattacks:PGD: steps: expected a number .*, got 'many'"),
        ("torchattacks:PGD:random_start=2", "random_start: expected true or false, got '2'"),
        ("torchattacks:LGV", "expected a setting for every argument without a default, got 'trainloader'"),
    ],
)
def test_what_a_library_does_not_have_is_an_error_that_names_the_nearest(reference: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        find_attack(reference)


@pytest.mark.usefixtures("no_libraries")
@pytest.mark.parametrize("name", sorted(LIBRARIES))
def test_a_library_that_is_not_installed_is_named_with_the_command_that_installs_it(name: str) -> None:
    with pytest.raises(BadInputError, match=f"expected the package {LIBRARIES[name].distribution}") as caught:
        find_attack(f"{name}:PGD", "--attacks")
    assert str(caught.value).startswith("--attacks: ")
    assert f"install it with: {LIBRARIES[name].install}" in str(caught.value)
    assert LIBRARIES[name].distribution in LIBRARIES[name].install


@pytest.mark.usefixtures("stand_ins")
def test_a_library_is_imported_when_it_is_named_and_not_before() -> None:
    find_attack("pgd")
    assert not {"torchattacks", "foolbox", "art"} & set(sys.modules)
    load_adapted("art:DeepFool")
    assert "art" in sys.modules
    assert "foolbox" not in sys.modules


@pytest.mark.usefixtures("stand_ins")
def test_settings_have_the_type_of_the_default() -> None:
    attack = load_adapted("torchattacks:CW:c=0.5,steps=20,lr=1/100")
    assert dict(attack.settings) == {"c": 0.5, "steps": 20, "lr": 0.01}
    assert dict(load_adapted("foolbox:LinfPGD:abs_stepsize=2/255").settings) == {"abs_stepsize": 2 / 255}
    assert dict(load_adapted("foolbox:L2DeepFoolAttack:loss=crossentropy").settings) == {"loss": "crossentropy"}
