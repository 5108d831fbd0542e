from dataclasses import dataclass
from typing import Literal

import pytest

from measurebench.attacks.protocol import AttackInfo
from measurebench.attacks.settings import named_settings, setting_text, typed, with_own_id, with_settings
from measurebench.core.errors import BadInputError


@dataclass(frozen=True)
class Example:
    steps: int = 10
    step: float | None = None
    start: bool = True
    loss: Literal["ce", "dlr"] = "ce"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2 / 255, "2/255"),
        (8 / 255, "8/255"),
        (0.2, "0.2"),  # 51/255, but nobody writes it so
        (1 / 3, "85/255"),
        (0.1234567891, "0.1234567891"),
        (True, "true"),
        (None, "none"),
        (5, "5"),
        ("plus", "plus"),
    ],
)
def test_a_value_is_written_as_it_can_be_read_again(value: object, text: str) -> None:
    assert setting_text(value) == text
    kind = float | None if value is None or isinstance(value, float) else type(value)
    assert typed(text, kind, "x") == value


def test_every_settings_text_gives_back_the_same_attack() -> None:
    attack = Example(steps=3, step=2 / 255, start=False, loss="dlr")
    assert named_settings(attack) == "steps=3,step=2/255,start=false,loss=dlr"
    given = dict(part.split("=") for part in named_settings(attack).split(","))
    assert with_settings(Example(), given, "example") == attack


def test_a_word_that_is_not_among_the_choices_is_refused() -> None:
    with pytest.raises(BadInputError, match="example: loss: expected ce or dlr, got 'hinge'"):
        with_settings(Example(), {"loss": "hinge"}, "example")


def test_defaults_keep_the_name_and_others_have_their_own() -> None:
    base = AttackInfo("example", "Example", "Somebody 2020; ten steps", examples="pgd")
    assert with_own_id(base, Example()) is base
    own = with_own_id(base, Example(steps=3))
    assert (own.id, own.title, own.source) == ("example:steps=3", "Example (steps 3)", "Somebody 2020; steps 3")
    assert own.examples is None
