import json
import tomllib

import pytest

from measurebench.cli.app import run_command_line
from measurebench.core.infos import measure_infos


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        raise SystemExit(run_command_line(["measures", *arguments]))
    assert end.value.code in (0, None)
    return capsys.readouterr().out


def test_json_lists_every_measure_with_the_promised_fields(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(printed(capsys, "--json"))
    assert [row["id"] for row in rows] == list(measure_infos())
    assert {"id", "family", "unit", "formula", "source", "hypothesis", "cost"} <= set(rows[0])


def test_the_table_names_every_measure(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys)
    assert all(name in text for name in measure_infos())


def test_one_measure_is_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "local_lip")
    info = measure_infos()["local_lip"]
    assert info.formula in text
    assert "local_lip:reference" in text


def test_a_measure_names_its_parameters_as_a_configuration_file_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = [line for line in printed(capsys, "boundary_thickness").splitlines() if line.startswith("  parameters")]
    assert tomllib.loads("\n".join(line.split(maxsplit=1)[1].split(", ")))["beta"] == 0.75


def test_an_unknown_measure_has_a_near_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["measures", "path_nrom"]) == 2
    assert "did you mean 'path_norm'" in capsys.readouterr().err
