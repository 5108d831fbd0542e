"""Fails or kills at the n-th write, fsync, rename or unlink below a folder.

All of the project's writing goes through the functions of ``os`` that are replaced here. A kill is one of a process of
its own, forked for it: nothing that runs at an ordinary exit runs then.
"""

import errno
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["CALLS", "FAILURES", "count_calls", "fails_at", "killed_at"]

CALLS = ("write", "fsync", "replace", "rename", "unlink", "mkdir", "rmdir", "ftruncate", "link")
FAILURES = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
_KILLED = -signal.SIGKILL

Action = Callable[[], object]


class _Steps:
    """Counts the calls that touch files below a folder, and acts before the n-th."""

    def __init__(self, below: Path, n: int, act: Callable[[], None]) -> None:
        self.below, self.n, self.act, self.count = os.fspath(below), n, act, 0

    def step(self, target: Any) -> None:
        """Count one call; ``target`` is a descriptor or a path."""
        try:
            named = isinstance(target, int)
            place = Path(f"/proc/self/fd/{target}").readlink() if named else Path(os.fsdecode(target)).absolute()
        except (OSError, TypeError, ValueError):
            return
        if str(place).startswith(self.below):
            self.count += 1
            if self.count == self.n:
                self.act()


@contextmanager
def _injected(steps: _Steps) -> Iterator[None]:
    """Replace the functions of ``os`` meanwhile; a write at which it stops has written half of its bytes."""
    real = {name: getattr(os, name) for name in CALLS}

    def replaced(name: str) -> Callable[..., Any]:
        def call(target: Any, *rest: Any, **more: Any) -> Any:
            before = steps.count
            try:
                steps.step(target)
            except OSError:
                if name == "write" and steps.count > before:
                    real["write"](target, bytes(rest[0])[: len(rest[0]) // 2])
                raise
            return real[name](target, *rest, **more)

        return call

    for name in CALLS:
        setattr(os, name, replaced(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def count_calls(action: Action, below: Path) -> int:
    """Return how many steps an action takes below a folder when nothing goes wrong, in a process of its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            steps = _Steps(below, 0, lambda: None)
            with _injected(steps):
                action()
            os.write(write, str(steps.count).encode())
        except BaseException:  # noqa: BLE001 - told to the parent by an empty answer
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as answer:
        return int(answer.read())


def fails_at(n: int, number: int, action: Action, below: Path) -> BaseException | None:
    """Run an action of which the n-th step fails with an error of the system; return what it raised."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    try:
        with _injected(_Steps(below, n, fail)):
            action()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - returned
        return error
    return None


def killed_at(n: int, action: Action, below: Path) -> bool:
    """Run an action in a process of its own that is killed at the n-th step; tell whether it came to that."""
    child = os.fork()
    if child == 0:
        try:
            with _injected(_Steps(below, n, lambda: os.kill(os.getpid(), signal.SIGKILL))):
                action()
        except BaseException:  # noqa: BLE001 - the parent sees that it was not killed
            traceback.print_exc()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == _KILLED
