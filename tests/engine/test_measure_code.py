from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from measurebench.core.digests import digest_file
from measurebench.core.info import MeasureInfo
from measurebench.core.infos import measure_infos
from measurebench.core.records import Record
from measurebench.engine.measure_code import made_by, origin_entry, origins_of
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import find_measure
from measurebench.measures.value import MeasureValue


@dataclass(frozen=True)
class Mine:
    info: ClassVar[MeasureInfo] = replace(measure_infos()["num_params"], id="mine")

    def __call__(self, context: MeasureContext) -> MeasureValue:
        return MeasureValue(1.0, n=0)


def record(measure: str, **diagnostics: str) -> Record:
    return Record(
        *("model", "digest", measure, 1, "train", "config", "measured", 1.0, None, 0, 0.0, 0, 0, "environment", "now"),
        diagnostics=diagnostics,
    )


def test_only_third_party_measures_name_their_code() -> None:
    assert origin_entry(find_measure("num_params")) == {}
    sha256 = digest_file(Path(__file__))
    assert origin_entry(Mine()) == {"origin": f"test_measure_code.py (SHA-256 {sha256[:16]})", "origin_sha256": sha256}


def test_records_of_other_code_do_not_count_and_all_others_do() -> None:
    now = {key: str(value) for key, value in origin_entry(Mine()).items()}
    fits, built_in, unknown = record("mine", **now, batch_size="8"), record("num_params"), record("of_another_run")
    others = [record("mine"), record("mine", origin="mine 0.1", origin_sha256=now["origin_sha256"])]
    origins = origins_of([Mine(), find_measure("num_params")])
    counted = [made_by(each.measure, each.diagnostics, origins) for each in (fits, built_in, unknown, *others)]
    assert counted == [True, True, True, False, False]


def test_a_built_in_measure_does_not_take_over_the_records_of_a_third_party_one() -> None:
    told = {"origin": "mine 0.1", "origin_sha256": "ab"}
    assert not made_by("num_params", told, origins_of([find_measure("num_params")]))
