"""What a measure says of itself is checked when it is registered."""

from dataclasses import replace
from typing import Any

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.info import check_info
from measurebench.core.infos import measure_infos

GOOD = measure_infos()["path_norm"]


def test_every_measure_of_ours_passes() -> None:
    for info in measure_infos().values():
        assert check_info(info) is info


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("id", "mean squared,margin", "id: expected letters, digits and _, beginning with a letter"),
        ("id", "=cmd", "id: expected letters, digits and _, beginning with a letter"),
        ("family", "margin", r"family: expected .*margins.*, got 'margin'; did you mean 'margins'\?"),
        ("tier", "best", "tier: expected core, extended, new, accuracy, got 'best'"),
        ("hypothesis", "up", r"hypothesis: expected .*, got 'up'"),
        ("inputs", ("images",), "inputs: expected weights, initial_weights, clean, pgd, gradient, got 'images'"),
        ("splits", ("val",), "splits: expected train, test, got 'val'"),
        ("properties", ("logit_shift_invarian",), r"properties: .*did you mean 'logit_shift_invariant'"),
    ],
)
def test_a_field_that_cannot_be_is_named(field: str, value: Any, message: str) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises(BadInputError, match=message):
        check_info(replace(GOOD, **changes))
