"""Third-party attacks: what they are given, who they are, and that they can harm nothing."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from measurebench.attacks.perform import attacked, perform
from measurebench.attacks.plugin_loading import load_plugin
from measurebench.attacks.protocol import AttackContext
from measurebench.attacks.registry import find_attack, find_attacks
from measurebench.compute.batching import Batches
from measurebench.core.errors import BadInputError, ModelError
from measurebench.core.threat import ThreatModel
from measurebench.measures.api import measure
from measurebench.measures.robustness.accuracy import AttackAccuracy

HERE = "tests.attacks.test_plugin"
THREAT = ThreatModel.parse("L2", "1/4")
IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)).eval()


LABELS = net()(IMAGES).argmax(1)


def outcome(reference: str, network: nn.Module | None = None, seed: int = 0) -> Any:
    context = AttackContext(THREAT, torch.arange(6), seed, n_classes=4)
    return perform(find_attack(reference), network or net(), IMAGES, LABELS, context)


# ---- attacks that others might write ----------------------------------------------------------------------------


def honest(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return images


def in_place(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    labels.zero_()
    return images.zero_()


def zeros(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return torch.zeros_like(images)


def not_a_number(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return torch.full_like(images, torch.nan)


def partly(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(images[:2]), images[2:]])


def fewer(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return images[1:]


def triple(network: nn.Module, images: Tensor, labels: Tensor) -> Any:
    return images, images, labels


def whole_numbers(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return (255 * images).to(torch.uint8)


def raising(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    raise ZeroDivisionError("by the attack")


def leaving(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    raise SystemExit(0)


def destroying(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    network.train()
    network(images)
    for parameter in network.parameters():
        parameter.data.zero_()
        parameter.grad = torch.ones_like(parameter)
        parameter.requires_grad_(True)
    return images


def drawing(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return (images + 0.01 * torch.randn_like(images) + 0.01 * float(np.random.rand())).clamp(0, 1)


def curious(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: ThreatModel,
    norm: str,
    radius: float,
    seed: int,
    *,
    generator: torch.Generator,
    keys: Tensor,
    n_classes: int,
    split: str,
    share: float = 0.5,
    steps: int = 1,
    loud: bool = False,
) -> Tensor:
    assert (str(threat), norm, radius, seed, n_classes, split) == ("L2 1/4", "L2", 0.25, 7, 4, "test")
    assert keys.tolist() == list(range(6))
    offset = torch.rand(images.shape, generator=generator)
    return images + share * steps * radius * offset / offset.flatten(1).norm(dim=1)[:, None, None, None] * (1 + loud)


def demanding(network: nn.Module, images: Tensor, labels: Tensor, strength: float) -> Tensor:
    return images


def shifted(network: nn.Module, images: Tensor, labels: Tensor, by: float) -> Tensor:
    return images + by


def pgd(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return images


# ---- tests ------------------------------------------------------------------------------------------------------


def test_an_attack_that_writes_into_its_input_changes_nothing_and_is_a_violation() -> None:
    images, labels = IMAGES.clone(), LABELS.clone()
    found = outcome(f"{HERE}:in_place")
    assert torch.equal(IMAGES, images)
    assert torch.equal(LABELS, labels)
    assert bool(found.violations.all())
    assert torch.equal(found.distances, images.double().flatten(1).norm(dim=1))


def test_other_measures_do_not_notice_an_attack_that_writes_into_its_input() -> None:
    measures: list[Any] = ["pgd_accuracy", "average_ce_pgd"]
    alone = measure(net(), IMAGES, LABELS, measures, radius=1 / 16)
    beside = measure(net(), IMAGES, LABELS, [AttackAccuracy(find_attack(f"{HERE}:in_place")), *measures], radius=1 / 16)
    assert {name: beside[name].value for name in measures} == {name: alone[name].value for name in measures}
    assert beside["in_place_accuracy"].status == "undefined"


@pytest.mark.parametrize("name", ["zeros", "not_a_number", "in_place"])
def test_an_attack_whose_images_are_all_invalid_has_no_accuracy_but_a_reason(name: str) -> None:
    value = measure(net(), IMAGES, LABELS, [AttackAccuracy(find_attack(f"{HERE}:{name}"))])[f"{name}_accuracy"]
    assert value.value is None
    assert "no valid adversarial image: 6 of 6" in value.reason
    assert value.diagnostics["n_violations"] == 6


def test_some_invalid_images_never_count_as_successes_and_are_told() -> None:
    value = measure(net(), IMAGES, LABELS, [AttackAccuracy(find_attack(f"{HERE}:partly"))])["partly_accuracy"]
    assert value.value == 1
    assert value.diagnostics["n_violations"] == 2
    assert "2 of 6 adversarial images leave" in str(value.diagnostics["flags"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fewer", r"attack fewer: expected adversarial images of shape \(6, 1, 4, 4\), got \(5, 1, 4, 4\)"),
        ("triple", "attack triple: expected a tensor of adversarial images, got tuple"),
        ("whole_numbers", "attack whole_numbers: expected adversarial images of a floating-point type"),
    ],
)
def test_what_is_no_adversarial_image_is_refused(name: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        outcome(f"{HERE}:{name}")


def test_what_an_attack_raises_is_passed_on_but_the_process_goes_on() -> None:
    with pytest.raises(ZeroDivisionError, match="by the attack"):
        outcome(f"{HERE}:raising")
    with pytest.raises(ModelError, match=r"leaving: expected images, got sys.exit\(0\)"):
        outcome(f"{HERE}:leaving")


def test_a_network_that_an_attack_destroys_is_put_back_and_the_attack_is_flagged() -> None:
    network = net()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = outcome(f"{HERE}:destroying", network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module.training for module in network.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert "changed the network's weights or statistics" in found.flags[0]
    assert bool(found.robust.all())
    assert outcome(f"{HERE}:honest").flags == ()


def test_global_random_numbers_follow_the_seed_and_leave_no_trace() -> None:
    network = net()
    torch.manual_seed(3)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1]
    first, second = outcome(f"{HERE}:drawing", network), outcome(f"{HERE}:drawing", network)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(first.adversarial, second.adversarial)
    assert not torch.equal(first.adversarial, outcome(f"{HERE}:drawing", seed=1).adversarial)


def test_a_function_gets_by_keyword_what_its_signature_names() -> None:
    found = outcome(f"{HERE}:curious", seed=7)
    torch.testing.assert_close(found.distances, torch.full((6,), 0.125, dtype=torch.float64))
    again = outcome(f"{HERE}:curious:share=0.25", seed=7)
    torch.testing.assert_close(again.distances, torch.full((6,), 0.0625, dtype=torch.float64))


def test_settings_have_the_type_of_the_default_and_make_an_id_of_their_own() -> None:
    attack = load_plugin(f"{HERE}:curious:steps=2,share=1/8,loud=true")
    assert dict(attack.settings) == {"share": 0.125, "steps": 2, "loud": True}
    assert attack.info.id == "curious:loud=true,share=0.125,steps=2"
    for setting, message in {
        "steps=2.5": "curious: steps: expected a whole number, got '2.5'",
        "stepz=2": r"setting of .*: expected one of: share, steps, loud, got 'stepz'; did you mean 'steps'\?",
        "radius=1": "expected one of: share, steps, loud, got 'radius'",
    }.items():
        with pytest.raises(BadInputError, match=message):
            load_plugin(f"{HERE}:curious:{setting}")


def test_an_argument_that_nobody_gives_is_an_error_before_anything_runs() -> None:
    message = "expected a default or a setting for every other argument of .*demanding, got 'strength' without one"
    with pytest.raises(BadInputError, match=message):
        load_plugin(f"{HERE}:demanding")
    assert dict(load_plugin(f"{HERE}:demanding:strength=2").settings) == {"strength": 2.0}


def test_a_function_called_pgd_never_becomes_the_built_in_attack() -> None:
    attack = find_attack(f"{HERE}:pgd")
    assert attack.info.id == f"{HERE}:pgd"
    assert attack.info.examples is None
    ids = [found.info.id for found in find_attacks([f"{HERE}:pgd", "pgd"])]
    assert ids == [f"{HERE}:pgd", "pgd"]


def test_two_functions_of_one_name_have_two_ids(tmp_path: Path) -> None:
    path = tmp_path / "other.py"
    path.write_text("def honest(network, images, labels):\n    return images\n")
    alone = find_attacks([f"{path}:honest"])
    both = find_attacks([f"{path}:honest", f"{HERE}:honest"])
    assert [attack.info.id for attack in alone] == ["honest"]
    assert [attack.info.id for attack in both] == ["other.py:honest", f"{HERE}:honest"]


def test_another_code_is_another_version_and_the_same_code_the_same(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    versions = []
    for body in ("images", "images + 0", "images"):
        path.write_text(f"def attack(network, images, labels):\n    return {body}\n")
        versions.append(load_plugin(f"{path}:attack").info.version)
    assert versions[0] == versions[2]
    assert versions[0] != versions[1]


def test_a_file_finds_the_modules_beside_it_and_a_module_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_it_for_a_test.py").write_text("def attack(network, images, labels):\n    return images\n")
    (tmp_path / "main.py").write_text("from beside_it_for_a_test import attack\n")
    first = load_plugin(f"{tmp_path / 'main.py'}:attack")
    monkeypatch.chdir(tmp_path)
    assert load_plugin("beside_it_for_a_test:attack").name == "attack"
    # The digest is that of the file with the code and of the file that was named.
    (tmp_path / "main.py").write_text("from beside_it_for_a_test import attack  # again\n")
    assert load_plugin(f"{tmp_path / 'main.py'}:attack").code != first.code


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such_module:attack", "expected a module that can be imported as 'no_such_module'"),
        (f"{HERE}:no_such_function", f"expected a function 'no_such_function' .* in '{HERE}', got no such name"),
        (f"{HERE}:raisin", "got no such name; did you mean 'raising'"),
        ("pgd:steps", "settings of pgd: expected name=value, separated by commas, got 'steps'"),
        ("PGD", "did you mean 'pgd'"),
        ("none", "none stands alone"),
        ("mine.py", "name the function, as mine.py:FUNCTION"),
        ("torch.nn:Linear", "expected a function 'Linear' .* got a class"),
        ("no/such/file.py:attack", "expected the file .*no/such/file.py, got no such file"),
    ],
)
def test_a_reference_to_nothing_is_an_error_that_says_what_was_expected(reference: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        find_attack(reference)


def test_a_file_that_does_not_import_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(BadInputError, match="to import, got ZeroDivisionError"):
        find_attack(f"{tmp_path / 'broken.py'}:attack")


def test_a_callable_object_and_a_partial_function_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.attacks.test_plugin as here

    class Object:
        def __call__(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            return images

    monkeypatch.setattr(here, "an_object", Object(), raising=False)
    monkeypatch.setattr(here, "part", partial(shifted, by=0.0), raising=False)
    assert bool(outcome(f"{HERE}:an_object").robust.all())
    assert bool(outcome(f"{HERE}:part").robust.all())
    assert bool(outcome(f"{HERE}:part:by=9").violations.all())


def test_batches_are_separate_calls_in_order() -> None:
    context = AttackContext(THREAT, torch.arange(6), n_classes=4)
    found = attacked(find_attack(f"{HERE}:partly"), net(), IMAGES, LABELS, context, Batches(3))
    assert [bool(image.any()) for image in found.adversarial] == [False, False, True, False, False, True]
