"""The device of these tests, and the numerics under which they compare numbers."""

from collections.abc import Iterator

import pytest

from tests.gpu.subjects import DEVICE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "gpu":
            item.add_marker(pytest.mark.gpu)
            if DEVICE is None:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    from measurebench.compute.numerics import numerics

    with numerics("exact"):
        yield


@pytest.fixture
def device() -> str:
    assert DEVICE is not None
    return DEVICE
