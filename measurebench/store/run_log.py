"""The log of a results folder, ``log.jsonl``: what each run did and when, for people to watch.

It holds no value that is not in the records. Lines are appended without waiting for the disk, so the last ones may be
lost when the power fails, and a log that cannot be written to does not stop a run.
"""

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measurebench.core.files import open_regular
from measurebench.core.records import Record
from measurebench.store.predictions import is_amount, predictions_text

__all__ = ["FILE", "RunLog", "follow_log", "left_out", "log_line", "read_log"]

FILE = "log.jsonl"
_LONGEST = 500  # characters of a reason
_PAUSE = 0.5  # seconds between two looks at a log that is followed


class RunLog:
    """Appends to the log of a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def write(self, event: str, **told: Any) -> None:
        """Append an event. Raises BadInputError where a link or anything else lies in the place of the log."""
        value = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **told}
        line = json.dumps(value).encode() + b"\n"
        with suppress(OSError), open_regular(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
            os.write(file, line)

    @contextmanager
    def run(self, command: Sequence[str], n_models: int) -> Iterator[None]:
        """Append the beginning and the end of a run, and how it ended."""
        start = time.monotonic()
        self.write("begin", command=" ".join(command), models=n_models, host=platform.node(), process=os.getpid())
        how = {"status": "finished"}
        try:
            yield
        except BaseException as error:
            how = {"status": "interrupted" if isinstance(error, KeyboardInterrupt) else "stopped"}
            how |= {"reason": f"{type(error).__name__}: {error}"[:_LONGEST]} if how["status"] == "stopped" else {}
            raise
        finally:
            self.write("end", **how, seconds=round(time.monotonic() - start, 3))

    def record(self, record: Record) -> None:
        """Append that a value was recorded, or why there is none."""
        told: dict[str, Any] = {"model": record.model_id, "measure": record.measure, "split": record.split}
        told |= {"status": record.status, "seconds": round(record.seconds, 3)}
        told |= {"value": record.value} if record.status == "measured" else {"reason": record.reason}
        self.write("record", **told)

    def model(self, entry: Mapping[str, Any]) -> None:
        """Append that a model was loaded, or that it cannot be."""
        failure = {"reason": entry["failure"]} if entry.get("failure") else {}
        self.write("failed model" if failure else "model", model=entry.get("model_id"), **failure)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the events of a folder's log; lines that are no events are left out."""
    path = folder / FILE
    return [event for line in _lines(path) if (event := _event(line))] if path.is_file() else []


def left_out(folder: Path) -> list[int]:
    """Return the numbers, from 1, of the lines of a folder's log that are no events; ``read_log`` leaves them out."""
    path = folder / FILE
    return [n for n, line in enumerate(_lines(path), 1) if not _event(line)] if path.is_file() else []


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("event"), str) else None


def follow_log(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a folder's log as they come, without an end; those that are there come first."""
    path, place = folder / FILE, 0
    while True:
        if path.is_file() and path.stat().st_size > place:
            with path.open("rb") as file:
                file.seek(place)
                whole = file.read().rpartition(b"\n")[0] + b"\n"
            place += len(whole) if whole != b"\n" else 0
            yield from (event for line in whole.splitlines() if (event := _event(line)))
        else:
            time.sleep(_PAUSE)


def log_line(event: Mapping[str, Any]) -> str:
    """Return an event as a line for people, with the time of day where it is read.

    >>> log_line({"event": "record", "model": "a", "measure": "path_norm", "split": "train", "status": "measured",
    ...           "value": 1.25, "seconds": 0.5})
    'record  a: path_norm (train) = 1.25, in 0.5 s'
    """
    kind, of = event["event"], event.get("model")
    words = f"{_clock(event.get('time'))}{kind}"
    if kind == "record":
        value = (
            f" = {_number(event['value'])}"
            if isinstance(event.get("value"), float | int)
            else f" {event.get('status')}"
        )
        why = f": {event['reason']}" if event.get("reason") else ""
        return f"{words}  {of}: {event.get('measure')} ({event.get('split')}){value}{why}, in {event.get('seconds')} s"
    if kind == "predictions" and all(is_amount(event.get(name)) for name in ("n_blocks", "ratio", "factor_90")):
        return f"{words}  {predictions_text(event['n_blocks'], event['ratio'], event['factor_90'])}"
    told = [f"{name}: {value}" for name, value in event.items() if name not in ("event", "time", "model")]
    return "  ".join([words, *([str(of)] if of is not None else []), *([", ".join(told)] if told else [])])


def _number(value: float) -> str:
    """Return a number as it is shown; an integer beyond the range of floats as inf."""
    try:
        return f"{value:.6g}"
    except OverflowError:
        return "inf" if value > 0 else "-inf"


def _clock(text: Any) -> str:
    """Return the date and the time of day of the machine that shows the log, with a space; empty for no time."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S  ")
    except (TypeError, ValueError, OverflowError):
        return ""
