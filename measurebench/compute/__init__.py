"""Devices, precision, batch sizes and clocks: how numbers are computed, whatever is computed.

Raises MeasurebenchError at import where torch is too old to run the package.
"""

import re

import torch

from measurebench.core.errors import MeasurebenchError

__all__ = ["OLDEST_TORCH", "check_torch"]

OLDEST_TORCH = (2, 8)  # the first with torch.AcceleratorError, by which `devices.is_lost` knows a lost GPU


def check_torch(version: str) -> None:
    """Accept a version of torch that the package runs with, such as "2.8.0+cu128".

    Previews of a release ("2.8.0a0") count as that release. Raises MeasurebenchError for older versions; pip
    refuses them as well, but an environment may be put together without it.

    >>> check_torch("2.11.0+cu130")
    >>> check_torch("2.6.0")
    Traceback (most recent call last):
    measurebench.core.errors.MeasurebenchError: torch: expected version 2.8 or newer, got 2.6.0; ...
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise MeasurebenchError(
            f'torch: expected version {oldest} or newer, got {version}; pip install "torch>={oldest}"'
        )


check_torch(torch.__version__)
