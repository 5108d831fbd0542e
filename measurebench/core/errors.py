"""Errors for users: each message names what was expected and what came, and each class has an exit status."""

from collections.abc import Iterable

__all__ = ["BadInputError", "DamageWarning", "MeasurebenchError", "ModelError", "near_names"]

_LONGEST = 600  # characters of each of the four parts of a message


class MeasurebenchError(Exception):
    """Base class of errors that are shown to the user as one plain message, without a traceback (exit status 1)."""

    exit_status = 1


class BadInputError(MeasurebenchError, ValueError):
    """Input that cannot be used (exit status 2): ``SUBJECT: expected EXPECTED, got GOT; HINT``.

    Without ``expected`` the message is the subject, a whole sentence.

    >>> print(BadInputError("radius", "a number", "'large'", 'try "8/255"'))
    radius: expected a number, got 'large'; try "8/255"
    """

    exit_status = 2

    def __init__(self, subject: str, expected: str = "", got: str = "", hint: str = "") -> None:
        subject, expected, got, hint = map(_cut, (subject, expected, got, hint))
        self.subject, self.expected, self.got, self.hint = subject, expected, got, hint
        message = subject
        if expected:
            message += f": expected {expected}" + (f", got {got}" if got else "")
        super().__init__(message + (f"; {hint}" if hint else ""))

    # Exceptions are unpickled by calling the class with ``args``, here the one message; workers send errors home.
    def __reduce__(self) -> tuple[type["BadInputError"], tuple[str, str, str, str]]:
        return type(self), (self.subject, self.expected, self.got, self.hint)


def _cut(text: str) -> str:
    """Return a part of a message without its middle where it is long: it may quote what a file holds."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"


class ModelError(MeasurebenchError):
    """A model cannot be loaded or measured; it gets a ``failed`` record, and the other models go on."""


class DamageWarning(UserWarning):
    """Part of a stored file was damaged and is not used; the message names the file and the place."""


def near_names(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Return a hint such as ``did you mean 'path_norm'?``, or an empty string if no known name is near.

    A name that differs only in upper and lower case is the nearest.

    >>> near_names("path_nrom", ["path_norm", "local_lip"])
    "did you mean 'path_norm'?"
    >>> near_names("PGD", ["pgd", "autoattack"])
    "did you mean 'pgd'?"
    """
    import difflib  # here, so that importing the package takes no time

    names = list(known)
    same = [other for other in names if other.casefold() == name.casefold()]
    matches = same[:limit] or difflib.get_close_matches(name, names, n=limit, cutoff=0.6)
    return f"did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""
