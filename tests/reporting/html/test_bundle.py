from importlib.metadata import version
from pathlib import Path

import pytest

from measurebench.reporting.html import bundle


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Make bundling instant and return what was bundled, one entry each time; the cache lies in ``tmp_path``."""
    made: list[str] = []

    def bundled() -> str:
        made.append("window.vega = 'τ';\n")
        return made[-1]

    monkeypatch.setenv("MEASUREBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bundle, "_bundled", bundled)
    return made


def again() -> str:
    bundle.javascript_bundle.cache_clear()
    return bundle.javascript_bundle()


@pytest.fixture(autouse=True)
def _forget() -> object:
    """Give the tests that follow the real script again."""
    yield
    bundle.javascript_bundle.cache_clear()


def test_a_kept_script_is_not_bundled_again_and_has_the_same_bytes(script: list[str]) -> None:
    assert again() == again() == again() == script[0]
    assert len(script) == 1


def test_the_name_of_the_kept_script_changes_with_what_it_is_made_of(
    script: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bundle.bundle_path()
    assert version("vl-convert-python") in first.name
    monkeypatch.setattr(bundle, "SNIPPET", "window.vegaEmbed = vegaEmbed;")
    assert bundle.bundle_path() != first


@pytest.mark.parametrize("damage", [b"", b"alert(1)", b"0" * 64 + b"\nalert(1)"])
def test_a_damaged_script_is_made_anew(script: list[str], damage: bytes) -> None:
    again()
    path = bundle.bundle_path()
    path.write_bytes(damage)
    assert again() == script[0]
    assert len(script) == 2
    assert again() == script[0]
    assert len(script) == 2


def test_one_changed_byte_is_noticed(script: list[str]) -> None:
    again()
    path = bundle.bundle_path()
    path.write_bytes(path.read_bytes().replace(b"vega", b"Vega"))
    assert again() == script[0]


def test_a_folder_that_cannot_be_written_to_costs_time_only(script: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert again() == again() == script[0]
    assert len(script) == 2


def test_the_real_script_is_safe_inside_a_script_element() -> None:
    content = bundle.javascript_bundle()
    assert "vegaEmbed" in content
    assert "</script" not in content
