from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from measurebench import measure
from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.measures.registry import find_measure
from measurebench.measures.value import MeasureValue
from tests.attacks.test_pgd import Counted


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))


IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 5
SHARED = [
    "average_ce_pgd",
    "train_robust_acc",
    "x_grad_norm_pgd",
    "w_grad_norm_pgd",
    "kl_divergence_pgd",
    "prob_margin_pgd",
]


def test_shared_work_is_done_once_whatever_is_asked_for(network: nn.Module) -> None:
    # PGD-10 takes ten forward and ten backward passes, the clean logits one forward, the adversarial logits and both
    # gradient norms one forward and one backward pass together. The standard error of the weight gradient's norm needs
    # each example's share in it: one forward pass more, which carries the derivatives along. Before that, two images
    # pass twice, to see that the answers are logits and agree.
    counted = Counted(network)
    measure(counted, IMAGES, LABELS, SHARED, radius="1/20")
    assert (counted.n_forward, counted.n_backward) == (2 + 13, 11)


def test_an_input_gradient_alone_does_not_cost_one_in_the_weights(network: nn.Module) -> None:
    asked: list[bool] = []
    settings = MeasureSettings(ThreatModel.parse("Linf", 0.05))
    context = MeasureContext(network.eval().requires_grad_(False), IMAGES, LABELS, settings)
    whole = context._gradient_pass
    context._gradient_pass = lambda images, weights: asked.append(weights) or whole(images, weights)
    alone = context.input_gradients("clean")
    both = context.gradients("clean")
    assert (asked, alone.weights, context.input_gradients("clean") is both) == ([False, True], {}, True)
    assert torch.equal(alone.inputs, both.inputs)
    assert torch.equal(alone.logits, both.logits)


@pytest.mark.parametrize("batch", [3, 100])
def test_the_gradient_in_the_weights_is_that_of_the_mean_loss_in_any_batches(network: nn.Module, batch: int) -> None:
    settings = MeasureSettings(ThreatModel.parse("Linf", 0.05))
    found = MeasureContext(network.eval(), IMAGES, LABELS, settings, batch_size=batch).gradients("clean").weights
    loss = nn.functional.cross_entropy(network.requires_grad_(True)(IMAGES), LABELS)
    expected = torch.autograd.grad(loss, list(network.parameters()))
    for (name, gradient), known in zip(found.items(), expected, strict=True):
        assert gradient.dtype == known.dtype
        assert torch.allclose(gradient, known, rtol=1e-5, atol=1e-7), name


def test_computation_is_in_the_dtype_of_the_images(network: nn.Module) -> None:
    seen: list[torch.dtype] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images.dtype)
            return self.network(images)

    double = measure(Watched(), IMAGES.double(), LABELS, ["average_ce"])["average_ce"]
    single = measure(Watched(), IMAGES, LABELS, ["average_ce"])["average_ce"]
    assert set(seen) == {torch.float64, torch.float32}
    assert double.value != single.value
    assert double.value == pytest.approx(single.value, rel=1e-6)


def test_the_network_is_left_as_found(network: nn.Module) -> None:
    network.train()
    network[1].eval()
    network[0].weight.grad = torch.ones_like(network[0].weight)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure(network, IMAGES, LABELS, SHARED, radius="1/20")
    assert [module.training for module in network] == [True, False, True, True, True]
    assert torch.equal(network[0].weight.grad, torch.ones_like(network[0].weight))
    assert network[4].weight.grad is None
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_given_adversarial_examples_stand_in_for_pgd(network: nn.Module) -> None:
    values = measure(network, IMAGES, LABELS, ["average_ce", "average_ce_pgd"], adversarial=IMAGES)
    assert values["average_ce"].value == values["average_ce_pgd"].value


def test_values_come_with_errors_and_per_example_values(network: nn.Module) -> None:
    value = measure(network, IMAGES, LABELS, ["average_ce"])["average_ce"]
    assert value.per_example is not None
    assert value.value == pytest.approx(float(value.per_example.mean()), rel=1e-12)
    expected = float(value.per_example.std(correction=1)) / len(IMAGES) ** 0.5
    assert value.standard_error == pytest.approx(expected, rel=1e-12)


def test_core_leaves_autoattack_to_those_who_ask(network: nn.Module) -> None:
    from measurebench.measures.registry import select_measures

    ids = {item.info.id for item in select_measures("core")}
    assert "autoattack_accuracy" in ids
    assert ids >= {"num_params", "path_norm", "boundary_thickness", "local_lip", "average_flat_pgd"}


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES * 4 - 2, LABELS, r"images: expected float32 in \[0, 1\].*was the input normalised twice\?"),
        (IMAGES * 255, LABELS, r"images: expected float32 in \[0, 1\].*divide by 255\?"),
        ((IMAGES * 255).byte(), LABELS, "divide uint8 images by 255"),
        (IMAGES, LABELS[:5], "labels: expected one per image, 12 images and at least one, got 5"),
        (IMAGES, LABELS.float(), "labels: expected torch.int64, got torch.float32"),
        (IMAGES, LABELS[None], r"labels: expected shape \(12,\), got \(1, 12\)"),
        (IMAGES, LABELS - 9, "labels: expected classes from 0, got -9"),
        (IMAGES[:0], LABELS[:0], "at least one"),
    ],
)
def test_bad_input_is_named_at_the_door(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, words: str
) -> None:
    with pytest.raises(BadInputError, match=words):
        measure(network, images, labels, ["average_ce"])


def test_unknown_measures_variants_and_radii_are_named(network: nn.Module) -> None:
    for options, words in (
        ({"measures": ["x_grad_nrm"]}, "did you mean 'x_grad_norm'"),
        ({"measures": ["local_lip:references"]}, "variant of local_lip: expected one of: reference"),
        ({"measures": []}, "an empty list"),
        ({"measures": ["average_ce"], "radius": "8"}, "did you mean 8/255"),
        ({"measures": ["average_ce"], "adversarial": IMAGES[:3]}, "adversarial: expected shape"),
    ):
        with pytest.raises(BadInputError, match=words):
            measure(network, IMAGES, LABELS, **options)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda _: 0.5, "measure 'mine': expected a MeasureValue, got 0.5; return MeasureValue"),
        (lambda logits: MeasureValue.mean(logits), r"expected one value for each example, \[n\], got \(\d+, \d+\)"),
        (lambda logits: MeasureValue.mean(logits.mean()), r"expected one value for each example, \[n\], got \(\)"),
    ],
)
def test_a_measure_that_returns_something_else_is_named(
    network: nn.Module, made: Callable[[torch.Tensor], Any], message: str
) -> None:
    class Mine:
        info = replace(find_measure("average_ce").info, id="mine")

        def __call__(self, context: MeasureContext) -> Any:
            return made(context.clean_logits)

    with pytest.raises(BadInputError, match=message):
        measure(network, IMAGES, LABELS, [Mine()])
