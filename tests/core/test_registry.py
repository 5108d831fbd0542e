import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.origins import Origin
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


def test_a_name_that_is_taken_twice_names_both_origins() -> None:
    registry: Registry[int] = Registry("measure")
    registry.add("a", 1, Origin("measurebench"))
    with pytest.raises(BadInputError, match=r"'a' is registered twice: by measurebench and by other-package 2\.0"):
        registry.add("a", 2, Origin("other-package", "2.0"))
    assert registry["a"] == 1


def test_the_origin_of_an_unknown_name_is_an_error() -> None:
    with pytest.raises(BadInputError, match="expected one of 0 known names, got 'a'"):
        Registry("measure").origin("a")


def test_a_registry_knows_what_it_holds() -> None:
    registry: Registry[Origin] = Registry("origin")
    registry.add("a", item := Origin("measurebench"))
    assert registry.defines(item)
    assert registry.defines(Origin)
    assert registry.defines(item.package)
    assert not registry.defines(Registry)
    assert list(registry.items()) == [("a", item)]
    assert len(registry) == 1


def test_an_unknown_name_among_many_lists_only_the_first() -> None:
    registry: Registry[int] = Registry("number")
    for i in range(30):
        registry.add(f"n{i:02d}", i)
    with pytest.raises(BadInputError, match="known: n00, .*, n19 and 10 more$"):
        registry["something else"]
