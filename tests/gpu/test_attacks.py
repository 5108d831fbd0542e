"""Attacks find on the GPU what they find on the CPU, and the engine in any number of slots."""

from typing import Any

import pytest
import torch

from measurebench.attacks.perform import perform
from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import AttackContext
from measurebench.attacks.standard.engine import standard_attack
from measurebench.attacks.standard.settings import StandardSettings
from measurebench.checks.masking import robustness_lines
from measurebench.checks.results import Effort
from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext, MeasureSettings
from tests.gpu.subjects import MODEL, digits, digits_network
from tests.pretended.subjects import short_autoattack

N = 40
THREATS = {"Linf": ThreatModel.parse("Linf", "3/20"), "L2": ThreatModel.parse("L2", "4/5")}


@pytest.mark.parametrize("norm", THREATS)
def test_pgd_finds_the_same_images(device: str, norm: str) -> None:
    def outcome(place: str) -> Any:
        images, labels = digits(N, place, torch.float64)
        context = AttackContext(THREATS[norm], torch.arange(N, device=place))
        return perform(PGD(), digits_network(place, torch.float64), images, labels, context)

    plain, there = outcome("cpu"), outcome(device)
    assert torch.allclose(there.adversarial.cpu(), plain.adversarial, rtol=0, atol=1e-9)
    assert torch.equal(there.robust.cpu(), plain.robust)
    assert not there.violations.any()


def verdicts(place: str, norm: str, dtype: torch.dtype, slots: int | None, search: Any = "folded") -> torch.Tensor:
    images, labels = digits(N, place, dtype)
    found = standard_attack(
        digits_network(place, dtype),
        images,
        labels,
        THREATS[norm],
        keys=torch.arange(N, device=place),
        seed=0,
        n_classes=10,
        settings=StandardSettings(apgd_steps=10, fab_steps=5, square_queries=100, targets=3, slots=slots),
        search=search,
    )
    return found.robust.cpu()


@pytest.mark.parametrize("norm", THREATS)
def test_the_engine_finds_the_same_verdicts_in_any_number_of_slots(device: str, norm: str) -> None:
    plain = verdicts("cpu", norm, torch.float64, None)
    assert 0 < int(plain.sum()) < N
    for slots in (None, 7):
        assert torch.equal(verdicts(device, norm, torch.float64, slots), plain)


def test_a_search_in_16_bits_is_judged_in_32(device: str) -> None:
    plain, fast = (verdicts(device, "Linf", torch.float32, None, search) for search in ("reference", "fast"))
    assert int((plain != fast).sum()) <= 2


def test_a_fast_run_finds_about_what_an_exact_one_finds_and_says_how_it_searched(device: str) -> None:
    images, labels = digits(N, device)
    contexts = [
        MeasureContext(digits_network(device), images, labels, MeasureSettings(THREATS["Linf"], precision=precision))
        for precision in ("exact", "fast")
    ]
    exact, fast = (context.outcome("pgd") for context in contexts)
    assert int((exact.robust != fast.robust).sum()) <= 2
    assert torch.equal(contexts[0].clean_logits, contexts[1].clean_logits)
    if torch.device(device).type == "cuda":
        assert fast.search == "bfloat16 layers, float32 head"


def test_hints_at_gradient_masking_are_the_same(device: str) -> None:
    def lines(place: str) -> list[Any]:
        network = digits_network(place)
        images, labels = digits(N, place)
        right = network(images).argmax(1) == labels
        with short_autoattack():
            effort = Effort(10, 16, True, place)
            return robustness_lines(network, images[right], labels[right], THREATS["Linf"], 10, effort)

    plain, there = lines("cpu"), lines(device)
    assert [(line.verdict, line.subject) for line in there] == [(line.verdict, line.subject) for line in plain]
    assert len(plain) > 2


def test_the_gallery_shows_the_same_images(device: str) -> None:
    from dataclasses import replace

    from measurebench.gallery import attack_images, dataset_subjects
    from measurebench.models import load_model

    loaded = load_model(MODEL)
    subjects = dataset_subjects(loaded, count=4, dataset="digits")
    plain = attack_images(loaded, subjects)
    there = attack_images(replace(loaded, network=digits_network(device)), subjects)
    for a, b in zip(plain, there, strict=True):
        assert (a.clean_label, a.adversarial_label) == (b.clean_label, b.adversarial_label)
        assert a.adversarial_confidence == pytest.approx(b.adversarial_confidence, abs=1e-2)
