"""Every measure against its slow, plain reference, on a convolutional, a residual, a pre-activation and a wide net."""

import math
from functools import cache

import pytest
import torch
from torch import nn

from measurebench.attacks.noise import content_keys
from measurebench.measures.outputs import margin_percentile
from measurebench.measures.registry import all_measures
from tests.golden import networks_reference as networks
from tests.golden.measures_reference import Case, reference
from tests.measures.cases import KINDS, THREAT, context, examples, network

N = 12
IDS = [name for name in all_measures() if all_measures()[name].info.family != "flatness"]
# by another route, or not computed by the measure itself
WITH_OWN_REFERENCE = {
    "log_prod_of_fro_bn_folded",
    "log_prod_of_spec_bn_folded",
    "log_prod_of_spec_fft",
    "log_prod_of_spec_zero_padded",
    "path_norm",
    "log_path_norm",
    "path_norm_over_margin",
    "path_norm_over_margin_pgd",
}
# tested in tests/measures/smoothness: the same search as local_lip on the divergence;
# in tests/attacks: AutoAttack and its attacks, image by image against pyautoattack; FGSM and noise in closed form;
# in the tests of their families: measures with closed forms, exact bounds of scipy, or slow loops there
ELSEWHERE = {
    "kl_divergence_tpgd",
    "min_distance",
    "min_distance_median",
    "subspace_margin",
    "hidden_margin",
    "hidden_margin_pgd",
    "augmented_accuracy",
    "mixup_accuracy",
    "certified_radius",
    "estimated_robust_accuracy",
    "apgd_ce_accuracy",
    "apgd_t_accuracy",
    "autoattack_accuracy",
    "autoattack_sampled_accuracy",
    "autoattack_stock_accuracy",
    "fab_t_accuracy",
    "fgsm_accuracy",
    "noise_accuracy",
    "square_accuracy",
}
# Both compute in float64: sums of some thousand products differ by 1e-13. Iterated attacks carry such differences
# along without a flip of sign, since no gradient is that near to zero.
TOLERANCE = 1e-9


@cache
def case_of(kind: str) -> Case:
    net = network(kind)
    images, labels = examples(net, N)
    attacked = (images + 0.05 * torch.sin(37 * images)).clamp(0, 1)
    start = network(kind, seed=5)
    return Case(net, images, labels, attacked, content_keys(images), THREAT, start)


@cache
def context_of(kind: str):
    case = case_of(kind)
    return context(case.net, case.images, case.labels, adversarial=case.attacked, initial=case.start, batch_size=5)


def test_no_measure_is_without_a_reference() -> None:
    case = case_of("wide")
    missing = {name for name in IDS if reference(name, case) is None}
    assert missing == WITH_OWN_REFERENCE | ELSEWHERE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in IDS if name not in WITH_OWN_REFERENCE | ELSEWHERE])
def test_measure_agrees_with_its_plain_definition(name: str, kind: str) -> None:
    expected = reference(name, case_of(kind))
    assert all_measures()[name](context_of(kind)).value == pytest.approx(expected, rel=TOLERANCE, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spectral", [True, False])
def test_folded_norms_agree_with_folding_by_hand(kind: str, spectral: bool) -> None:
    name = f"log_prod_of_{'spec' if spectral else 'fro'}_bn_folded"
    expected = networks.log_product(networks.effective(case_of(kind).net, kind), spectral)
    assert all_measures()[name](context_of(kind)).value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_path_norms_agree_with_the_squared_network_by_hand(kind: str) -> None:
    expected = networks.path_norm(case_of(kind).net, kind)
    here, found = context_of(kind), all_measures()
    assert found["path_norm"](here).value == pytest.approx(expected, rel=1e-10)
    assert found["log_path_norm"](here).value == pytest.approx(math.log(expected), rel=1e-10)
    for suffix, examples_of in (("", "clean"), ("_pgd", "pgd")):
        gamma = margin_percentile(here, examples_of, 10).value
        assert found[f"path_norm_over_margin{suffix}"](here).value == pytest.approx(expected / gamma**2, rel=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("circular", [True, False])
def test_operator_norms_agree_with_dense_matrices(kind: str, circular: bool) -> None:
    name = "log_prod_of_spec_fft" if circular else "log_prod_of_spec_zero_padded"
    expected = networks.operator_product(case_of(kind).net, kind, circular)
    assert all_measures()[name](context_of(kind)).value == pytest.approx(expected, rel=1e-9)


def test_the_reference_of_the_divergence_attack_is_the_search_of_local_lip() -> None:
    # kl_divergence_tpgd shares its search with local_lip, which is compared above; here its start and its objective.
    net = nn.Linear(3, 3).double().requires_grad_(False)
    net.weight.data.zero_()
    here = context(net, torch.rand(4, 3).double(), torch.tensor([0, 1, 2, 0]))
    assert all_measures()["kl_divergence_tpgd"](here).value == 0
