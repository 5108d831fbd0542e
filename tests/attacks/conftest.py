import pytest

from tests.attacks.short import shorten_autoattack


@pytest.fixture
def short_autoattack(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_autoattack(monkeypatch)
