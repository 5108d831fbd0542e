"""Texts whose marked parts are computed: every mark is filled, and nothing else is touched."""

import pytest

from measurebench.core.errors import BadInputError
from measurebench.studies.markdown import fill, head, line

TEXT = "There are <!-- n -->9<!-- end --> models.\n\n<!-- rows -->\nold\n<!-- end -->\n"
MAKERS = {"n": lambda: "3", "rows": lambda: [*head("a"), line("x")]}


def test_both_kinds_of_parts_are_filled_and_filling_again_changes_nothing() -> None:
    filled = fill(TEXT, MAKERS)
    assert "There are <!-- n -->3<!-- end --> models." in filled
    assert "<!-- rows -->\n\n| a |\n|---|\n| x |\n\n<!-- end -->" in filled
    assert fill(filled, MAKERS) == filled


def test_a_part_that_is_missing_or_unknown_is_named() -> None:
    with pytest.raises(BadInputError, match="<!-- rows -->"):
        fill("<!-- n --><!-- end -->", MAKERS)
    with pytest.raises(BadInputError, match="<!-- other -->"):
        fill(TEXT + "<!-- other --><!-- end -->", MAKERS)


def test_a_bar_inside_a_cell_does_not_end_it() -> None:
    assert line("a|b") == r"| a\|b |"
