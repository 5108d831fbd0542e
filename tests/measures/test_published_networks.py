"""Five networks that other people trained, against values computed by plain loops in float64."""

import csv
import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from measurebench import load_model, measure
from measurebench.measures.value import MeasureValue

SHARED = Path(__file__).parents[2].parent / "shared"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason="published checkpoints are not here"),
]
MODELS = ("resnet20", "cnn-a-mix", "oval-deep-kw", "small-8px-kw", "resnet-4b-adv")
EXACT = [
    "average_ce",
    "average_ce_pgd",
    "prob_margin",
    "prob_margin_pgd",
    "kl_divergence_pgd",
    "clean_accuracy",
    "pgd_accuracy",
    "log_prod_of_fro",
    "log_prod_of_fro_bn_folded",
    "log_prod_of_spec",
    "log_prod_of_spec_bn_folded",
    "log_prod_of_spec_fft",
    "log_prod_of_spec_zero_padded",
    "x_grad_norm",
    "x_grad_norm_pgd",
    "w_grad_norm",
    "w_grad_norm_pgd",
]


@cache
def reference() -> dict[str, dict[str, str]]:
    with (SHARED / "models" / "reference" / "reference.csv").open() as file:
        return {row["id"]: row for row in csv.DictReader(file)}


@cache
def images_and_labels() -> tuple[Tensor, Tensor]:
    with (SHARED / "cifar10" / "cifar-10-batches-py" / "data_batch_1").open("rb") as file:
        batch = pickle.load(file, encoding="bytes")
    pixels = np.asarray(batch[b"data"][:100], dtype=np.float64).reshape(-1, 3, 32, 32)
    return torch.tensor(pixels / 255), torch.tensor(batch[b"labels"][:100])


@cache
def values(model: str) -> dict[str, MeasureValue]:
    images, labels = images_and_labels()
    attacked = torch.tensor(np.load(SHARED / "models" / "reference" / f"{model}.npz")["adversarial"]).double()
    network = load_model(f"{SHARED / 'models'}#{model}").network
    # pgd_accuracy is compared at the given examples, whatever their distance: float32 rounds them
    return measure(network, images, labels, [*EXACT, "margin_p10"], adversarial=attacked, radius="8/255")


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("model", MODELS)
def test_measure_agrees_with_the_reference(model: str, name: str) -> None:
    assert values(model)[name].value == pytest.approx(float(reference()[model][name]), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_layers_and_percentiles_agree_with_the_reference(model: str) -> None:
    row, found = reference()[model], values(model)
    assert found["log_prod_of_fro"].diagnostics["n_layers"] == int(float(row["n_weight_layers"]))
    margins = found["margin_p10"].per_example.numpy()
    # the reference interpolates; the measure is the order statistic of rank 10 just below it
    assert np.percentile(margins, 10) == pytest.approx(float(row["logit_margin_10th"]), rel=1e-6)
    assert np.sort(margins)[9] == found["margin_p10"].value <= float(row["logit_margin_10th"])


@pytest.mark.parametrize("model", [model for model in MODELS if model != "resnet20"])
def test_local_lipschitz_constants_agree_but_for_their_random_starts(model: str) -> None:
    images, labels = images_and_labels()
    network = load_model(f"{SHARED / 'models'}#{model}").network
    found = measure(network, images, labels, ["local_lip"], radius="8/255")["local_lip"]
    # The same images, two independent starts each: the difference is smaller than the spread over images allows.
    assert abs(found.value - float(reference()[model]["local_lip"])) < 3 * found.standard_error
