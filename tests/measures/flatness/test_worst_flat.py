import pytest
import torch

from measurebench.measures.api import measure
from measurebench.measures.flatness.worst_flat import WorstFlatness
from tests.golden import flatness_reference as reference
from tests.measures.flatness.nets import KINDS, examples, linear_fixture, network, relu_pair


def value(item, net, images, labels, **options):
    (found,) = measure(net, images, labels, [item], **options).values()
    return found


def test_a_tiny_ball_gives_the_sum_of_layer_norms_times_gradient_norms():
    # max over ||v_l|| <= xi ||w_l|| of g'v is xi sum_l ||w_l|| ||g_l||, the remainder of order xi smaller
    net, images, labels = linear_fixture()
    gradient = reference.weight_gradient(net, images, labels)
    expected = 1e-6 * sum(float(p.norm() * gradient[name].norm()) for name, p in net.named_parameters())
    found = value(WorstFlatness(xi=1e-6, weight_step=1e-6), net, images, labels)
    assert found.value == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_worst_case_flatness_agrees_with_a_plain_joint_ascent(kind):
    net = network(kind, 2)
    images, labels = examples(net, 4)
    radius, xi, step, n_steps = 1 / 16, 7.5e-4, 1e-3, 4
    adversarial = (images + radius * torch.sign(torch.cos(37 * images))).clamp(0, 1)
    weights = {n: dict(net.named_parameters())[n] for n in reference.unnormalized_names(net)}
    base = float(reference.mean_loss(net, adversarial, labels))
    shift = {n: torch.zeros_like(p) for n, p in weights.items()}
    current, best = adversarial, base
    for _ in range(n_steps + 1):
        twin = reference.moved(net, shift)
        best = max(best, float(reference.mean_loss(twin, current, labels)))
        gradient = reference.weight_gradient(twin, current, labels)
        moved = []
        for image, x, label in zip(images, current, labels, strict=True):
            x = x.clone().requires_grad_(True)
            reference.cross_entropy(twin, x, int(label)).backward()
            x = x.detach() + radius / 4 * x.grad.sign()
            moved.append(torch.minimum(torch.maximum(x, image - radius), image + radius).clamp(0, 1))
        current = torch.stack(moved)
        for n, p in weights.items():
            if gradient[n].norm() > 0:
                shift[n] = shift[n] + step * p.norm() * gradient[n] / gradient[n].norm()
                shift[n] = shift[n] * min(1.0, float(xi * p.norm() / shift[n].norm()))
    item = WorstFlatness("pgd", n_steps=n_steps, n_restarts=1)
    found = value(item, net, images, labels, radius=radius, adversarial=adversarial)
    assert found.value == pytest.approx(best - base, rel=1e-8)


def test_restarts_and_steps_only_add():
    net = network("convolutional")
    images, labels = examples(net, 10)
    few, many = (value(WorstFlatness("pgd", n_restarts=r), net, images, labels).value for r in (1, 3))
    assert 0 < few <= many


def test_worst_case_flatness_survives_rescaling():
    images, labels = (
        torch.rand(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        torch.arange(9) % 4,
    )
    for item in (WorstFlatness("clean"), WorstFlatness("pgd")):
        values = [value(item, relu_pair(c), images, labels).value for c in (1.0, 10.0)]
        assert values[1] == pytest.approx(values[0], rel=1e-9)


def test_the_value_is_never_negative_at_a_minimum():
    net, images, labels = linear_fixture()
    found = value(WorstFlatness(n_steps=1, weight_step=100.0), net, images, labels)
    assert found.value >= 0
