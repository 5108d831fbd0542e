from dataclasses import replace

import pytest

from measurebench.core.config import RunConfig
from measurebench.core.digests import digest_json, seed_from
from measurebench.core.threat import ThreatModel

CONFIG = RunConfig("digits", "a", "b", ThreatModel.parse("Linf", "8/255"))


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "cifar10"},
        {"train_digest": "x"},
        {"test_digest": "x"},
        {"seed": 1},
        {"precision": "fast"},
        {"threat": ThreatModel.parse("L2", "8/255")},
        {"threat": ThreatModel.parse("Linf", "4/255")},
        {"pgd_steps": 20},
        {"pgd_step_fraction": 0.5},
        {"measure_settings": {"local_lip": {"steps": 3}}},
    ],
)
def test_digest_changes_with_all_that_can_change_a_value(change: dict) -> None:
    assert replace(CONFIG, **change).digest() != CONFIG.digest()


def test_digest_does_not_depend_on_how_the_radius_is_written() -> None:
    assert replace(CONFIG, threat=ThreatModel.parse("Linf", "16/510")).digest() == CONFIG.digest()


def test_digest_of_json_ignores_the_order_of_keys() -> None:
    assert digest_json({"a": 1, "b": [2]}) == digest_json({"b": [2], "a": 1})


def test_seeds_differ_by_every_part() -> None:
    assert len({seed_from(0, "a"), seed_from(1, "a"), seed_from(0, "b"), seed_from(0, "a", 0)}) == 4
