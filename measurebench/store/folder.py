"""A results folder: its files, the version of its format, and who may write to it."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.files import is_temporary, remove_temporaries, write_atomically
from measurebench.core.limits import TEXT_BYTES
from measurebench.core.machine_faults import LostFolderError
from measurebench.core.reading import read_text, reading
from measurebench.core.records import ModelKey, Record
from measurebench.store.catalogue import checked_entry
from measurebench.store.claims import Claims, live_processes, process_name
from measurebench.store.cover import drop_orphans, drop_snapshot
from measurebench.store.joined import JoinedJournal
from measurebench.store.journal import Journal, exclusive, shared
from measurebench.store.record_reader import RecordReader, record_set
from measurebench.store.record_set import RecordSet
from measurebench.store.run_log import RunLog

__all__ = ["CLAIMS", "FORMAT", "ResultsFolder", "model_key", "read_records"]

FORMAT = 1
CLAIMS = "claims"
_MARK = "measurebench.json"
_FOLDERS = ("examples", "blocks", "adversarial", "snapshot")


class ResultsFolder:
    """Records, catalogue and per-example arrays of one study, under ``path``.

    records.jsonl (one line per record), models.jsonl (what was measured, with which configuration), configs.jsonl,
    environments.jsonl, runs.jsonl (command lines), costs.jsonl (predicted and real seconds of blocks), plan.json (what
    the last run was asked for), log.jsonl (what runs did, and when), snapshot/ (copies of long files of records, made
    again when they are missing), examples/ (per-example verdicts), adversarial/ (adversarial images), blocks/ (what
    AutoAttack has done, by blocks of examples). Every line and file with values has a checksum. Processes that share
    the folder have each a ``writer`` name and journals of their own, such as records-WRITER.jsonl, which every reader
    joins.
    """

    def __init__(self, path: Path, writer: str = "") -> None:
        self.path, self.writer = path, writer
        self.claims: Claims | None = None
        self._place: tuple[int, int] | None = None  # device and number of the folder that is locked
        self._records = JoinedJournal(path / "records.jsonl", writer)
        self._readers: dict[Path, RecordReader] = {}
        self._entries: tuple[Any, list[Mapping[str, Any]]] | None = None  # the files' sizes, and what they hold
        self._found: tuple[Any, RecordSet] | None = None  # what the readers had read, and the records
        self.models = JoinedJournal(path / "models.jsonl", writer)
        self.configs = JoinedJournal(path / "configs.jsonl", writer)
        self.environments = JoinedJournal(path / "environments.jsonl", writer)
        self.runs = JoinedJournal(path / "runs.jsonl", writer)
        self.measures = JoinedJournal(path / "measures.jsonl", writer)
        self.costs = JoinedJournal(path / "costs.jsonl", writer)
        self.log = RunLog(path)

    @classmethod
    def open(cls, path: Path) -> "ResultsFolder":
        """Return a folder for reading.

        Raises BadInputError where it is missing, is no results folder, or has another format.
        """
        if not path.is_dir():
            raise BadInputError(str(path), "a results folder", "no such folder" if not path.exists() else "a file")
        mark = path / _MARK
        if not mark.is_file():
            raise BadInputError(str(path), f"a results folder of measurebench (with {_MARK})", "a folder without it")
        with reading(mark, expected := '{"format": ...}'):
            found = json.loads(read_text(mark, TEXT_BYTES, expected))["format"]
        if found != FORMAT:
            raise BadInputError(
                str(path),
                f"results in format {FORMAT}",
                f"format {found}",
                "written by another version of measurebench",
            )
        return cls(path)

    @classmethod
    @contextmanager
    def writing(cls, path: Path, version: str) -> Iterator["ResultsFolder"]:
        """Make a folder, or open one, and lock it against a second writer meanwhile.

        Lines that were damaged are set aside, with a DamageWarning. Raises BadInputError where it cannot be written to,
        holds other files, or another process is writing to it.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            with exclusive(path / "lock", str(path)):
                _refuse_links(path)
                _refuse_sharers(path)
                shutil.rmtree(path / CLAIMS, ignore_errors=True)
                remove_temporaries(path)
                for name in _FOLDERS:
                    remove_temporaries(path / name, inside=True)
                _mark(path, version)
                folder = cls.open(path)
                folder._set_aside()
                for journal in folder._joined:
                    journal.fold()
                drop_orphans(path)
                folder._place = _place(path)
                yield folder
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise BadInputError(str(path), "a folder that can be written to", str(error.strerror)) from error

    @classmethod
    @contextmanager
    def sharing(cls, path: Path, version: str) -> Iterator["ResultsFolder"]:
        """Make a folder, or open one, to write to it beside other processes that share it, also on other machines.

        Each writes to journals of its own and claims the blocks that it measures (``claims``). Raises BadInputError
        where the folder cannot be written to, holds other files, or a process has it for itself.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            with shared(path / "lock", str(path)) as lock:
                _refuse_links(path)
                _mark(path, version)
                cls.open(path)  # refuses another format
                folder = cls(path, process_name())
                folder.claims = Claims(path / CLAIMS, folder.writer)
                folder._place = _place(path)
                try:
                    yield folder
                finally:
                    folder.claims.close()
                    if lock.is_last() and not live_processes(path / CLAIMS):
                        shutil.rmtree(path / CLAIMS, ignore_errors=True)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise BadInputError(str(path), "a folder that can be written to", str(error.strerror)) from error

    def records(self) -> list[Record]:
        """Return the records in order; of several with one key, only the last, in the place of the first."""
        return list(self.records_by_model().in_order())

    def records_by_model(self) -> RecordSet:
        """Return the records by model id, digest of the weights and digest of the configuration.

        Lines that were read before are not read again. Raises BadInputError, which names the line, where one is no
        record.
        """
        readers = [self._reader(journal) for journal in self.record_journals]
        for reader in readers:
            reader.read()
            reader.journal.warn(reader.cover.damages)
        state = [(reader.journal.path, reader.known) for reader in readers]
        if self._found is None or self._found[0] != state:
            self._found = state, record_set(readers)
        return self._found[1]

    def _reader(self, journal: Journal) -> RecordReader:
        return self._readers.setdefault(journal.path, RecordReader(journal))

    def add_record(self, record: Record) -> None:
        """Append a record; when this returns, it is on the disk.

        Raises OSError where the disk refuses, LostFolderError where the folder is no longer the one that was locked.
        """
        self.check_place()
        self._records.append(record.to_json())
        self.log.record(record)
        self._found = None
        self._reader(Journal(self._records.path)).refresh()

    def add_cost(self, cost: Mapping[str, Any]) -> None:
        """Append what a block was predicted to take, and took.

        Raises what ``add_record`` raises.
        """
        self.check_place()
        self.costs.append(cost)

    def add_model(self, entry: Mapping[str, Any]) -> None:
        """Add a model to the catalogue; its entry replaces earlier ones of the same id."""
        self.check_place()
        self.models.append(entry)
        self.log.model(entry)

    def entries(self) -> list[Mapping[str, Any]]:
        """Return all entries of the catalogue in the order in which they were written, each checked.

        Raises BadInputError, which names the entry and the field, for one that is no entry.
        """
        # Files of entries only grow, unless damaged lines are set aside.
        size = [(path.name, path.stat().st_size) for path in sorted(self.path.glob("models*.jsonl"))]
        if self._entries is None or self._entries[0] != size:
            found = enumerate(self.models.read(), 1)
            checked = [checked_entry(entry, f"{self.models.main.path}, entry {n}") for n, entry in found]
            self._entries = size, checked
        return list(self._entries[1])

    def catalogue(self) -> dict[str, dict[str, Any]]:
        """Return the latest entry of each model, sorted by id, since workers finish in any order."""
        latest = {str(entry["model_id"]): dict(entry) for entry in self.entries()}
        return dict(sorted(latest.items()))

    def configurations(self) -> list[dict[str, Any]]:
        """Return the latest entry of each model and configuration, sorted by id, the newest of a model first.

        Entries of other weights than a model's latest ones are superseded.
        """
        latest: dict[tuple[str, str], dict[str, Any]] = {}
        for entry in map(dict, self.entries()):
            key = str(entry["model_id"]), str(entry["config_digest"])
            latest.pop(key, None)  # so that an entry which was added again counts as the newest
            latest[key] = entry
        newest: dict[str, str] = {model: str(entry["model_digest"]) for (model, _), entry in latest.items()}
        kept = [entry for (model, _), entry in reversed(latest.items()) if entry["model_digest"] == newest[model]]
        return sorted(kept, key=lambda entry: str(entry["model_id"]))

    def add_once(self, journal: Journal, digest: str, value: Mapping[str, Any]) -> None:
        """Append a configuration or an environment under its digest, unless the journal has it."""
        if all(line.get("digest") != digest for line in journal.read()):
            self.check_place()
            journal.append({"digest": digest, **value})

    @property
    def journals(self) -> tuple[Journal, ...]:
        """The files of lines, those of the records first; each process that shared the folder has files of its own."""
        return tuple(part for journal in self._joined for part in journal.parts)

    @property
    def record_journals(self) -> tuple[Journal, ...]:
        """The files of records, that of the process which had the folder for itself first."""
        return self._records.parts

    @property
    def _joined(self) -> tuple[JoinedJournal, ...]:
        return (self._records, self.models, self.configs, self.environments, self.runs, self.measures, self.costs)

    def check_place(self) -> None:
        """Return nothing while the folder is the one that was locked.

        Raises LostFolderError where it is gone (a drive that was lost), or another lies in its place: writing there
        would lose what was measured, or mix two runs.
        """
        if self._place is not None and _place(self.path) != self._place:
            advice = "what was measured so far is kept where the folder is now; run the same command again"
            raise LostFolderError(
                f"{self.path}: the folder was removed, replaced or unmounted during the run; {advice}"
            )

    def _set_aside(self) -> None:
        """Move damaged lines out of the journals, so that they are told once and measured again."""
        records = {journal.path for journal in self.record_journals}
        for journal in self.journals:
            if journal.path in records and not self._reader(journal).has_damage():
                continue
            _, damages = journal.examine()
            journal.warn(damages)
            if damages and journal.path in records:
                drop_snapshot(journal.path)
            journal.set_aside(damages)


def _place(path: Path) -> tuple[int, int] | None:
    """Return device and number of a folder, None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def model_key(entry: Mapping[str, Any]) -> ModelKey:
    """Return the key of the records that belong to a catalogue entry."""
    return entry["model_id"], entry.get("model_digest", ""), entry.get("config_digest", "")


def read_records(folder: str | Path) -> list[Record]:
    """Return the records of a results folder; of several with one key, only the last."""
    return ResultsFolder.open(Path(folder)).records()


def _mark(path: Path, version: str) -> None:
    """Mark a new folder as a results folder."""
    if not (path / _MARK).exists():
        _refuse_strangers(path)
        write_atomically(path / _MARK, json.dumps({"format": FORMAT, "version": version}).encode() + b"\n")


def _refuse_links(path: Path) -> None:
    """Refuse a folder in which a link stands for a folder of arrays or claims: files would be written elsewhere."""
    for folder in (path / name for name in (*_FOLDERS[:3], CLAIMS)):
        if folder.is_symlink():
            raise BadInputError(str(folder), "a folder", "a link")
        if folder.is_dir():
            with os.scandir(folder) as entries:
                links = sorted(entry.path for entry in entries if entry.is_symlink())
            if links:
                raise BadInputError(links[0], "a file or a folder", "a link")


def _refuse_sharers(path: Path) -> None:
    """Refuse a folder that processes share, also where its file system does not tell other machines of locks."""
    if names := live_processes(path / CLAIMS):
        raise BadInputError(str(path), "a folder that no other run is writing to", f"one that {names[0]} shares")


def _refuse_strangers(path: Path) -> None:
    """Refuse a folder that holds files of another kind."""
    strangers = sorted(child.name for child in path.iterdir() if child.name != "lock" and not is_temporary(child))
    if strangers and not (path / _MARK).exists():  # another process that shares the folder may just have made it
        raise BadInputError(
            str(path),
            "a results folder or an empty one",
            f"a folder that holds {strangers[0]!r}",
            "choose another --out",
        )
