"""The pretended GPU as a fixture."""

from collections.abc import Iterator

import pytest

from tests.pretended import pretended_gpu


@pytest.fixture
def gpu() -> Iterator[None]:
    """Let ``cuda`` mean the pretended GPU in this test."""
    with pretended_gpu():
        yield
