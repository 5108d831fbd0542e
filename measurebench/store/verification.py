"""Checks what a results folder stores, line by line and block by block: its checksums, and what it says."""

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from measurebench.core.errors import DamageWarning, MeasurebenchError
from measurebench.core.files import is_temporary
from measurebench.core.records import Record
from measurebench.store.checked_lines import Damage
from measurebench.store.contents import adversarial_fault, block_fault, line_fault, verdict_file_fault
from measurebench.store.cover import snapshot_path
from measurebench.store.examples import is_intact, verdict_path
from measurebench.store.folder import ResultsFolder, model_key
from measurebench.store.journal import Journal, Place
from measurebench.store.record_set import joined
from measurebench.store.run_log import FILE as LOG
from measurebench.store.run_log import left_out
from measurebench.store.run_plan import FILE as PLAN
from measurebench.store.run_plan import read_plan

__all__ = ["Fault", "has_damaged_verdicts", "has_verdicts", "verify_results"]

_DIGEST = 32  # bytes of a SHA-256 at the end of a block
_NO_VERDICTS = "the value is kept; to have the verdicts, measure in a new folder"
_WHAT = {
    "records.jsonl": "the same run command measures again what is missing",
    "models.jsonl": "the same run command loads the model again and makes its entry",
    "configs.jsonl": "the same run command writes the configuration again",
    "environments.jsonl": "the environment is known only where it is recorded again",
    "runs.jsonl": "the command line of an earlier run is lost; no value is",
    "costs.jsonl": "predictions are less good until new blocks are on record; no value is lost",
    "measures.jsonl": "the same run command writes it again",
}


@dataclass(frozen=True)
class Fault:
    """Something that is damaged or missing: the file (and line), what is wrong, and what mends it."""

    place: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}; {self.remedy}"


def verify_results(path: Path) -> list[Fault]:
    """Return what is damaged or missing in a results folder, and what the same command will measure again.

    Nothing is changed. Raises BadInputError where the folder is no results folder.
    """
    folder = ResultsFolder.open(path)
    faults = [fault for journal in folder.journals for fault in _journal_faults(journal)]
    records = _records(folder, faults)
    faults += _catalogue_faults(folder, records)
    faults += _verdict_faults(folder.path, records)
    if (path / PLAN).exists() and read_plan(path) is None:
        faults.append(Fault(str(path / PLAN), "damaged", "the same run command writes it again"))
    return [*faults, *_block_faults(path), *_adversarial_faults(path), *_log_faults(path), *_left_over(path)]


def _block_faults(path: Path) -> Iterator[Fault]:
    """Yield the blocks of examples that attacks will not use."""
    for block in sorted((path / "blocks").rglob("*.block")):
        content = block.read_bytes()
        whole = hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]
        if what := block_fault(content[:-_DIGEST]) if whole else "damaged":
            yield Fault(str(block), what, "the attack searches these examples again if it needs them")


def _adversarial_faults(path: Path) -> Iterator[Fault]:
    """Yield the files of adversarial images that no run will take."""
    for file in sorted((path / "adversarial").rglob("*.npz")):
        if what := adversarial_fault(file) if is_intact(file.read_bytes()) else "damaged":
            yield Fault(str(file), what, "the same run command with --save-adversarial makes it again")


def _log_faults(path: Path) -> list[Fault]:
    """Return the lines of the log that are no events, which the log is shown without."""
    remedy = "`measurebench log` leaves it out; no value is lost"
    return [Fault(f"{path / LOG}, line {number}", "no event of a run", remedy) for number in left_out(path)]


def _left_over(path: Path) -> list[Fault]:
    """Return the temporary files of killed processes, which hold nothing that counts, as faults."""
    found = [child for child in sorted(path.rglob("*")) if is_temporary(child)]
    return [Fault(str(child), "left over from a killed process", "it does no harm; remove it") for child in found]


def _kind(journal: Journal) -> str:
    """Return the kind of a journal's lines; files of processes that shared the folder have longer names."""
    return journal.path.stem.partition("-")[0]


def _remedy(journal: Journal) -> str:
    """Return what mends a journal, by its kind."""
    return _WHAT[f"{_kind(journal)}.jsonl"]


def _journal_faults(journal: Journal) -> list[Fault]:
    """Return damaged lines, lines whose content readers refuse or leave out, and a torn end."""
    remedy, kind = _remedy(journal), _kind(journal)
    faults = []
    for number, line in journal.scan(Place()):
        if isinstance(line, Damage):
            faults.append(Fault(f"{journal.path}, line {number}", f"damaged: {line.reason}", remedy))
        elif what := line_fault(kind, line):
            faults.append(Fault(f"{journal.path}, line {number}", what, f"remove the line; {remedy}"))
    if torn := journal.torn():
        text = f"{len(torn)} bytes without an end of line, of a process that was killed or of damage"
        faults.append(Fault(str(journal.path), text, remedy))
    return faults


def _records(folder: ResultsFolder, faults: list[Fault]) -> list[Record]:
    """Return the records that can be read; add to the faults those that cannot, and snapshots that do not agree."""
    journals = []
    for journal in folder.record_journals:
        found: dict[int, Record] = {}
        for number, line in journal.scan(Place()):
            if isinstance(line, Damage):
                continue
            try:
                found[number] = Record.from_json(line, f"{journal.path}, line {number}")
            except MeasurebenchError as error:
                what = str(error).removeprefix(f"{journal.path}, line {number}: ")
                faults.append(Fault(f"{journal.path}, line {number}", what, f"remove the line; {_remedy(journal)}"))
        if snapshot_path(journal.path).exists() and (what := _disagreement(journal, found)):
            remedy = "it is made again when it is needed; no value is lost"
            faults.append(Fault(str(snapshot_path(journal.path)), what, remedy))
        journals.append(found.values())
    return list(joined(journals).in_order())


def _disagreement(journal: Journal, records: Mapping[int, Record]) -> str:
    """Return in what a snapshot does not agree with the records of its journal by line; empty where it does."""
    from measurebench.store.record_columns import RecordColumns
    from measurebench.store.snapshot import read_snapshot

    if (found := read_snapshot(journal.path)) is None:
        return "the snapshot is damaged or of another state of the journal, and not used"
    table, cover = found
    expected = joined([[record for number, record in records.items() if number <= cover.place.number]])
    pairs = zip_longest(expected.in_order(), RecordColumns(table).in_order())
    return "" if all(a == b for a, b in pairs) else "the snapshot holds other values than the journal"


def _catalogue_faults(folder: ResultsFolder, records: Sequence[Record]) -> list[Fault]:
    """Return models, configurations and environments that records name and that are not there."""
    known = {model_key(entry) for _, entry in folder.models.examine()[0] if not line_fault("models", entry)}
    lost = sorted({record.model_id for record in records if record.model_key not in known and record.measure != "load"})
    faults = [
        Fault(str(folder.models.path), f"no entry of the model {name!r}, which has records", _WHAT["models.jsonl"])
        for name in lost
    ]
    for journal, named in (
        (folder.configs, {record.config_digest for record in records}),
        (folder.environments, {record.environment_digest for record in records}),
    ):
        there = {str(line.get("digest")) for _, line in journal.examine()[0]}
        remedy = _remedy(journal)
        faults += [Fault(str(journal.path), f"no entry {digest!r}", remedy) for digest in sorted(named - there)]
    return faults


def _verdict_faults(path: Path, records: Iterable[Record]) -> list[Fault]:
    """Return damaged verdicts, and accuracies under attack whose verdicts are missing."""
    faults, expected = [], set()
    again = "the same run command measures this accuracy again"
    for record in records:
        if record.status != "measured" or not has_verdicts(record.measure):
            continue
        file = verdict_path(path, record.model_id, record.config_digest, record.split, record.measure)
        expected.add(file)
        if not file.is_file():
            faults.append(Fault(str(file), "missing", _NO_VERDICTS))
    for file in sorted((path / "examples").rglob("*.npz")):
        if not is_intact(file.read_bytes()):
            faults.append(Fault(str(file), "damaged", again if file in expected else "nothing reads it"))
        elif what := verdict_file_fault(file):
            faults.append(Fault(str(file), what, f"remove the file; {_NO_VERDICTS}"))
    return faults


def has_verdicts(measure: str) -> bool:
    """Tell whether a measured value of a measure comes with verdicts for each image.

    >>> has_verdicts("pgd_accuracy"), has_verdicts("clean_accuracy")
    (True, False)
    """
    return measure.endswith("_accuracy") and measure != "clean_accuracy"


def has_damaged_verdicts(path: Path, model_id: str, config_digest: str, measure: str, split: str) -> bool:
    """Tell whether the verdicts for each image of an attack are damaged, with a DamageWarning.

    Verdicts that are missing are not damaged: a folder may be kept without them.
    """
    file = verdict_path(path, model_id, config_digest, split, measure)
    if not file.is_file() or is_intact(file.read_bytes()):
        return False
    warnings.warn(f"{file} is damaged; {measure} is measured again", DamageWarning, stacklevel=2)
    return True
