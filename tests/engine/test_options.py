from dataclasses import replace

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel
from measurebench.engine.options import RunOptions

OPTIONS = RunOptions(dataset="digits")
OWN = ThreatModel.parse("L2", "0.5")


def test_a_model_keeps_its_own_threat_unless_told_otherwise() -> None:
    assert OPTIONS.threat_of(OWN) == OWN
    assert str(OPTIONS.threat_of(None)) == "Linf 8/255"
    assert str(replace(OPTIONS, norm="linf", radius="4/255").threat_of(OWN)) == "Linf 4/255"
    assert str(replace(OPTIONS, radius="1").threat_of(OWN)) == "L2 1"


def test_another_norm_needs_a_radius() -> None:
    with pytest.raises(BadInputError, match="--norm: expected --radius beside it"):
        replace(OPTIONS, norm="Linf", radius=None).threat_of(OWN)


def test_attacks_are_read_once_each() -> None:
    assert replace(OPTIONS, attacks="pgd, autoattack,pgd").attack_list == ("pgd", "autoattack")
    assert replace(OPTIONS, attacks="none").attack_list == ()
