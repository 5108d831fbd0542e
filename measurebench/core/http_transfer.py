"""Brings a file from a web server to the disk, in parts where the connection breaks, and never joins two versions.

A part is continued only where the server named a strong tag for the version that it belongs to (RFC 9110, 8.8.1: equal
strong tags mean equal bytes), the answer has the same tag, and its ``Content-Range`` begins where the part ends.
"""

import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.foreign import for_terminal
from measurebench.core.machine_faults import machine_fault

__all__ = ["NETWORK_ERRORS", "Transfer", "Unfinished"]

_CHUNK = 1 << 18  # small enough for the progress line to move on a slow connection
NETWORK_ERRORS = (OSError, http.client.HTTPException)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Unfinished(Exception):  # noqa: N818 - the answer of one attempt, not an error of the program
    """An attempt that did not bring the file to its end, with the reason; another attempt may."""


@dataclass(frozen=True)
class _Answer:
    """Where the body of an answer belongs in the file, where it ends, and how long the file is; None: not said."""

    start: int
    end: int | None
    total: int | None
    tag: str


class Transfer:
    """A file that is being downloaded: an open descriptor, and a note beside it of the version that it is of."""

    def __init__(self, address: str, name: str, file: int, note: Path) -> None:
        self.address, self.name, self.file, self.note = address, name, file, note
        self.joined = False  # whether the file was put together from several answers
        self.end_is_known = False  # whether the server said where the file ends, and it ended there

    def attempt(self, stall_seconds: float) -> None:
        """Ask once for what is missing, and append it. Raises Unfinished where the file is not whole afterwards.

        Raises the errors of the network (``NETWORK_ERRORS``), MachineError where the disk is full or lost, and
        BadInputError where it cannot be written to.
        """
        tag, total = self._noted()
        have = self._size() if tag else 0
        if have and have == total:
            self.end_is_known = True
            return
        headers = {"User-Agent": "measurebench", "Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": tag}
        try:
            response = urllib.request.urlopen(
                urllib.request.Request(self.address, headers=headers), timeout=stall_seconds
            )
        except urllib.error.HTTPError as error:
            if error.code == 416:  # it may be shorter by now; what it says about its length is no proof
                self.start_over()
                raise Unfinished("the server has no part from there on; it is fetched from the start") from None
            raise
        with response:
            self._take(response, have, tag, total)

    def start_over(self) -> None:
        """Drop what was received. Raises MachineError or BadInputError where the disk refuses."""
        self._change(os.ftruncate, self.file, 0)
        self.note.unlink(missing_ok=True)
        self.joined = self.end_is_known = False

    def _take(self, response: http.client.HTTPResponse, have: int, tag: str, total: int | None) -> None:
        """Write the body of an answer to where it belongs."""
        try:
            answer = _understood(response)
        except Unfinished:
            self.start_over()
            raise
        if response.status == 206 and (wrong := _misfit(answer, have, tag, total)):
            self.start_over()
            raise Unfinished(wrong)
        if answer.start == 0:
            self.start_over()
        self._keep_note(answer)
        self.joined = self.joined or answer.start > 0
        self._copy(response, answer)
        size = self._size()
        if answer.end is not None and size < answer.end:
            raise Unfinished(f"the connection closed after {size:,} bytes, before the end that the server named")
        if answer.total is not None and size < answer.total:
            raise Unfinished(f"the server sent {size:,} of {answer.total:,} bytes")
        self.end_is_known = answer.end is not None or response.headers.get("Transfer-Encoding", "") == "chunked"

    def _copy(self, response: http.client.HTTPResponse, answer: _Answer) -> None:
        """Append the body in chunks. Raises Unfinished where it breaks off."""
        shown = _Progress(self.name, answer)
        try:
            while chunk := response.read1(_CHUNK):
                self._change(self._write, chunk)
                shown.add(len(chunk))
        except http.client.IncompleteRead:  # ``read1`` has returned what came before
            raise Unfinished(f"the connection closed after {self._size():,} bytes, in the middle of a chunk") from None
        finally:
            shown.end()

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(self.file, view) :]

    def _change(self, action: Callable[..., object], *arguments: object) -> None:
        """Do something to the file; a disk that refuses is not the network's fault."""
        try:
            action(*arguments)
        except OSError as error:
            place = self.note.parent
            hint = "set MEASUREBENCH_CACHE to another one"
            fault = machine_fault(error, str(place))
            refusal = BadInputError(f"cache {place}", "a folder that can be written", error.strerror or "", hint)
            raise (fault or refusal) from error

    def _size(self) -> int:
        return os.fstat(self.file).st_size

    def _noted(self) -> tuple[str, int | None]:
        """Return the strong tag and the length of the version that the part is of; an empty tag for none."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            noted = json.loads(self.note.read_text())
            if _is_strong(noted["tag"]) and isinstance(noted["total"], int | None):
                return noted["tag"], noted["total"]
        return "", None

    def _keep_note(self, answer: _Answer) -> None:
        """Note the version of what follows, so that another attempt or process can continue it."""
        if _is_strong(answer.tag):
            text = json.dumps({"tag": answer.tag, "total": answer.total})
            self._change(self.note.write_text, text)
        else:
            self.note.unlink(missing_ok=True)


def _understood(response: http.client.HTTPResponse) -> _Answer:
    """Return what the head of an answer says. Raises Unfinished where it contradicts itself."""
    headers, tag = response.headers, (response.headers.get("ETag") or "").strip()
    if (encoding := headers.get("Content-Encoding", "identity")) != "identity":
        raise Unfinished(f"the server sent the file encoded as {encoding[:40]!r}, which was not asked for")
    length = (headers.get("Content-Length") or "").strip()
    n = int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None
    if headers.get("Transfer-Encoding"):
        n = None  # RFC 9112, 6.3: a length beside a transfer encoding does not count
    if response.status != 206:
        return _Answer(0, n, n, tag)
    found = _RANGE.fullmatch((headers.get("Content-Range") or "").strip())
    if not found:
        raise Unfinished(f"the server sent a part without saying which: {headers.get('Content-Range')!r:.80}")
    start, last, total = (int(number) for number in found.groups())
    if last < start or last >= total or n not in (None, last + 1 - start):
        raise Unfinished(f"the server contradicts itself: {length[:40]} bytes for {found.group()[:80]}")
    return _Answer(start, last + 1, total, tag)


def _misfit(answer: _Answer, have: int, tag: str, total: int | None) -> str:
    """Return why a part does not continue what is there, or an empty string."""
    if not have or answer.start != have:
        return f"the server sent a part from byte {answer.start:,}, and byte {have:,} was asked for"
    if answer.tag != tag:
        return "the file on the server has changed, or the server does not say whether it has"
    if total is not None and answer.total != total:
        return f"the server said {total:,} bytes before, and {answer.total:,} now"
    return ""


def _is_strong(tag: Any) -> bool:
    return isinstance(tag, str) and len(tag) > 2 and tag.startswith('"') and tag.endswith('"') and tag.isprintable()


class _Progress:
    """A line on a terminal that says how far a download is; silent elsewhere."""

    def __init__(self, name: str, answer: _Answer) -> None:
        self.name, self.size, self.total = name, answer.start, answer.total
        self.last = 0.0

    def add(self, n: int) -> None:
        """Rewrite the line, at most five times a second."""
        self.size += n
        if sys.stderr.isatty() and time.monotonic() - self.last > 0.2:
            self.last = time.monotonic()
            of = f" of {self.total / 1e6:,.0f}" if self.total else ""
            sys.stderr.write(f"\rdownloading {for_terminal(self.name)}: {self.size / 1e6:,.0f}{of} MB ")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave the line behind."""
        if self.last:
            sys.stderr.write("\n")
