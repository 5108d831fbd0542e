"""Signs of gradient masking, on networks of which it is known whether their gradients mislead."""

from tests.checks.masked import lines_for


def test_masked_gradients_are_hinted_at() -> None:
    masked, plain = lines_for(masked=True), lines_for(masked=False)
    assert [line.subject for line in masked if line.verdict == "hint"]
    assert all("gradient masking" in line.subject for line in masked if line.verdict == "hint")
    assert not [line for line in plain if line.verdict == "hint"]
