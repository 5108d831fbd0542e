import functools
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from measurebench.core.digests import digest_file
from measurebench.core.origins import BUILT_IN, Origin, origin_of
from measurebench.core.registry import Registry


class Mine:
    pass


def function() -> None:
    pass


@pytest.mark.parametrize("thing", [Mine, Mine(), function, functools.partial(functools.partial(function))])
def test_the_module_that_defines_a_thing_decides_on_its_origin(thing: object) -> None:
    assert origin_of(thing) == Origin(file=__file__, sha256=digest_file(Path(__file__)))


def test_our_own_code_is_built_in() -> None:
    assert origin_of(Registry("thing")) is BUILT_IN
    assert str(BUILT_IN) == "measurebench"


def test_an_installed_package_has_its_version_and_the_digest_of_the_defining_file() -> None:
    origin = origin_of(np.linalg.LinAlgError)
    assert (origin.package, origin.version) == ("numpy", version("numpy"))
    file = Path(str(sys.modules[np.linalg.LinAlgError.__module__].__file__))
    assert origin.sha256 == digest_file(file)


def test_code_without_a_file_is_known_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typed_by_hand", ModuleType("typed_by_hand"))
    made = type("Made", (), {"__module__": "typed_by_hand"})
    assert origin_of(made) == Origin(file="typed_by_hand")
    assert str(origin_of(made)) == "typed_by_hand"
