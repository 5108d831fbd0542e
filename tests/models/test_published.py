"""Five published checkpoints in the formats that users meet: their manifest loads as it stands, counts exact."""

from pathlib import Path

import pytest
import torch

from measurebench.datasets import load_dataset
from measurebench.models import load_model, preflight, resolve, verify_clean_accuracy

SHARED = Path(__file__).parents[2].parent / "shared"
COUNTS = {
    "resnet20": (274, 997),
    "cnn-a-mix": (221, 759),
    "oval-deep-kw": (169, 579),
    "small-8px-kw": (101, 255),
    "resnet-4b-adv": (223, 802),
}


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="published checkpoints are not here")
def test_correct_predictions_are_the_published_counts() -> None:
    data = load_dataset("cifar10", SHARED / "cifar10")
    counts = {}
    for spec in resolve([str(SHARED / "models")]):
        model = load_model(spec)
        correct = []
        for split in (data.test, data.train):
            images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
            with torch.no_grad():
                correct.append(int((model.network(images).argmax(1) == labels).sum()))
        preflight(model, torch.from_numpy(data.test.images[:8]), torch.from_numpy(data.test.labels[:8]), 10)
        verify_clean_accuracy(model, correct[0], len(data.test))
        counts[spec.id] = tuple(correct)
    assert counts == COUNTS
