"""What is written as TOML reads back the same."""

import tomllib
from typing import Any

import pytest

from measurebench.core.toml import to_key, to_toml


@pytest.mark.parametrize(
    "value",
    [
        {"learning rate": 0.1, "a.b": 1, "": 2, 'quote"': 3, "plain_One-2": 4, "größe": 5, "line\nend": 6, "a\x7fb": 7},
        {"inside": {"two words": [1, {"x y": "text\x7f\\"}]}, "none": {}},
        [True, 1.5, "a\tb"],
    ],
)
def test_any_value_reads_back(value: Any) -> None:
    assert tomllib.loads(f"{to_key('the value')} = {to_toml(value)}") == {"the value": value}


def test_plain_keys_stay_bare() -> None:
    assert to_key("batch_size-2") == "batch_size-2"
    assert to_key("batch size") == '"batch size"'
