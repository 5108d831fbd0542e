import pickle

import pytest

from measurebench.core.errors import BadInputError, MeasurebenchError, ModelError, near_names


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("a whole sentence",), "a whole sentence"),
        (("seed", "a number"), "seed: expected a number"),
        (("seed", "a number", "'x'"), "seed: expected a number, got 'x'"),
        (("seed", "a number", "'x'", "try 0"), "seed: expected a number, got 'x'; try 0"),
        (("seed", "a number", "", "try 0"), "seed: expected a number; try 0"),
    ],
)
def test_a_message_says_what_was_expected_what_came_and_what_to_do(parts: tuple[str, ...], message: str) -> None:
    assert str(BadInputError(*parts)) == message


def test_bad_input_survives_the_way_home_from_a_worker() -> None:
    error = pickle.loads(pickle.dumps(BadInputError("seed", "a number", "'x'", "try 0")))
    assert (error.subject, error.expected, error.got, error.hint) == ("seed", "a number", "'x'", "try 0")
    assert str(error) == "seed: expected a number, got 'x'; try 0"


def test_exit_statuses_tell_bad_input_from_failure() -> None:
    assert (MeasurebenchError.exit_status, ModelError.exit_status, BadInputError.exit_status) == (1, 1, 2)
    assert issubclass(BadInputError, ValueError)


def test_near_names_are_listed_nearest_first_and_none_where_nothing_is_near() -> None:
    assert near_names("path_nrm", ["path_norms", "path_norm", "local_lip"]) == (
        "did you mean 'path_norm' or 'path_norms'?"
    )
    assert near_names("zzz", ["path_norm"]) == ""
    assert near_names("a", ["aa", "ab", "ac"], limit=1).count("'") == 2
