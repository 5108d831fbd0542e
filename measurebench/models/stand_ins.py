"""Inert stand-ins for the classes that a checkpoint names and that are not needed to read its tensors."""

from typing import Any

__all__ = ["HOSTILE_MODULES", "StandIn", "hostile", "stand_ins"]

# Trainers save records, dates and iterators beside the weights; nothing saves a call of these for a good reason.
HOSTILE_MODULES = (
    *("asyncio", "ctypes", "code", "codeop", "commands", "ftplib", "importlib", "multiprocessing", "nt", "os"),
    *("pickle", "pip", "platform", "popen2", "posix", "pty", "runpy", "shutil", "signal", "socket", "subprocess"),
    *("sys", "threading", "urllib", "webbrowser"),
)
_HOSTILE_BUILTINS = (
    *("__import__", "breakpoint", "compile", "delattr", "eval", "exec", "getattr", "globals", "input", "open"),
    "setattr",
)


class StandIn:
    """Stands for an object of an unknown class: takes what the file gives it and does nothing.

    The file may also call it, as it would call the class or function that it names; the call returns a stand-in.
    """

    def __new__(cls, *_arguments: Any, **_named: Any) -> "StandIn":
        """Return a stand-in, whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *_arguments: Any, **_named: Any) -> None: ...

    def __setstate__(self, _state: Any) -> None: ...

    def __repr__(self) -> str:
        return f"<an object of {type(self).__qualname__}, left unread>"


def stand_ins(names: list[str]) -> list[tuple[type[StandIn], str]]:
    """Return a class of its own for each name (``module.class``), with the name, as torch's unpickler takes them.

    Pickles write ``__builtin__`` for the module that Python 3 calls ``builtins``; torch looks for either.

    >>> [(made, name)] = stand_ins(["mair.defenses.rm.RecordManager"])
    >>> made(1, x=2)
    <an object of mair.defenses.rm.RecordManager, left unread>
    """
    both = dict.fromkeys([*names, *(name.replace("__builtin__.", "builtins.", 1) for name in names)])
    return [(type(name.rpartition(".")[2], (StandIn,), {"__qualname__": name}), name) for name in both]


def hostile(names: list[str]) -> bool:
    """Say whether a file names code that only an attack on its reader would call, such as ``posix.system``.

    >>> hostile(["posix.system"]), hostile(["datetime.datetime"])
    (True, False)
    """
    for name in names:
        module, _, last = name.rpartition(".")
        if module.partition(".")[0] in HOSTILE_MODULES:
            return True
        if module in ("builtins", "__builtin__") and last in _HOSTILE_BUILTINS:
            return True
    return False
