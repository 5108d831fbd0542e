"""Processes that end with their parent, however it ended."""

import os
import threading
import time

__all__ = ["end_with"]

_POLL_SECONDS = 0.2


def end_with(parent: int) -> None:
    """End this process at once when the process ``parent``, which started it, is gone."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:  # pragma: no cover - ends the process it runs in
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)
