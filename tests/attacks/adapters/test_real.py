"""The real libraries, which ``nox -s adapters`` installs: their PGD agrees with ours on the digits zoo."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from measurebench import load_dataset, load_model, read_records
from measurebench.attacks.perform import perform
from measurebench.attacks.protocol import AttackContext
from measurebench.attacks.registry import find_attack
from measurebench.core.threat import ThreatModel

pytestmark = [
    pytest.mark.adapters,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ImportWarning"),
]

MODELS = ("plain-at-10-b64-s0-last", "preact-standard-b64-s0-last", "resnet-trades-10-b64-aug-s0-last")
IMAGES = 200
PGDS = {
    "Linf": ("1/10", "torchattacks:PGD", "foolbox:LinfPGD"),
    "L2": ("1/2", "torchattacks:PGDL2", "foolbox:L2PGD"),
}


def n_robust(reference: str, model: str, threat: ThreatModel) -> int:
    part = load_dataset("digits").test.first(IMAGES)
    network = load_model(f"digits:{model}").network
    context = AttackContext(threat, torch.arange(IMAGES), n_classes=10)
    images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
    found = perform(find_attack(reference), network, images, labels, context)
    assert not found.violations.any()
    return int(found.robust.sum())


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("model", MODELS)
def test_their_pgd_agrees_with_ours_within_one_image_of_200(model: str, norm: str) -> None:
    radius, torchattacks, foolbox = PGDS[norm]
    threat = ThreatModel.parse(norm, radius)
    ours = n_robust("pgd:start=false", model, threat)
    assert 50 < ours < 190  # a number that an attack without an effect, or one without a limit, would not reach
    step = threat.radius / 4
    for theirs in (
        f"{torchattacks}:steps=10,alpha={step},random_start=false",
        f"{foolbox}:steps=10,abs_stepsize={step},random_start=false",
        f"art:ProjectedGradientDescent:max_iter=10,eps_step={step}",
    ):
        assert abs(n_robust(theirs, model, threat) - ours) <= 1, theirs


@pytest.mark.parametrize(
    ("reference", "norm"),
    [
        ("torchattacks:APGD:steps=5", "Linf"),
        ("torchattacks:APGD:steps=5", "L2"),
        ("torchattacks:CW:steps=5", "L2"),
        ("torchattacks:FAB:steps=2", "Linf"),
        ("torchattacks:Square:n_queries=20", "L2"),
        ("torchattacks:MIFGSM", "Linf"),
        ("foolbox:LinfDeepFoolAttack", "Linf"),
        ("foolbox:L2CarliniWagnerAttack:steps=5,binary_search_steps=2", "L2"),
        ("foolbox:LInfFMNAttack:steps=5", "Linf"),
        ("foolbox:VirtualAdversarialAttack:steps=3", "L2"),
        ("art:FastGradientMethod", "Linf"),
        ("art:SquareAttack:max_iter=10", "Linf"),
        ("art:DeepFool:max_iter=3", "L2"),
        ("art:BasicIterativeMethod:max_iter=3", "Linf"),
    ],
)
def test_attacks_of_the_libraries_keep_within_the_radius_and_do_harm(reference: str, norm: str) -> None:
    threat = ThreatModel.parse(norm, "1/5" if norm == "Linf" else "1.5")
    part = load_dataset("digits").test.first(32)
    network = load_model(f"digits:{MODELS[1]}").network
    images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
    context = AttackContext(threat, torch.arange(32), n_classes=10)
    found = perform(find_attack(reference), network, images, labels, context)
    assert not found.violations.any()
    assert int(found.robust.sum()) < int(found.correct.sum())


def test_the_copy_of_robustbench_that_torchattacks_brings_is_not_the_one_that_is_read() -> None:
    from importlib.metadata import version

    from measurebench.models.robustbench.package import model_entries

    assert version("robustbench") == "1.1.1"
    assert "Wang2023Better_WRN-28-10" in model_entries("cifar10", "Linf")


def test_the_command_of_the_guide_runs_as_written(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "attack.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"```sh\nmeasurebench (run [^`]*torchattacks:PGD[^`]*)```", guide)
    words = shlex.split(command.replace("\\\n", " "))
    paths = os.pathsep.join([str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "measurebench", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {(record.measure, record.split): record.value for record in read_records(tmp_path / "others")}
    for name in (
        "torchattacks:PGD:alpha=0.0375,steps=10",
        "foolbox:LinfDeepFoolAttack",
        "art:SquareAttack:max_iter=50",
    ):
        assert 0 < found[f"{name}_accuracy", "test"] < found["clean_accuracy", "test"]
