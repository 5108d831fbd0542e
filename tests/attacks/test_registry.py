from dataclasses import dataclass
from typing import ClassVar

import pytest

from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import AttackInfo
from measurebench.attacks.registry import all_attacks, find_attack, find_attacks, register_attack
from measurebench.core.errors import BadInputError
from measurebench.measures.registry import all_measures


def test_registered_attacks_are_found_by_name() -> None:
    assert set(all_attacks()) >= {"pgd", "autoattack"}
    assert find_attack("pgd") == PGD()


def test_settings_follow_a_colon_in_the_types_of_the_fields() -> None:
    attack = find_attack("pgd:steps=50,restarts=5,step=2/255,start=false")
    assert attack == PGD(steps=50, restarts=5, step=2 / 255, start=False)
    assert attack.info.id == "pgd:steps=50,step=2/255,restarts=5,start=false"
    assert attack.info.title == "PGD (steps 50, step 2/255, restarts 5, start false)"
    assert find_attack(attack.info.id) == attack


def test_settings_that_are_the_defaults_are_the_attack_itself() -> None:
    assert find_attack("pgd:steps=10,step=none").info == PGD().info


def test_only_the_defaults_make_the_examples_that_measures_share() -> None:
    assert PGD().info.examples == "pgd"
    assert find_attack("pgd:steps=50").info.examples is None


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("pdg", r"attack: expected .*pgd.*, none or module:callable, got 'pdg'; did you mean 'pgd'\?"),
        ("pgd:", "settings of pgd: expected name=value, separated by commas, got ''"),
        ("pgd:stesp=5", r"setting of pgd: expected one of: steps, .*, got 'stesp'; did you mean 'step' or 'steps'\?"),
        ("pgd:steps=many", "pgd: steps: expected a whole number, got 'many'"),
        ("pgd:steps=1,steps=2", "settings of pgd: expected each name once, got 'steps' twice"),
        ("pgd:steps=-1", "pgd: steps: expected a whole number, at least 0, got -1"),
        ("pgd:step=1/0", "pgd: step: expected a number such as 0.1 or 2/255, got '1/0'"),
        ("pgd:step=nan", "pgd: step: expected a number"),
        ("pgd:start=perhaps", "pgd: start: expected true or false, got 'perhaps'"),
        ("autoattack-stock:version=custom", "autoattack-stock: version: expected standard or plus or rand"),
    ],
)
def test_a_wrong_reference_says_what_was_expected(reference: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        find_attack(reference)


def test_each_attack_comes_once() -> None:
    assert find_attacks(["pgd", "pgd:steps=10", "pgd"]) == [PGD()]


def test_a_registered_attack_has_an_accuracy_without_another_line() -> None:
    measures = all_measures()
    assert {f"{attack.info.column}_accuracy" for _, attack in all_attacks().items()} <= set(measures)
    assert {"autoattack_accuracy", "autoattack_sampled_accuracy", "apgd_ce_accuracy"} <= set(measures)


def test_an_id_is_taken_once_and_made_of_plain_letters() -> None:
    @dataclass(frozen=True)
    class Named:
        info: ClassVar[AttackInfo] = AttackInfo("pgd", "x", "x")

    with pytest.raises(ValueError, match="attack 'pgd' is registered twice"):
        register_attack(Named)

    @dataclass(frozen=True)
    class Odd:
        info: ClassVar[AttackInfo] = AttackInfo("a:b=1", "x", "x")

    with pytest.raises(ValueError, match="made of letters, digits, _ and -, not 'a:b=1'"):
        register_attack(Odd)
