"""The preflight finds what makes measurements meaningless, and says the likely cause."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from measurebench.core.errors import BadInputError, ModelError
from measurebench.core.specs import ModelSpec
from measurebench.models import LoadedModel, preflight, verify_clean_accuracy
from measurebench.models.verify import accuracy_finding, preflight_findings

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 5


class Behaving(nn.Module):
    """A linear classifier whose forward pass a test can spoil."""

    def __init__(self, spoil: Callable[[Tensor, Tensor], Tensor] | None = None, n_classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(64, n_classes)
        self.spoil = spoil
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits = self.linear(images.flatten(1))
        return self.spoil(images, logits) if self.spoil else logits


def changed_in_place(images: Tensor, logits: Tensor) -> Tensor:
    images.detach().mul_(0.5)
    return logits


def raising(images: Tensor, logits: Tensor) -> Tensor:
    raise ValueError("no such shape")


def noisy(images: Tensor, logits: Tensor) -> Tensor:
    return logits + torch.randn_like(logits)


def batch_dependent(images: Tensor, logits: Tensor) -> Tensor:
    return logits - logits.mean(0) + torch.arange(5.0)


SPOILT = {
    "probabilities": (lambda _, z: z.softmax(1), "softmax out of the network"),
    "a tuple": (lambda x, z: (z, x), "got tuple"),
    "another width": (lambda _, z: z[:, :4], "expected 5 classes, got 4"),
    "another shape": (lambda _, z: z[:, :, None], r"expected logits of shape \[6, 5\]"),
    "NaN": (lambda _, z: z * float("nan"), "NaN or infinity for 6 of 6"),
    "a constant": (lambda _, z: z[:1].expand(len(z), -1).clone(), "the same row for all 6"),
    "noise": (noisy, "draws random numbers"),
    "the batch": (batch_dependent, "depend on the batch"),
    "changed images": (changed_in_place, "changed in place"),
    "an exception": (raising, "ValueError: no such shape"),
    "no gradient": (lambda _, z: z.detach(), "hides the gradient"),
    "a rounded input": (lambda x, z: z.detach() + 0 * x.sum(), "zero for every pixel"),
}


def test_well_behaved_network_passes() -> None:
    assert preflight_findings(Behaving(), IMAGES, LABELS, 5) == []
    preflight(Behaving(), IMAGES, LABELS, 5)


def test_log_probabilities_serve_as_logits() -> None:
    assert preflight_findings(Behaving(lambda _, z: z.log_softmax(1)), IMAGES, LABELS, 5) == []


@pytest.mark.parametrize("name", sorted(SPOILT))
def test_preflight_finds(name: str) -> None:
    spoil, word = SPOILT[name]
    with pytest.raises(ModelError, match=word) as caught:
        preflight(Behaving(spoil), IMAGES.clone(), LABELS, 5)  # type: ignore[arg-type]
    assert "expected" in str(caught.value)


def test_training_mode_is_found_in_any_layer() -> None:
    network = nn.Sequential(Behaving(), nn.Dropout(0.5)).eval()
    network[1].train()
    with pytest.raises(ModelError, match="training mode in 1"):
        preflight(network, IMAGES, LABELS, 5)


def test_preflight_leaves_network_and_gradients_as_found() -> None:
    network = Behaving().requires_grad_(False)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    preflight(network, IMAGES, LABELS, 5)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("images", "labels", "word"),
    [
        (IMAGES * 255, LABELS, "divide by 255"),
        (IMAGES * 4 - 2, LABELS, r"in \[-.*was the input normalised already"),
        ((IMAGES * 255).byte(), LABELS, "uint8"),
        (IMAGES * float("nan"), LABELS, r"in \[0, 1\]"),
        (IMAGES[:0], LABELS[:0], "at least one"),
        (IMAGES, LABELS[:3], "one label for each"),
        (IMAGES, LABELS + 3, "classes 0 to 4"),
    ],
)
def test_images_and_labels_are_checked_first(images: Tensor, labels: Tensor, word: str) -> None:
    with pytest.raises(BadInputError, match=word):
        preflight(Behaving(), images, labels, 5)


def loaded(expected: float | None) -> LoadedModel:
    spec = ModelSpec("m", "local", "m.pt", reference="m.pt", expected_clean_accuracy=expected)
    return LoadedModel(spec, Behaving(), None, "d")


def test_clean_accuracy_within_binomial_tolerance_passes() -> None:
    # 274 of 300 against 0.9173: expected 275.2, standard deviation 4.8.
    verify_clean_accuracy(loaded(0.9173), 274, 300)
    verify_clean_accuracy(loaded(None), 3, 300)


@pytest.mark.parametrize(
    ("n_correct", "word"),
    [(30, "normalised twice"), (220, "normalisation the one of its training"), (299, "training images")],
)
def test_clean_accuracy_beyond_tolerance_names_both_numbers(n_correct: int, word: str) -> None:
    with pytest.raises(ModelError, match=word) as caught:
        verify_clean_accuracy(loaded(0.9173), n_correct, 300)
    assert "0.9173 as published" in str(caught.value)
    assert f"({n_correct} of 300 images)" in str(caught.value)


def test_tolerance_is_the_stated_one() -> None:
    from scipy.stats import binomtest

    edge = max(k for k in range(500) if binomtest(k, 1000, 0.5).pvalue < 1e-4)
    assert accuracy_finding(0.5, edge, 1000) is not None
    assert accuracy_finding(0.5, edge + 1, 1000) is None
