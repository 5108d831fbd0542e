from fractions import Fraction

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.threat import Norm, ThreatModel, radius_text


def test_radius_is_kept_exactly_and_as_a_float() -> None:
    threat = ThreatModel.parse("linf", "8/255")
    assert threat.fraction == Fraction(8, 255)
    assert threat.radius == 8 / 255
    assert str(threat) == "Linf 8/255"


def test_equal_radii_written_differently_are_the_same_threat() -> None:
    assert ThreatModel.parse("L2", "0.5") == ThreatModel.parse("L2", "1/2")
    assert ThreatModel.parse("L2", "0.5") != ThreatModel.parse("Linf", "0.5")


def test_decimal_numerators_are_exact() -> None:
    assert ThreatModel.parse("Linf", "2.2/255").fraction == Fraction(22, 2550)


@pytest.mark.parametrize("radius", ["8", "0", "-1/255", "1.5", "1e300/1e-300", "1e-99999999999"])
def test_radius_outside_the_box_is_refused_with_both_numbers(radius: str) -> None:
    with pytest.raises(BadInputError, match=r"radius: expected a Linf radius in pixel units, above 0 and at most 1"):
        ThreatModel.parse("Linf", radius)


def test_a_radius_in_grey_levels_is_recognised() -> None:
    with pytest.raises(BadInputError, match=r"got '8'; did you mean 8/255\?"):
        ThreatModel.parse("Linf", "8")


@pytest.mark.parametrize("radius", ["eight", "8/0", "", "nan", "inf", "8/255/3", "1e400", "1/1e400", "1e99999999999"])
def test_text_that_is_no_number_is_refused(radius: str) -> None:
    with pytest.raises(BadInputError, match="expected a number or a fraction"):
        ThreatModel.parse("Linf", radius)


def test_unknown_norm_names_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="norm: expected Linf or L2, got 'L1'"):
        Norm.parse("L1")


@pytest.mark.parametrize("n", range(1, 255))
def test_a_multiple_of_a_grey_level_is_written_as_one(n: int) -> None:
    text = radius_text(n / 255)
    assert text == f"{n}/255" or (len(str(n / 255)) <= 6 and text == str(n / 255))
    assert radius_text(f"{n}/255") == f"{n}/255"
    assert ThreatModel.parse("Linf", text).fraction == ThreatModel.parse("Linf", f"{n}/255").fraction


@pytest.mark.parametrize(
    ("radius", "text"), [(0.5, "0.5"), (0.2, "0.2"), ("0.031", "0.031"), (1, "1"), (0.3 + 1e-7, "0.3")]
)
def test_other_radii_are_short_decimals(radius: float | str, text: str) -> None:
    assert radius_text(radius) == text


def test_a_radius_that_was_computed_is_said_as_a_fraction() -> None:
    assert str(ThreatModel.parse("Linf", 8 / 255)) == "Linf 8/255"
