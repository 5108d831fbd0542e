"""Ends worker processes with their parent, also where the parent was killed."""

import os
import threading
import time

__all__ = ["end_with"]

_POLL_SECONDS = 0.2


def end_with(parent: int) -> None:
    """End this process, with status 1, as soon as the process ``parent`` that started it is gone."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:  # pragma: no cover - ends the process it runs in
    while os.getppid() == parent:  # an orphan gets another parent
        time.sleep(_POLL_SECONDS)
    os._exit(1)
