import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.info import FAMILIES, MeasureInfo
from measurebench.core.infos import info_from_json, measure_infos


def test_the_list_is_read_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from measurebench.core.infos import measure_infos; measure_infos()"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_families_come_in_order_and_ids_are_keys() -> None:
    infos = measure_infos()
    families = [FAMILIES.index(info.family) for info in infos.values()]
    assert families == sorted(families)
    assert all(name == info.id for name, info in infos.items())


def test_a_variant_is_another_id() -> None:
    info = measure_infos()["local_lip"]
    assert info.as_variant("definition") is info
    assert info.as_variant("reference").id == "local_lip:reference"
    assert isinstance(info.properties, tuple)
    assert isinstance(info, MeasureInfo)


def test_an_info_survives_json() -> None:
    info = measure_infos()["local_lip"]
    assert info_from_json(json.loads(json.dumps(asdict(info))), "here") == info


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "here: expected the fields of a measure, got 'colour' besides"),
        ({"id": None}, "missing 1 required positional argument: 'id'"),
        ({"family": "smells"}, "expected a family among weights, .* got 'smells' and 'core'"),
        ({"tier": "best"}, "a tier among accuracy, .* got 'smoothness' and 'best'"),
    ],
)
def test_an_info_that_is_none_is_refused_in_words(change: dict[str, str | None], message: str) -> None:
    row = asdict(measure_infos()["local_lip"]) | change
    with pytest.raises(BadInputError, match=message):
        info_from_json({key: value for key, value in row.items() if value is not None}, "here")
