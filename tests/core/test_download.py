"""Downloads from a server that does everything a server can do wrong."""

import hashlib
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from measurebench.core.download import DownloadError, Patience, Remote, fetch, note_sha256, noted_sha256
from measurebench.core.errors import BadInputError

CONTENT = bytes(range(256)) * 400
QUICK = Patience(stall_seconds=0.5, attempts=3, pause_seconds=0.0)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; the path says what goes wrong."""

    protocol_version = "HTTP/1.1"
    requests: ClassVar[list[tuple[str, str]]] = []
    release: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.requests.append((self.path, wanted))
        count = sum(path == self.path for path, _ in self.requests)
        getattr(self, self.path.strip("/"))(int(wanted[6:-1]) if wanted else 0, count)

    def answer(self, start: int, end: int | None = None, length: int | None = None, status: int = 206) -> None:
        body = CONTENT[start:end]
        self.send_response(status if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start if length is None else length))
        self.send_header("ETag", '"v1"')
        self.end_headers()
        self.wfile.write(body)

    def whole(self, start: int, count: int) -> None:
        self.answer(start)

    def breaks_off(self, start: int, count: int) -> None:
        self.answer(start, start + 40_000)
        self.close_connection = True

    def always_breaks_off(self, start: int, count: int) -> None:
        self.answer(start, start + 10)
        self.close_connection = True

    def stalls(self, start: int, count: int) -> None:
        if count == 1:
            self.answer(0, 30_000)
            self.wfile.flush()
            self.release.wait(5)
            self.close_connection = True
        else:
            self.answer(start)

    def never_answers(self, start: int, count: int) -> None:
        self.release.wait(5)
        self.close_connection = True

    def promises_more(self, start: int, count: int) -> None:
        self.answer(start, length=len(CONTENT) - start + 1000)
        self.close_connection = True

    def promises_less(self, start: int, count: int) -> None:
        self.answer(0, 1000, length=1000)

    def ignores_ranges(self, start: int, count: int) -> None:
        self.answer(0, 50_000 if count == 1 else None)
        self.close_connection = True

    def changes(self, start: int, count: int) -> None:
        # The second version comes whole, since the If-Range of the first no longer holds.
        if count == 1:
            self.answer(0, 50_000)
            self.close_connection = True
        else:
            assert self.headers["If-Range"] == '"v1"'
            self.answer(0)

    def page(self, start: int, count: int) -> None:
        body = b"<html>Quota exceeded</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def missing(self, start: int, count: int) -> None:
        self.send_error(404)

    def overloaded(self, start: int, count: int) -> None:
        if count < 3:
            self.send_error(503)
        else:
            self.answer(start)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def address() -> Iterator[str]:
    Server.requests.clear()
    Server.release.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Server.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def check(path: Path) -> None:
    if path.read_bytes() != CONTENT:
        raise BadInputError(str(path), "the weights", "a web page" if path.stat().st_size < 100 else "something else")


def get(address: str, name: str, folder: Path, **options: object) -> Path:
    remote = Remote(f"{address}/{name}", "https://example.org/page")
    return fetch(remote, folder / "weights.pt", check, patience=QUICK, **options)  # type: ignore[arg-type]


def test_file_is_whole_and_its_hash_is_noted(address: str, tmp_path: Path) -> None:
    path = get(address, "whole", tmp_path / "deep" / "cache")
    assert path.read_bytes() == CONTENT
    assert noted_sha256(path) == hashlib.sha256(CONTENT).hexdigest()
    assert not list(path.parent.glob("*.partial*"))
    get(address, "whole", path.parent)
    assert len(Server.requests) == 1


@pytest.mark.parametrize("name", ["breaks_off", "stalls", "ignores_ranges", "changes", "overloaded"])
def test_trouble_that_passes_is_survived(name: str, address: str, tmp_path: Path) -> None:
    assert get(address, name, tmp_path).read_bytes() == CONTENT


def test_broken_download_goes_on_where_it_stopped(address: str, tmp_path: Path) -> None:
    get(address, "breaks_off", tmp_path)
    assert [wanted for _, wanted in Server.requests] == ["", "bytes=40000-", "bytes=80000-"]


def test_later_attempt_continues_an_earlier_one(address: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError):
        get(address, "always_breaks_off", tmp_path)
    assert (tmp_path / "weights.pt.partial").read_bytes() == CONTENT[:30]
    assert get(address, "whole", tmp_path).read_bytes() == CONTENT
    assert Server.requests[-1] == ("/whole", "bytes=30-")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("page", "got a web page"),
        ("missing", "answered 404"),
        ("promises_more", "before the end that the server named"),
        ("promises_less", "something else"),
        ("always_breaks_off", "before the end"),
        ("never_answers", "stopped sending"),
    ],
)
def test_trouble_that_stays_says_where_to_put_the_file_by_hand(
    name: str, word: str, address: str, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=word) as caught:
        get(address, name, tmp_path)
    assert "open https://example.org/page in a browser" in str(caught.value)
    assert f"save the file as {tmp_path / 'weights.pt'}" in str(caught.value)
    assert not (tmp_path / "weights.pt").exists()


def test_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="refused"):
        get("http://127.0.0.1:9", "whole", tmp_path)


def test_wrong_md5_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="MD5"):
        get(address, "whole", tmp_path, md5="0" * 32)
    assert get(address, "whole", tmp_path, md5=hashlib.md5(CONTENT).hexdigest()).is_file()


def test_offline_names_the_file_and_sends_nothing(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadError, match="network is not to be used"):
        get(address, "whole", tmp_path, offline=True)
    monkeypatch.setenv("MEASUREBENCH_OFFLINE", "1")
    with pytest.raises(DownloadError, match="network is not to be used"):
        get(address, "whole", tmp_path)
    assert Server.requests == []


def test_two_at_once_download_once(address: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: get(address, "whole", tmp_path), range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(Server.requests) == 1


def test_killed_download_is_continued_by_the_next_process(address: str, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from measurebench.core.download import Remote, fetch\n"
        "fetch(Remote(sys.argv[1]), Path(sys.argv[2]), bool)"
    )
    target = tmp_path / "weights.pt"
    process = subprocess.Popen([sys.executable, "-c", code, f"{address}/stalls", str(target)])
    partial = tmp_path / "weights.pt.partial"
    deadline = time.monotonic() + 60
    while not (partial.is_file() and partial.stat().st_size == 30_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    Server.release.set()
    assert not target.exists()
    assert get(address, "stalls", tmp_path).read_bytes() == CONTENT
    assert Server.requests[-1] == ("/stalls", "bytes=30000-")


def test_cache_that_cannot_be_written_is_named(address: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInputError, match="MEASUREBENCH_CACHE"):
        get(address, "whole", tmp_path / "file" / "cache")


def test_first_noted_hash_stays(tmp_path: Path) -> None:
    note_sha256(tmp_path / "x.pt", "a" * 64)
    note_sha256(tmp_path / "x.pt", "b" * 64)
    assert noted_sha256(tmp_path / "x.pt") == "a" * 64
