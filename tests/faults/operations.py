"""Every command that writes, small enough to be run hundreds of times, with what must hold after a fault or a kill."""

import http.server
import io
import shutil
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from measurebench.core.errors import DamageWarning
from measurebench.core.files import is_temporary

__all__ = ["OPERATIONS", "Operation"]

NETS = """
from torch import nn

def small(width=2):
    return nn.Sequential(nn.Conv2d(1, width, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * width, 5))
"""


class Operation(ABC):
    """A command that writes into ``out``; ``inputs`` is a folder of its own for what it reads.

    ``before`` puts an earlier result into ``out``, so that there is something to lose.
    """

    name: ClassVar[str]
    promise: ClassVar[str]
    replaces: ClassVar[bool] = False  # a whole set of files, instead of going on with what is there

    def __init__(self, inputs: Path) -> None:
        self.inputs = inputs
        inputs.mkdir(parents=True, exist_ok=True)
        self.prepare()

    def prepare(self) -> None:  # noqa: B027 - some commands read nothing
        """Make what the command reads."""

    def before(self, out: Path) -> None:  # noqa: B027 - some commands go on with what is there
        """Put an earlier result in place."""

    @abstractmethod
    def do(self, out: Path) -> None:
        """Run the command; it raises what the command line would tell."""

    def state(self, out: Path) -> Any:
        """Return what a user sees in the result; equal states are the same result."""
        return content(out)

    def unsound(self, out: Path) -> str:
        """Return what is wrong with a result after a fault, before the command is run again."""
        return ""

    @cached_property
    def states(self) -> tuple[Any, Any]:
        """The states before and after, without any fault."""
        out = self.inputs / "reference"
        self.before(out)
        before = self.state(out)
        self.do(out)
        return before, self.state(out)


def content(out: Path) -> dict[str, bytes]:
    """Return the files of a folder, without temporary ones."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file()] if out.is_dir() else []
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in files
        if not any(is_temporary(part) for part in (path, *path.parents))
    }


def write_model(folder: Path, *, seed: int = 0) -> Path:
    """Write a small network with its manifest, and return the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nets.py").write_text(NETS)
    namespace: dict[str, Any] = {}
    exec(NETS, namespace)
    torch.manual_seed(seed)
    torch.save(namespace["small"]().state_dict(), folder / "net.pt")
    entry = '[[model]]\nid = "net"\nfile = "net.pt"\narchitecture = "nets.py:small"\nnormalization = "none"\n'
    (folder / "models.toml").write_text(entry)
    return folder / "models.toml"


def write_images(path: Path) -> None:
    """Write ten training and ten test images, 1x8x8, five classes."""
    generator = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = generator.random((10, 1, 8, 8)).astype(np.float32)
        arrays[f"y_{part}"] = np.arange(10) % 5
    np.savez(path, **arrays)


class Run(Operation):
    name = "run"
    promise = "no value is lost or changed, a fault of the disk is no record, and the same command goes on"

    def prepare(self) -> None:
        self.manifest = write_model(self.inputs / "models")
        write_images(self.inputs / "images.npz")

    def do(self, out: Path) -> None:
        from measurebench import run

        options = {"measures": "average_ce", "attacks": "pgd", "pgd_steps": 1, "workers": 1, "batch_size": 10}
        assert run(str(self.manifest), f"arrays:{self.inputs / 'images.npz'}", out, **options).exit_status == 0

    def state(self, out: Path) -> Any:
        from measurebench.store.tables import read_table

        with suppress(ValueError):  # nothing there yet
            return read_table(out).to_csv()
        return None

    def unsound(self, out: Path) -> str:
        from measurebench import read_records

        if not (out / "measurebench.json").is_file():
            return ""
        values = {(record.measure, record.split): record.value for record in read_records(out)}
        wrong = [key for key, value in values.items() if value != self.values[key]]
        return f"records of {wrong}" if wrong else ""

    @cached_property
    def values(self) -> dict[tuple[str, str], float | None]:
        from measurebench import read_records

        assert self.states[1]
        return {(r.measure, r.split): r.value for r in read_records(self.inputs / "reference")}


class Train(Operation):
    name = "train"
    promise = "no checkpoint is torn, and the same command trains on to the same weights"

    def do(self, out: Path) -> None:
        from measurebench.training import trainer
        from measurebench.training.fleet import Source, train_all
        from measurebench.training.grid import expand

        trainer.SAVE_EVERY_SECONDS = 0.0
        settings = {"epochs": 2, "steps": 1, "evaluation_examples": 5, "architecture_kwargs": {"width": 2}}
        runs = expand({"runs": [settings | {"defense": "Standard", "batch_size": 1024}]}, "digits", "grid")
        outcomes = train_all(runs, Source("digits"), out)
        assert [outcome.status in ("finished", "finished before") for outcome in outcomes] == [True]

    def state(self, out: Path) -> Any:
        return {name: file for name, file in content(out).items() if name.endswith((".safetensors", ".csv", ".toml"))}

    def unsound(self, out: Path) -> str:
        torn = [name for name, file in self.state(out).items() if file not in (self.states[1].get(name), None)]
        return ", ".join(name for name in torn if not name.endswith(".csv"))  # curves grow while a run trains


class Analyze(Operation):
    name = "analyze"
    promise = "the files of an analysis are all old or all new"
    replaces = True

    def prepare(self) -> None:
        import pandas as pd

        from measurebench.stats import analyze

        generator = np.random.default_rng(0)
        rows = {name: generator.random(12) for name in ("a", "b", "robust_gap_pgd")}
        tables = [pd.DataFrame(rows), pd.DataFrame(rows | {"a": generator.random(12)})]
        self.analyses = [analyze(table, measures=["a", "b"], bootstrap=20) for table in tables]

    def before(self, out: Path) -> None:
        from measurebench.stats import write_analysis

        write_analysis(self.analyses[0], out)

    def do(self, out: Path) -> None:
        from measurebench.stats import write_analysis

        write_analysis(self.analyses[1], out)


class Report(Operation):
    name = "report"
    promise = "each page is old or new, and the figures are all old or all new"

    def _write(self, out: Path, text: str) -> None:
        from measurebench.reporting.figures import figure_files
        from measurebench.reporting.html.shell import write_text

        class Drawn:
            """Stands for a chart, which takes a second to draw."""

            def __init__(self, number: int) -> None:
                self.id = f"f{number}"

        write_text(out / "index.html", f"<html>{text}</html>")
        kept = figure_files.standalone, figure_files._drawn
        figure_files.standalone, figure_files._drawn = lambda _: {}, lambda *_: f"<svg>{text}</svg>".encode()
        try:
            figure_files.write_figures([Drawn(i) for i in range(3)], out / "figures", ("svg",))
        finally:
            figure_files.standalone, figure_files._drawn = kept

    def before(self, out: Path) -> None:
        self._write(out, "old")

    def do(self, out: Path) -> None:
        self._write(out, "new")

    def unsound(self, out: Path) -> str:
        files = content(out)
        figures = {file for name, file in files.items() if name.startswith("figures")}
        torn = files.get("index.html") not in (b"<html>old</html>", b"<html>new</html>")
        return "the page is torn" if torn else "the figures are mixed" if len(figures) != 1 else ""


class Convert(Operation):
    name = "convert"
    promise = "no manifest entry without its weights, nothing replaced, and the same command goes on"

    def prepare(self) -> None:
        self.manifest = write_model(self.inputs / "models")

    def do(self, out: Path) -> None:
        from measurebench.models.convert import convert_checkpoint
        from measurebench.models.manifest import read_manifest

        if (out / "models.toml").is_file() and read_manifest(out / "models.toml"):
            return  # it was done before the kill, which the command says
        convert_checkpoint(str(self.manifest), out)

    def unsound(self, out: Path) -> str:
        torn = [name for name, file in content(out).items() if file != self.states[1].get(name)]
        lacking = "models.toml" in content(out) and content(out).keys() != self.states[1].keys()
        return f"{torn} torn" if torn else "an entry without its weights" if lacking else ""


class Export(Operation):
    name = "export"
    promise = "the table is old or new"
    replaces = True

    def prepare(self) -> None:
        import pandas as pd

        self.tables = [pd.DataFrame({"model_id": ["a", "b"], "x": [k, k + 0.5]}) for k in (0.0, 1.0)]

    def before(self, out: Path) -> None:
        from measurebench.store.tables import write_table

        write_table(self.tables[0], out / "models.parquet")

    def do(self, out: Path) -> None:
        from measurebench.store.tables import write_table

        write_table(self.tables[1], out / "models.parquet")


def attacked(n: int, seed: int) -> list[Any]:
    """Return attacked images that need no model."""
    from measurebench.gallery.attacked import AttackedImage

    generator = np.random.default_rng(seed)
    words = {"true": "1", "clean_label": "1", "adversarial_label": "2", "target": "", "threat_model": "Linf 1/8"}
    numbers = {"clean_confidence": 0.9, "adversarial_confidence": 0.8, "factor": 5.0, "distance": 0.125}
    pixels = [generator.random((1, 8, 8)).astype(np.float32) for _ in range(3)]
    pictures = dict(zip(("clean", "perturbation", "adversarial"), pixels, strict=True))
    return [AttackedImage(model_id="net", index=i, attack="pgd", **words, **numbers, **pictures) for i in range(n)]


class Attack(Operation):
    name = "attack"
    promise = "the picture is old or new"
    replaces = True

    def before(self, out: Path) -> None:
        from measurebench.gallery import write_picture

        write_picture(attacked(1, 0)[0], out / "picture.png")

    def do(self, out: Path) -> None:
        from measurebench.gallery import write_picture

        write_picture(attacked(1, 1)[0], out / "picture.png")


class Gallery(Operation):
    name = "gallery"
    promise = "list and pictures are all old or all new"
    replaces = True

    def before(self, out: Path) -> None:
        from measurebench.gallery import write_gallery

        write_gallery(attacked(3, 0), out)

    def do(self, out: Path) -> None:
        from measurebench.gallery import write_gallery

        write_gallery(attacked(2, 1), out)


class GalleryBesideOthers(Gallery):
    name = "gallery beside other files"
    promise = "list and pictures are all old or all new, for whoever reads or writes them next"

    def before(self, out: Path) -> None:
        super().before(out)
        (out / "notes").mkdir(exist_ok=True)
        (out / "notes" / "mine.txt").write_text("mine")

    def state(self, out: Path) -> Any:
        from measurebench.core.file_sets import finish_set

        finish_set(out)
        return content(out)


class Download(Operation):
    name = "download"
    promise = "a file in the cache is whole and noted, and the next use goes on"

    def prepare(self) -> None:
        buffer = io.BytesIO()
        torch.save({"weights": torch.arange(100)}, buffer)  # comes in one piece: the same steps each time
        self.body = buffer.getvalue()

    def do(self, out: Path) -> None:
        from measurebench.core.download import Patience, Remote, fetch

        with served(self.body) as address:
            fetch(Remote(address), out / "w.pt", bool, patience=Patience(2.0, 2, 0.0))

    def state(self, out: Path) -> Any:
        return {name: file for name, file in content(out).items() if name in ("w.pt", "w.pt.sha256")}

    def unsound(self, out: Path) -> str:
        file = content(out).get("w.pt")
        if file is not None and file != self.body:
            return "the kept file is not whole"
        return "no hash is noted" if file is not None and "w.pt.sha256" not in content(out) else ""


@contextmanager
def served(body: bytes) -> Iterator[str]:
    """Serve some bytes on this machine meanwhile."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"v1"')
            self._headers_buffer.append(b"\r\n" + body)  # head and body in one piece
            self.flush_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/w.pt"
    finally:
        server.shutdown()
        server.server_close()


OPERATIONS: tuple[type[Operation], ...] = (
    Run,
    Train,
    Analyze,
    Report,
    Convert,
    Export,
    Attack,
    Gallery,
    GalleryBesideOthers,
    Download,
)


def quiet(action: Any) -> Any:
    """Run an action without the warnings about damage that a kill may leave."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)
        return action()


def fresh(out: Path) -> None:
    """Remove the result of an attempt."""
    shutil.rmtree(out, ignore_errors=True)
