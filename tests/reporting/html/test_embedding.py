import json

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from measurebench.reporting.html.embedding import columns, number, script_json


@given(st.text())
def test_embedded_json_holds_no_markup_and_reads_back_the_same(text: str) -> None:
    embedded = script_json({"name": text})
    assert not set("<>&") & set(embedded)
    assert json.loads(embedded) == {"name": text}


def test_numbers_keep_nine_significant_digits() -> None:
    assert number(0.1234567894) == 0.123456789
    assert number(1234567.891) == 1234567.89


def test_what_is_not_finite_becomes_null() -> None:
    assert columns(pd.DataFrame({"a": [1.5, np.nan, np.inf]}))["columns"]["a"] == [1.5, None, None]


def test_repeated_texts_are_stored_once_with_missing_as_minus_one() -> None:
    encoded = columns(pd.DataFrame({"a": ["x", "y", "x", None, "x", "y"]}))["columns"]["a"]
    assert encoded == {"levels": ["x", "y"], "codes": [0, 1, 0, -1, 0, 1]}


def test_flags_stay_flags() -> None:
    assert columns(pd.DataFrame({"a": [True, False]}))["columns"]["a"] == [True, False]
