"""A trained network of the digits and its images, on any device and in either precision."""

import os
from functools import cache

import torch
from torch import Tensor, nn

from measurebench.datasets import load_dataset
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.models import load_model, resolve

__all__ = ["DEVICE", "MODEL", "digits", "digits_context", "digits_network"]

DEVICE = "cuda:0" if torch.cuda.is_available() else os.environ.get("MEASUREBENCH_REHEARSE_GPU")
MODEL = "digits:resnet-at-10-b64-s0-last"  # convolutions, batch norm, shortcuts with strides, a linear layer


def digits_network(device: str, dtype: torch.dtype = torch.float32, reference: str = MODEL) -> nn.Module:
    return load_model(reference).network.to(device, dtype)


def digits(n: int, device: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return the first n test images and their labels."""
    first = load_dataset("digits").test.first(n)
    return torch.from_numpy(first.images).to(device, dtype), torch.from_numpy(first.labels).to(device)


@cache
def digits_context(device: str, dtype: torch.dtype, n: int) -> MeasureContext:
    """Return one context for all measures: work that several share is computed once."""
    loaded, (spec,) = load_model(MODEL), resolve([MODEL])
    images, labels = digits(n, device, dtype)
    assert loaded.initial is not None
    assert spec.threat_model is not None
    return MeasureContext(
        loaded.network.to(device, dtype),
        images,
        labels,
        MeasureSettings(spec.threat_model),
        initial_network=loaded.initial.to(device, dtype),
        keys=torch.arange(n, device=device),
    )
