import pytest

from measurebench.reporting.html.wording import (
    count,
    fixed,
    interval,
    listed,
    p_text,
    percent,
    points,
    setting_name,
    signed,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1234, "0.12"), (-0.5, "\u22120.50"), (-0.001, "0.00"), (None, "\u2013"), (float("nan"), "\u2013")],
)
def test_numbers_have_a_true_minus_and_no_negative_zero(value: float, text: str) -> None:
    assert fixed(value) == text


def test_fractions_become_percent_with_a_space_that_does_not_break() -> None:
    assert percent(0.5128) == "51.3\u00a0%"
    assert points(0.128) == "12.8"


def test_a_missing_interval_is_said() -> None:
    assert interval(float("nan"), 0.2) == "no interval"
    assert interval(-0.12, 0.4) == "[\u22120.12, 0.40]"


def test_lists_are_cut_with_the_rest_counted() -> None:
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefgh"), 2) == "a, b and 6 more"


def test_small_p_values_are_not_shown_as_zero() -> None:
    assert p_text(0.00004) == "< 0.001"


def test_counts_agree_in_number() -> None:
    assert (count(1, "model"), count(1344, "model"), count(2, "entry", "entries")) == (
        "1 model",
        "1,344 models",
        "2 entries",
    )


def test_signs_stand_before_both_directions() -> None:
    assert (signed(0.2), signed(-0.2), signed(0.0)) == ("+0.20", "\u22120.20", "0.00")


def test_settings_lose_their_prefix() -> None:
    assert setting_name("setting_weight_decay") == "weight decay"
