import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.registry import Registry


def test_unknown_names_get_near_ones() -> None:
    registry: Registry[int] = Registry("measure")
    registry.add("path_norm", 1)
    with pytest.raises(BadInputError, match=r"got 'path_nrm'; did you mean 'path_norm'\?"):
        registry["path_nrm"]


def test_a_name_is_taken_once() -> None:
    registry: Registry[int] = Registry("measure")
    registry.add("a", 1)
    with pytest.raises(ValueError, match="registered twice"):
        registry.add("a", 2)
