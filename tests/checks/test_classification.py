"""Clean accuracy against what was published or guessing, and normalisations against each other."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from measurebench.checks.classification import accuracy_lines, correct_predictions, normalization_lines, preflight_lines
from measurebench.checks.results import Effort
from measurebench.core.specs import ModelSpec, Normalization
from measurebench.models import LoadedModel
from measurebench.models.normalized import normalized

CIFAR = Normalization.named("cifar10")


class Brightness(nn.Module):
    """Class 1 where the mean of a normalised image is above 0; images here have means beside those of CIFAR-10."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, images: Tensor) -> Tensor:
        z = self.scale * images.flatten(1).mean(1)
        return torch.stack([-z, z, 0 * z - 100], dim=1)


def images_beside_the_mean(n: int = 40) -> tuple[Tensor, Tensor]:
    """Return images a little darker or brighter than CIFAR-10's mean, and which: between it and other means."""
    labels = torch.arange(n) % 2
    mean = torch.tensor(CIFAR.mean).view(3, 1, 1)
    step = torch.where(labels == 1, 0.005, -0.005).view(-1, 1, 1, 1)
    return (mean + step).expand(n, 3, 4, 4).contiguous(), labels


def loaded(normalization: Normalization) -> LoadedModel:
    spec = ModelSpec("m", "local", "m.pt", normalization=normalization)
    network = normalized(Brightness(), normalization).eval().requires_grad_(False)
    return LoadedModel(spec, network, None, "digest")


def told(normalization: Normalization, **changes: Any) -> list[str]:
    images, labels = images_beside_the_mean()
    model = loaded(normalization)
    correct = correct_predictions(model.network, images, labels)
    return [line.text for line in normalization_lines(model, images, labels, correct, Effort())]


def test_predictions_are_those_of_any_batch_size() -> None:
    images, labels = images_beside_the_mean(13)
    network = loaded(CIFAR).network
    for batch in (1, 5, 13, 100):
        assert correct_predictions(network, images, labels, batch).all()
    assert not correct_predictions(network, images, 1 - labels, 5).any()


def test_the_right_normalisation_is_named_where_another_was_used() -> None:
    assert told(CIFAR) == []
    (text,) = told(Normalization())
    assert text == "with cifar10 the clean accuracy is 1.0000 on 40 images; is cifar10 the right one?"


def test_grey_images_and_networks_of_robustbench_have_no_other_normalisation() -> None:
    images, labels = images_beside_the_mean()
    model, none_right = loaded(Normalization()), torch.zeros(40, dtype=torch.bool)
    assert normalization_lines(model, images[:, :1], labels, none_right, Effort()) == []
    zoo = LoadedModel(ModelSpec("m", "robustbench", "m"), model.network, None, "digest")
    assert normalization_lines(zoo, images, labels, none_right, Effort()) == []


@pytest.mark.parametrize(
    ("published", "n_correct", "verdict", "words"),
    [
        (0.9, 90, "ok", "0.9000 (90 of 100 test images), 0.9000 published"),
        (0.9, 80, "ok", "0.8000 (80 of 100 test images), 0.9000 published"),  # 3.3 standard errors: p = 0.004
        (0.9, 70, "WRONG", "expected 0.9000 as published, got 0.7000"),
        (0.5, 90, "WRONG", "are these training images"),
        (None, 21, "ok", "no published figure to compare with"),
        (None, 19, "WRONG", "expected better than guessing, got 0.1900 (19 of 100 test images)"),
    ],
)
def test_accuracy_is_compared_with_the_published_one_or_with_guessing(
    published: float | None, n_correct: int, verdict: str, words: str
) -> None:
    (line,) = accuracy_lines(published, n_correct, 100, 10)
    assert (line.verdict, line.subject) == (verdict, "clean accuracy")
    assert words in line.text


def test_the_preflight_says_what_is_wrong() -> None:
    images, labels = images_beside_the_mean(4)
    network = loaded(CIFAR).network
    assert [line.verdict for line in preflight_lines(network, images, labels, 3)] == ["ok"]
    (line,) = preflight_lines(network, images, labels, 10)
    assert line.verdict == "WRONG"
    assert "expected 10 classes, got 3" in line.text
