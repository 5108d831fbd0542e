"""Lists RobustBench's models from the description of the installed package, without importing it.

The description holds a table for each data set and threat model, with id, paper, clean and robust accuracy,
architecture and venue. What it lacks (family of the defense, objective, data, base network) was collected from the
papers in ``defenses.csv``, where an empty cell means unknown.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from measurebench.core.digests import digest_json
from measurebench.core.errors import BadInputError, near_names
from measurebench.core.packages import description_of, installed_version
from measurebench.core.paths import cache_folder
from measurebench.core.specs import ModelSpec, Setting
from measurebench.core.threat import Norm, ThreatModel

__all__ = ["ZooEntry", "combined_sha256", "entries", "weights_folder", "zoo_specs"]

_HEADINGS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet": "imagenet"}
_THREAT = re.compile(r"(Linf|L2),\s*eps\s*=\s*([0-9./]+)")
_FLAGS = ("awp", "extra_data", "synthetic_data", "pretrained")


@dataclass(frozen=True)
class ZooEntry:
    """One row of RobustBench's table with what ``defenses.csv`` adds; accuracies are fractions."""

    dataset: str
    threat: ThreatModel
    id: str
    paper: str
    link: str
    clean_accuracy: float
    robust_accuracy: float
    architecture: str
    venue: str
    curated: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """What ``run`` takes; of ImageNet it names the data set, since its pictures are read as any folder."""
        place = "imagenet/" if self.dataset == "imagenet" else ""
        return f"robustbench:{place}{self.threat.norm.value}/{self.id}"

    @property
    def model_id(self) -> str:
        """An id that no other entry of the data set has: an L2 entry whose name exists for Linf says its norm."""
        taken = {e.id for e in entries(self.dataset) if e.threat.norm is not self.threat.norm}
        shared = self.threat.norm is Norm.L2 and self.id in taken
        return f"{self.id}-L2" if shared else self.id

    @property
    def defense(self) -> str | None:
        """The family of the defense, where it is known."""
        return self.curated.get("defense") or None

    @property
    def cluster(self) -> str:
        """The paper, or the paper of the network that this one is built on."""
        return self.curated.get("cluster") or self.id.partition("_")[0]

    @property
    def n_parameters(self) -> int | None:
        """Number of parameters of the constructed network (robustbench 1.1.1), where it was counted."""
        text = self.curated.get("n_parameters")
        return int(text) if text else None

    @property
    def weights(self) -> Path:
        """Where its weights lie in the cache (the first of them, of an ensemble)."""
        return weights_folder(self.dataset, self.threat.norm.value) / f"{self.id}.pt"

    @property
    def is_cached(self) -> bool:
        """Tell whether weights are in the cache."""
        return self.weights.is_file() or self.weights.with_name(f"{self.weights.name}_m0.pt").is_file()

    def settings(self) -> dict[str, Setting]:
        """Return the training settings that are known."""
        flags = {name: _flag(self.curated.get(name, "")) for name in _FLAGS}
        return {"objective": self.curated.get("objective") or None, **flags}

    def spec(self) -> ModelSpec:
        """Return the specification by which the model is loaded."""
        return ModelSpec(
            id=self.model_id,
            source="robustbench",
            locator=f"{self.dataset}/{self.threat.norm.value}/{self.id}",
            reference=self.reference,
            dataset=self.dataset,
            threat_model=self.threat,
            architecture=self.architecture,
            defense=self.defense,
            settings=self.settings(),
            cluster=self.cluster,
            expected_clean_accuracy=self.clean_accuracy,
        )


def weights_folder(dataset: str, threat: str) -> Path:
    """Return the cache's folder for weights of one dataset and threat model."""
    return cache_folder() / "robustbench" / dataset / threat


def combined_sha256(hashes: list[str]) -> str:
    """Return one hash for the files of a model: the file's own if there is one file."""
    return hashes[0] if len(hashes) == 1 else digest_json(hashes)


@cache
def entries(dataset: str = "cifar10") -> tuple[ZooEntry, ...]:
    """Return all entries of a dataset (L2 and Linf) that the installed robustbench lists.

    Raises BadInputError for another data set, if robustbench is not installed, or if its description has changed.
    """
    if dataset not in _HEADINGS.values():
        raise BadInputError("RobustBench's dataset", " or ".join(_HEADINGS.values()), repr(dataset))
    found = tuple(_rows(description_of("robustbench"), dataset))
    if not found:
        raise BadInputError(
            "robustbench's description",
            "tables of models",
            "none",
            f"version {installed_version('robustbench')} has another form",
        )
    return found


def _rows(text: str, dataset: str) -> list[ZooEntry]:
    """Read the tables under the heading of a dataset."""
    found: list[ZooEntry] = []
    here, threat = "", None
    curated = _curated() if dataset == "cifar10" else _of_papers()
    for line in text.splitlines():
        if line.startswith("### "):
            here, threat = _HEADINGS.get(line.removeprefix("### ").strip(), ""), None
        elif line.startswith("#"):
            match = _THREAT.search(line)
            threat = ThreatModel.parse(match[1], match[2]) if match else None
        elif here == dataset and threat and line.startswith("| <sub>**"):
            found.append(_entry(line, dataset, threat, curated))
    return found


def _entry(line: str, dataset: str, threat: ThreatModel, curated: Mapping[tuple[str, str], dict[str, str]]) -> ZooEntry:
    """Read one row: its cells are wrapped in HTML and emphasis."""
    cells = [re.sub(r"<[^>]+>", "", cell).strip().strip("*").strip() for cell in line.strip("| \n").split(" | ")]
    if len(cells) != 7:
        raise BadInputError("robustbench's description", "rows of 7 cells", f"{len(cells)} in {line[:60]!r}")
    paper = re.fullmatch(r"\[(.*)\]\((.*)\)", cells[2])
    return ZooEntry(
        dataset=dataset,
        threat=threat,
        id=cells[1],
        paper=paper[1].strip() if paper else cells[2],
        link=paper[2] if paper else "",
        clean_accuracy=_fraction(cells[3]),
        robust_accuracy=_fraction(cells[4]),
        architecture=re.sub(r"\s+", " ", cells[5]),
        venue=cells[6],
        curated=curated.get((threat.norm.value, cells[1])) or curated.get(("", cells[1].partition("_")[0]), {}),
    )


def _fraction(percent: str) -> float:
    """Read "93.68%" as 0.9368."""
    try:
        return round(float(percent.rstrip("%")) / 100, 6)
    except ValueError:
        raise BadInputError("robustbench's description", "an accuracy in percent", repr(percent)) from None


@cache
def _curated() -> dict[tuple[str, str], dict[str, str]]:
    """Read the curated table."""
    with (Path(__file__).parent / "defenses.csv").open(newline="", encoding="utf-8") as file:
        return {(row["threat"], row["id"]): row for row in csv.DictReader(file)}


def _of_papers() -> dict[tuple[str, str], dict[str, str]]:
    """Return what holds for all models of a paper, for datasets whose entries are not curated one by one."""
    rows = _curated().values()
    return {("", row["id"].partition("_")[0]): {key: row[key] for key in ("defense", "objective")} for row in rows}


def _flag(text: str) -> bool | None:
    """Read a cell that is true, false or unknown."""
    return {"true": True, "false": False}.get(text)


def zoo_specs(pattern: str, dataset: str = "cifar10") -> list[ModelSpec]:
    """Return the specifications that ``Linf/ID``, ``ID`` or a pattern with ``*`` names.

    ``imagenet/Linf/ID`` names the data set too, in place of ``dataset``. An id without a norm that both norms have
    means Linf. Raises BadInputError with near names.
    """
    first, _, rest = pattern.partition("/")
    if first in _HEADINGS.values() and rest:
        return zoo_specs(rest, first)
    known = entries(dataset)
    norm, slash, name = pattern.rpartition("/")
    wanted = [e for e in known if not slash or fnmatchcase(e.threat.norm.value.lower(), norm.lower())]
    if slash and not wanted:
        raise BadInputError(f"robustbench:{pattern}", "Linf/ID or L2/ID", repr(norm))
    chosen = [e for e in wanted if fnmatchcase(e.id, name)]
    if not chosen:
        ids = [e.id for e in wanted]
        hint = near_names(name, ids) or "`measurebench models robustbench` lists them"
        raise BadInputError(f"robustbench:{pattern}", f"one of {len(ids)} models", repr(name), hint)
    if not slash and not any(letter in name for letter in "*?["):
        chosen = chosen[:1]
    return [entry.spec() for entry in chosen]
