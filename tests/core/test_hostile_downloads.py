"""Servers that send what is not the file: nothing of it may be kept as good."""

import hashlib
import http.server
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from measurebench.core.download import DownloadError, Patience, Remote, fetch, kept_damage, noted_sha256
from measurebench.core.errors import BadInputError, DamageWarning
from measurebench.core.machine_faults import MachineError
from measurebench.core.whole_files import damage_of, shows_its_end

QUICK = Patience(stall_seconds=1.0, attempts=4, pause_seconds=0.0)


def weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(40, 50, generator=generator) for name in ("a.weight", "b.weight")}


def files(seed: int) -> dict[str, bytes]:
    """Return the same weights in every format that tells its end."""
    from safetensors.torch import save

    new, old = io.BytesIO(), io.BytesIO()
    torch.save(weights(seed), new)
    torch.save(weights(seed), old, _use_new_zipfile_serialization=False)
    return {"zip": new.getvalue(), "legacy": old.getvalue(), "safetensors": save(weights(seed))}


FILES, OTHERS = files(0), files(1)
FORMATS = sorted(FILES)


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behave: Callable[["Server", int], None]
    count = 0

    def do_GET(self) -> None:
        type(self).count += 1
        type(self).behave(self, self.count)

    @property
    def start(self) -> int:
        return int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])

    def send(self, status: int, body: bytes, close: bool = False, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = close or "Content_Length" not in headers

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Server, int], None]], str]]:
    class Fresh(Server):
        pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()

    def start(behave: Callable[[Server, int], None]) -> str:
        Fresh.behave, Fresh.count = behave, 0
        return f"http://127.0.0.1:{server.server_port}/file"

    yield start
    server.shutdown()
    server.server_close()
    thread.join()


Behaviour = Callable[[Server, int, bytes, bytes], None]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(function: Behaviour) -> Behaviour:
    BEHAVIOURS[function.__name__] = function
    return function


def half(server: Server, content: bytes, tag: str | None = '"v1"') -> None:
    server.send(200, content[: len(content) // 2], close=True, Content_Length=len(content), ETag=tag)


def ranged(content: bytes, start: int, end: int | None = None, total: int | None = None) -> dict[str, object]:
    end = len(content) if end is None else end
    return {"Content_Range": f"bytes {start}-{end - 1}/{total or len(content)}", "Content_Length": end - start}


@behaviour
def chunked_cut_in_a_chunk(server: Server, count: int, content: bytes, other: bytes) -> None:
    piece = content[: len(content) // 2]
    server.send(200, b"%x\r\n" % len(content) + piece, close=True, Transfer_Encoding="chunked")


@behaviour
def chunked_cut_between_chunks(server: Server, count: int, content: bytes, other: bytes) -> None:
    piece = content[: len(content) // 2]
    server.send(200, b"%x\r\n" % len(piece) + piece + b"\r\n", close=True, Transfer_Encoding="chunked")


@behaviour
def chunked_cut_in_a_size(server: Server, count: int, content: bytes, other: bytes) -> None:
    piece = content[: len(content) // 2]
    server.send(200, b"%x\r\n" % len(piece) + piece + b"\r\n1", close=True, Transfer_Encoding="chunked")


@behaviour
def chunked_that_lies(server: Server, count: int, content: bytes, other: bytes) -> None:
    piece = content[: len(content) // 2]
    server.send(200, b"%x\r\n" % len(piece) + piece + b"\r\n0\r\n\r\n", close=True, Transfer_Encoding="chunked")


@behaviour
def no_length_and_cut(server: Server, count: int, content: bytes, other: bytes) -> None:
    server.send(200, content[:-1], close=True)


@behaviour
def length_that_is_no_number(server: Server, count: int, content: bytes, other: bytes) -> None:
    server.send(200, content[:-7], close=True, Content_Length="abc")


@behaviour
def length_that_is_negative(server: Server, count: int, content: bytes, other: bytes) -> None:
    server.send(200, content[:-7], close=True, Content_Length=-5)


@behaviour
def shorter_length(server: Server, count: int, content: bytes, other: bytes) -> None:
    server.send(200, content[:-100], Content_Length=len(content) - 100)


@behaviour
def part_from_the_wrong_start(server: Server, count: int, content: bytes, other: bytes) -> None:
    if count == 1:
        half(server, content)
    else:
        start = max(0, server.start - 10)
        server.send(206, content[start:], ETag='"v1"', **ranged(content, start))


@behaviour
def part_that_claims_the_right_start(server: Server, count: int, content: bytes, other: bytes) -> None:
    if count == 1:
        half(server, content)
    else:
        start = server.start
        server.send(206, content[start - 10 : -10], ETag='"v1"', **ranged(content, start))


@behaviour
def shorter_parts(server: Server, count: int, content: bytes, other: bytes) -> None:
    if count == 1:
        half(server, content)
    else:
        start, end = server.start, min(server.start + 1000, len(content))
        server.send(206, content[start:end], ETag='"v1"', **ranged(content, start, end))


@behaviour
def part_without_a_range(server: Server, count: int, content: bytes, other: bytes) -> None:
    if count == 1:
        half(server, content)
    else:
        body = content[server.start :]
        server.send(206, body, ETag='"v1"', Content_Length=len(body))


@behaviour
def part_that_nobody_asked_for(server: Server, count: int, content: bytes, other: bytes) -> None:
    server.send(206, content[10:], ETag='"v1"', **ranged(content, 10))


@behaviour
def total_that_changes(server: Server, count: int, content: bytes, other: bytes) -> None:
    if count == 1:
        half(server, content)
    else:
        start = server.start
        server.send(
            206, content[start:-10], ETag='"v1"', **ranged(content, start, len(content) - 10, len(content) - 10)
        )


@behaviour
def refusal_that_names_the_part_s_own_size(server: Server, count: int, content: bytes, other: bytes) -> None:
    if server.start:
        server.send(416, b"", Content_Length=0, Content_Range=f"bytes */{server.start}", ETag='"v1"')
    else:
        half(server, content)


@behaviour
def changed_without_a_tag(server: Server, count: int, content: bytes, other: bytes) -> None:
    if count == 1:
        half(server, content, tag=None)
    elif server.start:
        server.send(206, other[server.start :], **ranged(other, server.start))
    else:
        half(server, content, tag=None)


@behaviour
def changed_with_a_weak_tag(server: Server, count: int, content: bytes, other: bytes) -> None:
    if count == 1:
        half(server, content, tag='W/"v1"')
    elif server.start:
        server.send(206, other[server.start :], ETag='W/"v1"', **ranged(other, server.start))
    else:
        half(server, content, tag='W/"v1"')


@behaviour
def changed_and_the_condition_ignored(server: Server, count: int, content: bytes, other: bytes) -> None:
    if count == 1:
        half(server, content)
    elif server.start:
        server.send(206, other[server.start :], ETag='"v2"', **ranged(other, server.start))
    else:
        half(server, content)


@behaviour
def changed_and_the_part_has_no_tag(server: Server, count: int, content: bytes, other: bytes) -> None:
    if count == 1:
        half(server, content)
    elif server.start:
        server.send(206, other[server.start :], **ranged(other, server.start))
    else:
        half(server, content)


@behaviour
def encoded_without_being_asked(server: Server, count: int, content: bytes, other: bytes) -> None:
    import gzip

    body = gzip.compress(content)
    server.send(200, body, Content_Length=len(body), Content_Encoding="gzip")


@behaviour
def nothing(server: Server, count: int, content: bytes, other: bytes) -> None:
    server.send(200, b"", Content_Length=0)


@behaviour
def no_content(server: Server, count: int, content: bytes, other: bytes) -> None:
    server.send(204, b"")


@behaviour
def garbage_for_a_status_line(server: Server, count: int, content: bytes, other: bytes) -> None:
    server.wfile.write(b"HTTP/9.9 abc\r\n\r\n")
    server.close_connection = True


def check(path: Path) -> None:
    """Accept any file that has a byte, as a careless caller does."""
    if path.stat().st_size == 0:
        raise BadInputError(str(path), "a file", "an empty one")


# A server that lies about the bytes under a strong tag: only a checksum inside the file can tell.
LIES = {"part_that_claims_the_right_start"}
CASES = [(name, kind) for name in sorted(BEHAVIOURS) for kind in FORMATS if name not in LIES or kind == "zip"]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_no_hostile_server_leaves_a_file_that_is_not_the_right_one(
    name: str, kind: str, serve: Callable, tmp_path: Path
) -> None:
    content, other, target = FILES[kind], OTHERS[kind], tmp_path / "weights"
    address = serve(lambda server, count: BEHAVIOURS[name](server, count, content, other))
    patience = Patience(1.0, 100, 0.0) if name == "shorter_parts" else QUICK
    refused = ""
    try:
        fetch(Remote(address), target, check, patience=patience)
    except DownloadError as error:
        refused = str(error)
    assert bool(refused) != target.exists()
    assert "open http" in refused or target.read_bytes() == content
    assert noted_sha256(target) == (None if refused else hashlib.sha256(content).hexdigest())
    assert refused or name not in ("nothing", "no_length_and_cut", "shorter_length")
    # Whatever happened: a later attempt with an honest server gives the file.
    address = serve(lambda server, _: server.send(200, content, Content_Length=len(content), ETag='"v1"'))
    assert fetch(Remote(address), target, check, patience=QUICK).read_bytes() == content


def test_the_attempts_cover_every_fault_that_was_found() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("how", ["length_that_is_no_number", "no_length", "chunked"])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_file_is_taken_however_its_length_is_told(how: str, kind: str, serve: Callable, tmp_path: Path) -> None:
    content = FILES[kind]
    answers = {
        "length_that_is_no_number": lambda server, _: server.send(200, content, close=True, Content_Length="abc"),
        "no_length": lambda server, _: server.send(200, content, close=True),
        "chunked": lambda server, _: server.send(
            200, b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n", close=True, Transfer_Encoding="chunked"
        ),
    }
    assert fetch(Remote(serve(answers[how])), tmp_path / "w", check, patience=QUICK).read_bytes() == content


def test_a_file_that_shows_no_end_and_has_no_length_is_not_taken(serve: Callable, tmp_path: Path) -> None:
    address = serve(lambda server, _: server.send(200, b"plain text", close=True))
    with pytest.raises(DownloadError, match="expected a length or another sign of the file's end, got none"):
        fetch(Remote(address), tmp_path / "w", check, patience=QUICK)


def test_parts_of_one_version_are_joined(serve: Callable, tmp_path: Path) -> None:
    content, asked = FILES["zip"], []

    def answer(server: Server, count: int) -> None:
        asked.append((server.headers.get("Range"), server.headers.get("If-Range")))
        if count == 1:
            half(server, content)
        else:
            server.send(206, content[server.start :], ETag='"v1"', **ranged(content, server.start))

    fetch(Remote(serve(answer)), tmp_path / "w", check, patience=QUICK)
    assert (tmp_path / "w").read_bytes() == content
    assert asked == [(None, None), (f"bytes={len(content) // 2}-", '"v1"')]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "note flipped"])
def test_a_kept_file_that_is_damaged_is_fetched_again(kind: str, damage: str, serve: Callable, tmp_path: Path) -> None:
    content, target = FILES[kind], tmp_path / "w"
    address = serve(lambda server, _: server.send(200, content, Content_Length=len(content)))
    fetch(Remote(address), target, check, patience=QUICK)
    if damage == "note flipped":
        note = tmp_path / "w.sha256"
        note.write_text(note.read_text().translate(str.maketrans("0123456789", "1234567890")))
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
        target.write_bytes({"flipped": flipped, "cut": content[:-5], "emptied": b""}[damage])
    with pytest.raises(DownloadError, match="not as it was fetched, and the network is not to be used"):
        fetch(Remote(address), target, check, offline=True)
    with pytest.warns(DamageWarning, match="it is fetched again"):
        fetch(Remote(address), target, check, patience=QUICK)
    assert target.read_bytes() == content
    assert kept_damage(target) == ""


def test_a_file_put_there_by_hand_must_be_whole(serve: Callable, tmp_path: Path) -> None:
    content, target = FILES["zip"], tmp_path / "w"
    address = serve(lambda server, _: server.send(200, content, Content_Length=len(content)))
    target.write_bytes(content[:-30])
    with pytest.warns(DamageWarning, match="cut short or damaged"):
        assert fetch(Remote(address), target, check, patience=QUICK).read_bytes() == content
    assert fetch(Remote("http://127.0.0.1:9"), target, check, patience=QUICK) == target


def test_a_full_disk_is_no_fault_of_the_network(
    serve: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = FILES["zip"]
    address = serve(lambda server, _: server.send(200, content, Content_Length=len(content)))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    for name in ("write", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(f"measurebench.core.{'http_transfer' if name == 'write' else 'download'}.os.{name}", full)
            with pytest.raises(MachineError, match="the disk is full"):
                fetch(Remote(address), tmp_path / "w", check, patience=QUICK)
        assert not (tmp_path / "w").exists()
    assert fetch(Remote(address), tmp_path / "w", check, patience=QUICK).read_bytes() == content


def test_a_file_system_without_locks_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    with pytest.raises(BadInputError, match=r"cache .*: expected a folder on a file system that can lock files"):
        fetch(Remote("http://127.0.0.1:9"), tmp_path / "w", check, patience=QUICK)


def test_removing_the_partial_file_does_not_mix_two_downloads(serve: Callable, tmp_path: Path) -> None:
    content = FILES["safetensors"]

    removed: list[bool] = []

    def answer(server: Server, count: int) -> None:
        if not removed:
            removed.append(True)
            (tmp_path / "w.partial").unlink()
        server.send(200, content, Content_Length=len(content))

    with pytest.raises(DownloadError, match="a file that no other process removes"):
        fetch(Remote(serve(answer)), tmp_path / "w", check, patience=QUICK)
    assert not (tmp_path / "w").exists()
    assert fetch(Remote(serve(answer)), tmp_path / "w", check, patience=QUICK).read_bytes() == content


@pytest.mark.parametrize("kind", FORMATS)
def test_every_cut_is_noticed_by_the_file_s_own_structure(kind: str, tmp_path: Path) -> None:
    content, path = FILES[kind], tmp_path / "w"
    path.write_bytes(content)
    assert (damage_of(path), shows_its_end(path)) == ("", True)
    for end in (*range(70, len(content), 211), len(content) - 1):
        path.write_bytes(content[:end])
        assert damage_of(path), end


def test_flipped_weights_in_an_archive_are_noticed(tmp_path: Path) -> None:
    content, path = FILES["zip"], tmp_path / "w"
    place = content.index(weights(0)["a.weight"].numpy().tobytes()) + 500
    path.write_bytes(content[:place] + bytes([content[place] ^ 128]) + content[place + 1 :])
    assert "checksum of" in damage_of(path)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\x80", b"\x80\x02", b"plain text", b"PK\x03\x04", b"\x1f\x8b" + bytes(9)]
)
def test_odd_files_raise_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(content)
    assert isinstance(damage_of(tmp_path / "w"), str)


def test_a_pickle_is_read_without_running_it(tmp_path: Path) -> None:
    import pickle

    class Hostile:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "ran",)

    for protocol in (2, 4):
        (tmp_path / "w").write_bytes(pickle.dumps({"a": Hostile()}, protocol))
        assert damage_of(tmp_path / "w") == ""
        old = io.BytesIO()
        torch.save({"a": Hostile()}, old, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
        (tmp_path / "w").write_bytes(old.getvalue())
        damage_of(tmp_path / "w")
    assert not (tmp_path / "ran").exists()
