import subprocess
import sys

from measurebench.core.info import FAMILIES, MeasureInfo
from measurebench.core.infos import measure_infos


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
