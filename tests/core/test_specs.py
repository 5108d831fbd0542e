from dataclasses import replace

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.specs import NORMALIZATIONS, ModelSpec, Normalization

SPEC = ModelSpec("model", "local", "/folder/model.pt", file_sha256="ab", architecture="resnet-18")


@pytest.mark.parametrize(
    "change",
    [
        {"file_sha256": "cd"},
        {"weights": ("state_dict",)},
        {"architecture": "resnet-34"},
        {"architecture_kwargs": {"width": 2}},
        {"normalization": Normalization((0.5,), (0.5,))},
    ],
)
def test_all_that_determines_the_function_changes_the_digest(change: dict[str, object]) -> None:
    assert replace(SPEC, **change).digest() != SPEC.digest()  # type: ignore[arg-type]


def test_weights_at_the_start_and_the_user_s_code_change_the_digest() -> None:
    digests = {SPEC.digest(), SPEC.digest(initial_sha256="x"), SPEC.digest(code_sha256="x")}
    assert len(digests) == 3


@pytest.mark.parametrize(
    "change", [{"id": "other"}, {"reference": "x"}, {"defense": "AT"}, {"run": "r"}, {"locator": "/elsewhere/model.pt"}]
)
def test_names_and_settings_do_not_change_the_digest(change: dict[str, object]) -> None:
    assert replace(SPEC, **change).digest() == SPEC.digest()  # type: ignore[arg-type]


def test_a_file_whose_hash_is_not_known_is_told_by_its_place() -> None:
    unknown = replace(SPEC, file_sha256=None)
    assert replace(unknown, locator="/elsewhere/model.pt").digest() != unknown.digest()


def test_named_normalizations_are_the_usual_ones() -> None:
    assert Normalization.named("none") == Normalization()
    assert Normalization.named("cifar10").mean == NORMALIZATIONS["cifar10"][0]
    with pytest.raises(BadInputError, match="normalization: expected none, cifar10, imagenet, .* got 'mnist'"):
        Normalization.named("mnist")


def test_whether_a_normalization_was_stated_is_no_part_of_it() -> None:
    assert Normalization(stated=False) == Normalization()
