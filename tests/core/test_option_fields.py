"""Declared options: one declaration gives defaults, checks, names and the reading of files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.option_fields import check_names, checked, option, options_of, read_toml, validate
from measurebench.core.option_kinds import auto_or_whole, flag, folder, names, one_of, text, whole


@dataclass(frozen=True)
class Sample:
    """Some options, and a field that is none."""

    title: str = option(..., text("a title"), "The title.")
    count: int = option(3, whole(1), "How many.", note="three")
    size: int | None = option(None, auto_or_whole(), "How large.")
    table: dict[str, Any] = option({}, flag(), "A table.", in_file="short")
    other: int = 0

    def __post_init__(self) -> None:
        for name in ("title", "count", "size"):
            object.__setattr__(self, name, checked(options_of(self)[name], getattr(self, name), name))


def test_a_declaration_is_read_from_the_fields_in_their_order() -> None:
    found = options_of(Sample)
    assert list(found) == ["title", "count", "size", "table"]
    assert [item.is_required for item in found.values()] == [True, False, False, False]
    assert (found["count"].default, found["count"].help, found["count"].note) == (3, "How many.", "three")
    assert (found["table"].default, found["table"].in_file) == ({}, "short")


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        (text(), "x", "x"),
        (names("ids"), "a, b,,c", "a,b,c"),
        (names("ids"), ["a", " b "], "a,b"),
        (names("ids"), ("a",), "a"),
        (whole(), -3, -3),
        (whole(0), 0, 0),
        (auto_or_whole(), "auto", "auto"),
        (auto_or_whole(2), 2, 2),
        (one_of("a", "b"), "b", "b"),
        (folder(), "x/y", Path("x/y")),
        (folder(), Path("x"), Path("x")),
        (flag(), False, False),
    ],
)
def test_a_value_is_kept_in_one_form(kind, given: Any, kept: Any) -> None:
    assert kind.accept(given) == kept
    assert kind.accept(kept) == kept


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        *((text(), value) for value in ("", 3, None, ["a"])),
        *((names("ids"), value) for value in (3, [], ["a", 3], {"a": 1}, None)),
        *((whole(1), value) for value in (0, True, 1.0, "1", None)),
        *((auto_or_whole(), value) for value in (0, "many", True, None)),
        *((one_of("a", "b"), value) for value in ("c", "", 1, ["a"])),
        *((folder(), value) for value in (3, None)),
        *((flag(), value) for value in (1, "true", None)),
    ],
)
def test_other_values_are_refused(kind, given: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        kind.accept(given)


@pytest.mark.parametrize(
    ("word", "value"), [("7", 7), ("-7", -7), ("+7", 7), ("7.0", "7.0"), ("x", "x"), ("9" * 5000,) * 2]
)
def test_a_word_of_the_command_line_is_a_number_where_it_looks_like_one(word: str, value: Any) -> None:
    assert whole().read(word) == value


def test_none_is_a_value_only_where_it_is_the_default() -> None:
    found = options_of(Sample)
    assert checked(found["size"], None, "size") is None
    with pytest.raises(BadInputError, match="--count: expected a whole number, at least 1, got None"):
        checked(found["count"], None, "--count")


def test_unknown_names_get_near_ones_or_all() -> None:
    check_names(Sample, ["count", "title"], "run")
    with pytest.raises(
        BadInputError, match="run: cont: expected the name of an option, got 'cont'; did you mean 'count'"
    ):
        check_names(Sample, ["cont"], "run")
    with pytest.raises(BadInputError, match="known: title, count, size, table"):
        check_names(Sample, ["zzz"], "")


def test_a_file_is_read_with_hyphens_and_second_names(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('title = "a"\nshort = true\nsize = "auto"\n')
    assert read_toml(Sample, tmp_path / "x.toml", "run") == {"title": "a", "table": True, "size": "auto"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"count = 0", r"x\.toml: count: expected a whole number, at least 1, got 0"),
        (b"cuont = 1", r"x\.toml: cuont: expected an option of run, got 'cuont'; did you mean 'count'"),
        (b"other = 1", r"x\.toml: other: expected an option of run"),
        (b"count = ", r"x\.toml: expected valid TOML"),
        (b"\xff\xfe", r"x\.toml: expected valid TOML"),
        (b"count = " + b"[" * 100_000, r"x\.toml: expected valid TOML"),
    ],
)
def test_a_bad_file_is_named_with_its_key(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(BadInputError, match=words):
        read_toml(Sample, tmp_path / "x.toml", "run")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"none\.toml: expected a TOML file that can be read, got no such file"):
        read_toml(Sample, tmp_path / "none.toml", "run")


def test_validation_keeps_every_option_in_its_form() -> None:
    @dataclass(frozen=True)
    class Two:
        place: Path = option("x", folder(), "Where.")
        ids: str = option("a", names("ids"), "Which.")

        def __post_init__(self) -> None:
            validate(self)

    made = Two(ids=["b", "c"])  # type: ignore[arg-type]
    assert (made.place, made.ids) == (Path("x"), "b,c")
    with pytest.raises(BadInputError, match="ids: expected ids, got 3"):
        Two(ids=3)  # type: ignore[arg-type]
