"""The circumstances of a value: known, plain, and the same on every call."""

import json
import platform
import sys
from importlib.metadata import version

import pytest
import torch

from measurebench.core.digests import digest_json
from measurebench.engine import environment as module
from measurebench.engine.environment import environment


def test_it_names_versions_processor_and_threads_as_plain_json() -> None:
    found = environment("cpu")
    assert json.loads(json.dumps(found)) == found
    assert found["python"] == sys.version.split()[0]
    assert found["packages"]["torch"] == version("torch")
    assert found["threads"] == torch.get_num_threads()
    assert (found["device"], found["cuda"], found["cudnn"]) == ("cpu", None, None)
    assert found["cpu"]


def test_its_digest_is_the_same_on_every_call_and_changes_with_the_threads() -> None:
    before, threads = digest_json(environment("cpu")), torch.get_num_threads()
    assert digest_json(environment("cpu")) == before
    torch.set_num_threads(threads + 1)
    try:
        assert digest_json(environment("cpu")) != before
    finally:
        torch.set_num_threads(threads)


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGES", ("numpy", "no-such-package"))
    assert environment("cpu")["packages"] == {"numpy": version("numpy"), "no-such-package": None}


def test_the_machine_is_named_by_the_network_unless_it_is_named_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEASUREBENCH_HOST", raising=False)
    assert environment("cpu")["host"] == platform.node()
    monkeypatch.setenv("MEASUREBENCH_HOST", "node-7")
    assert environment("cpu")["host"] == "node-7"
