"""Errors for users: each message names what was expected and what came, and ends the command with its status."""

import difflib
from collections.abc import Iterable

__all__ = ["BadInputError", "MeasurebenchError", "ModelError", "near_names"]


class MeasurebenchError(Exception):
    """Something went wrong that the user should read about in one plain message (exit status 1)."""

    exit_status = 1


class BadInputError(MeasurebenchError, ValueError):
    """Input that cannot be used (exit status 2): ``SUBJECT: expected EXPECTED, got GOT; HINT``.

    With a subject alone the message is that sentence, for cases in which nothing was expected in particular.
    """

    exit_status = 2

    def __init__(self, subject: str, expected: str = "", got: str = "", hint: str = "") -> None:
        self.subject, self.expected, self.got, self.hint = subject, expected, got, hint
        message = subject
        if expected:
            message += f": expected {expected}" + (f", got {got}" if got else "")
        super().__init__(message + (f"; {hint}" if hint else ""))

    def __reduce__(self) -> tuple[type["BadInputError"], tuple[str, str, str, str]]:
        return type(self), (self.subject, self.expected, self.got, self.hint)


class ModelError(MeasurebenchError):
    """One model cannot be loaded or measured as it should be; the others go on (a ``failed`` record)."""


def near_names(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Return a hint such as ``did you mean 'path_norm'?``, or an empty string when nothing known is near."""
    matches = difflib.get_close_matches(name, list(known), n=limit, cutoff=0.6)
    return f"did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""
