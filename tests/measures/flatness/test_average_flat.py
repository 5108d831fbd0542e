import pytest
import torch

from measurebench.attacks.noise import content_keys
from measurebench.measures.api import measure
from measurebench.measures.flatness.average_flat import AverageFlatness
from tests.golden import flatness_reference as reference
from tests.measures.flatness.nets import KINDS, examples, network, relu_pair


def value(item, net, images, labels, **options):
    (found,) = measure(net, images, labels, [item], **options).values()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_average_flatness_agrees_with_the_plain_reference(kind):
    net = network(kind)
    images, labels = examples(net, 5)
    adversarial = (images + 0.05 * torch.cos(37 * images)).clamp(0, 1)
    found = value(AverageFlatness("pgd", n_draws=3), net, images, labels, radius="1/16", adversarial=adversarial)
    expected = reference.average_flat(net, images, adversarial, labels, content_keys(images), 1 / 16, 0.5, 3)
    assert found.value == pytest.approx(expected, rel=1e-8)


def test_average_flatness_survives_rescaling():
    images, labels = (
        torch.rand(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        torch.arange(9) % 4,
    )
    values = [value("average_flat_pgd", relu_pair(c), images, labels).value for c in (1.0, 10.0)]
    assert values[1] == pytest.approx(values[0], rel=1e-10)


def test_no_displacement_means_no_rise_and_more_of_it_a_larger_rise():
    net = network("wide")
    images, labels = examples(net, 10)
    none, some, more = (value(AverageFlatness("pgd", xi=xi), net, images, labels).value for xi in (0.0, 0.5, 2.0))
    assert none == pytest.approx(0, abs=1e-12)  # the same attack from the same start reaches the same images
    assert 0 < some < more


def test_attacking_anew_raises_more_than_clean_loss_alone():
    net = network("wide")
    images, labels = examples(net, 10)
    options = {"radius": "1/8"}
    with_attack = value("average_flat_pgd", net, images, labels, **options)
    stale = value("average_flat", net, images, labels, **options)
    assert with_attack.value != stale.value
    assert with_attack.standard_error > 0


def test_only_the_first_examples_are_read():
    net = network("wide")
    images, labels = examples(net, 12)
    all_of_them = value(AverageFlatness("pgd", n_examples=8), net, images, labels)
    first = value(AverageFlatness("pgd"), net, images[:8], labels[:8])
    assert all_of_them.value == pytest.approx(first.value, rel=1e-12)
    assert all_of_them.n == 8
