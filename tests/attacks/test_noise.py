import math

import numpy as np
import pytest
import torch
from scipy import stats

from measurebench.attacks import noise

KEYS = torch.arange(500)


def test_numbers_depend_on_key_and_stream_alone() -> None:
    whole = noise.uniform(KEYS, (3, 4), 0, "pgd")
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    assert torch.equal(noise.uniform(KEYS[order], (3, 4), 0, "pgd"), whole[order])
    assert torch.equal(noise.uniform(KEYS[7:8], (3, 4), 0, "pgd"), whole[7:8])


@pytest.mark.parametrize("stream", [(1, "pgd"), (0, "other"), (0, "pgd", 1)])
def test_another_stream_gives_other_numbers(stream: tuple) -> None:
    first, second = noise.uniform(KEYS, (64,), 0, "pgd"), noise.uniform(KEYS, (64,), *stream)
    # Under independence the correlation of 32,000 pairs has a standard deviation of 0.0056.
    assert abs(np.corrcoef(first.flatten(), second.flatten())[0, 1]) < 5 * 0.0056


def test_float32_and_float64_see_the_same_numbers() -> None:
    single = noise.uniform(KEYS, (5,), "a")
    assert torch.equal(single.double(), noise.uniform(KEYS, (5,), "a", dtype=torch.float64))
    assert 0 <= float(single.min()) <= float(single.max()) < 1


def test_uniform_and_normal_have_their_distributions() -> None:
    uniform = noise.uniform(KEYS, (64,), "u", dtype=torch.float64).flatten().numpy()
    normal = noise.normal(KEYS, (64,), "n", dtype=torch.float64).flatten().numpy()
    assert stats.kstest(uniform, "uniform").pvalue > 1e-4
    assert stats.kstest(normal, "norm").pvalue > 1e-4


@pytest.mark.parametrize("lag", [1, 2, 8])
def test_neighbouring_keys_and_positions_are_uncorrelated(lag: int) -> None:
    numbers = noise.uniform(torch.arange(4000), (64,), "lag").numpy()
    bound = 5 / math.sqrt(numbers[lag:].size)
    assert abs(np.corrcoef(numbers[:-lag].ravel(), numbers[lag:].ravel())[0, 1]) < bound
    assert abs(np.corrcoef(numbers[:, :-lag].ravel(), numbers[:, lag:].ravel())[0, 1]) < bound


def test_integers_are_spread_evenly() -> None:
    counts = torch.bincount(noise.integers(torch.arange(9000), 9, "target"), minlength=9)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_content_keys_ignore_order_and_precision_and_tell_images_apart() -> None:
    images = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    keys = noise.content_keys(images)
    assert torch.equal(noise.content_keys(images.flip(0)), keys.flip(0))
    assert torch.equal(noise.content_keys(images.double()), keys)
    assert len(set(keys.tolist())) == 50
    swapped = images.clone()
    swapped[0, 0, 0, 0], swapped[0, 0, 0, 1] = images[0, 0, 0, 1], images[0, 0, 0, 0]
    assert noise.content_keys(swapped)[0] != keys[0]
