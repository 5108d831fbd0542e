"""Downloads files into a cache: resumes broken downloads, checks the whole file, and renames it into place."""

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.core.foreign import for_terminal

__all__ = ["DownloadError", "Patience", "Remote", "fetch", "is_offline", "note_sha256", "noted_sha256"]

_CHUNK = 1 << 18  # small enough for the progress line to move on a slow connection
_NETWORK_ERRORS = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Remote:
    """The address of a file, and the page on which a person can download it in a browser."""

    address: str
    page: str = ""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a silent server, how often to try, and how long to pause between attempts."""

    stall_seconds: float = 30.0
    attempts: int = 5
    pause_seconds: float = 1.0


class DownloadError(MeasurebenchError):
    """A file could not be downloaded; the message says where to get it and where to put it by hand."""


def is_offline() -> bool:
    """Tell whether the environment variable ``MEASUREBENCH_OFFLINE`` forbids downloads; 0, no and false do not."""
    return os.environ.get("MEASUREBENCH_OFFLINE", "").lower() not in ("", "0", "false", "no")


def fetch(
    remote: Remote,
    target: Path,
    check: Callable[[Path], object],
    *,
    md5: str | None = None,
    offline: bool = False,
    patience: Patience | None = None,
) -> Path:
    """Return the path of a file, after downloading it if it is not there. Two processes may call it at once.

    The download goes to ``TARGET.partial``, and a broken one is continued there. The whole file is checked with
    ``md5`` and ``check`` (which raises a MeasurebenchError for a file that is not right), its SHA-256 is noted beside
    it, and it is renamed to ``target``. Raises DownloadError with the address and the path for a download by hand.
    """
    if target.is_file():
        return target
    if offline or is_offline():
        raise DownloadError(
            _by_hand(f"{target.name}: not in the cache, and the network is not to be used", remote, target)
        )
    from filelock import FileLock

    _make_folder(target.parent)
    with FileLock(f"{target}.lock"):
        if not target.is_file():
            _download(remote, target, check, md5, patience or Patience())
    return target


def noted_sha256(target: Path) -> str | None:
    """Return the SHA-256 that was noted when a file was first used, or None."""
    note = _note_of(target)
    return note.read_text().strip() if note.is_file() else None


def note_sha256(target: Path, sha256: str) -> None:
    """Note the SHA-256 of a file beside it, unless there is a note already."""
    note = _note_of(target)
    if not note.is_file():
        partial = note.with_name(f"{note.name}.{os.getpid()}")
        partial.write_text(sha256 + "\n")
        partial.replace(note)


def _note_of(target: Path) -> Path:
    """Return the file that holds the noted hash."""
    return target.with_name(target.name + ".sha256")


def _make_folder(folder: Path) -> None:
    """Make the cache folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(
            f"cache {folder}",
            "a folder that can be written",
            error.strerror or str(error),
            "set MEASUREBENCH_CACHE to another one",
        ) from None


def _download(
    remote: Remote, target: Path, check: Callable[[Path], object], md5: str | None, patience: Patience
) -> None:
    """Download to the partial file in as many attempts as patience allows, then check and rename it."""
    partial = target.with_name(target.name + ".partial")
    reason = "no answer"
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(patience.pause_seconds)
        try:
            whole = _continue(remote.address, partial, patience.stall_seconds)
        except urllib.error.HTTPError as error:
            reason = f"the server answered {error.code} {error.reason}"
            if error.code in (401, 403, 404, 410):  # another attempt would get the same answer
                break
        except _NETWORK_ERRORS as error:
            reason = _reason(error)
        else:
            if whole:
                _accept(remote, partial, target, check, md5)
                return
            reason = f"the connection closed after {_size(partial):,} bytes, before the end that the server named"
    raise DownloadError(_by_hand(f"{target.name}: could not be downloaded: {reason}", remote, target))


def _continue(address: str, partial: Path, stall_seconds: float) -> bool:
    """Append the missing bytes to the partial file; tell whether it is whole."""
    have = _size(partial)
    tag_file = partial.with_name(partial.name + ".tag")
    headers = {"User-Agent": "measurebench"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag_file.is_file():
            headers["If-Range"] = tag_file.read_text().strip()  # the whole file comes anew if it has changed
    request = urllib.request.Request(address, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=stall_seconds)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left of it, or it changed: the check will tell
            return _whole_after_416(error, have, partial)
        raise
    with response:
        goes_on = response.status == 206 and have > 0
        _keep_tag(response, tag_file)
        expected = response.headers.get("Content-Length")
        start = have if goes_on else 0
        with partial.open("ab" if goes_on else "wb") as file:
            shown = _Progress(partial.name.removesuffix(".partial"), start, int(expected) if expected else None)
            received = _copy(response, file.write, shown)
    return expected is None or start + received >= start + int(expected)


def _copy(response: http.client.HTTPResponse, write: Callable[[bytes], object], shown: "_Progress") -> int:
    """Write the response in chunks; return the number of bytes, also where the connection closes early."""
    received = 0
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except http.client.IncompleteRead as error:
            chunk = error.partial
        if not chunk:
            shown.end()
            return received
        write(chunk)
        received += len(chunk)
        shown.show(received)


class _Progress:
    """A line on a terminal that says how far a download is; silent elsewhere."""

    def __init__(self, name: str, start: int, expected: int | None) -> None:
        self.name, self.start = name, start
        self.total = None if expected is None else start + expected
        self.last = 0.0

    def show(self, received: int) -> None:
        """Rewrite the line, at most five times a second."""
        if sys.stderr.isatty() and time.monotonic() - self.last > 0.2:
            self.last = time.monotonic()
            of = f" of {self.total / 1e6:,.0f}" if self.total else ""
            sys.stderr.write(f"\rdownloading {for_terminal(self.name)}: {(self.start + received) / 1e6:,.0f}{of} MB ")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave the line behind."""
        if self.last:
            sys.stderr.write("\n")


def _whole_after_416(error: urllib.error.HTTPError, have: int, partial: Path) -> bool:
    """Tell whether a server that has no more bytes means that the file is whole; otherwise start over."""
    total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
    if total.isdigit() and int(total) == have:
        return True
    partial.unlink(missing_ok=True)
    return False


def _keep_tag(response: http.client.HTTPResponse, tag_file: Path) -> None:
    """Keep the server's tag of this version of the file, so that two versions are never joined."""
    tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
    if tag and not tag.startswith("W/"):  # a weak tag does not promise equal bytes, which joining parts needs
        tag_file.write_text(tag)
    else:
        tag_file.unlink(missing_ok=True)


def _accept(remote: Remote, partial: Path, target: Path, check: Callable[[Path], object], md5: str | None) -> None:
    """Check a whole download and put it in place; one that fails is removed."""
    try:
        if md5:
            _check_md5(partial, md5)
        check(partial)
    except MeasurebenchError as error:
        partial.unlink(missing_ok=True)
        what = str(error).replace(str(partial), target.name)
        raise DownloadError(_by_hand(f"the download of {what}", remote, target)) from None
    note_sha256(target, digest_file(partial))
    partial.with_name(partial.name + ".tag").unlink(missing_ok=True)
    partial.replace(target)


def _check_md5(path: Path, md5: str) -> None:
    """Compare with the published MD5, which detects damage but not malice."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != md5:
        raise BadInputError(str(path), f"the file with MD5 {md5}", digest.hexdigest(), "damaged, or another file")


def _size(path: Path) -> int:
    """Return a file's size, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def _reason(error: BaseException) -> str:
    """Say what a network error was."""
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return "the server stopped sending"
    return str(getattr(error, "reason", error)) or type(error).__name__


def _by_hand(what: str, remote: Remote, target: Path) -> str:
    """Add to a message how a person can help."""
    return f"{what}; open {remote.page or remote.address} in a browser and save the file as {target}"
