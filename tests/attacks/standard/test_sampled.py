import numpy as np
import pytest
import torch
from scipy.stats import hypergeom

from measurebench.attacks.standard import StandardSettings, evaluation, sampled, standard_attack
from measurebench.attacks.standard.sampled import chosen, sample_size, sampled_accuracy, upper_bound
from measurebench.core.errors import BadInputError
from measurebench.core.threat import Norm, ThreatModel
from tests.attacks.standard.stock import examples, radius_that_splits, small_network


@pytest.mark.parametrize(("m", "k", "bound"), [(50, 12, 9), (400, 40, 27), (400, 100, 10), (5000, 500, 28)])
def test_no_break_in_the_sample_bounds_the_breaks(m: int, k: int, bound: int) -> None:
    assert upper_bound(m, k, 0) == bound
    # By the definition: with one more, no break among k would be a rarer event than 5 %.
    assert hypergeom.pmf(0, m, bound, k) > 0.05 >= hypergeom.pmf(0, m, bound + 1, k)


@pytest.mark.parametrize(("m", "k"), [(50, 12), (50, 50), (200, 40), (97, 25)])
def test_the_interval_covers_whatever_the_truth_is(m: int, k: int) -> None:
    bounds = np.array([upper_bound(m, k, b) for b in range(k + 1)])
    for breaks in range(m + 1):
        b = np.arange(k + 1)
        probability = hypergeom.pmf(b, m, breaks, k)
        covered = (b <= breaks) & (breaks <= bounds)
        assert probability[covered].sum() >= 0.95 - 1e-12
        assert float((probability * m * b / k).sum()) == pytest.approx(breaks, abs=1e-9)  # unbiased


def test_a_whole_sample_is_no_estimate() -> None:
    result = sampled_accuracy(n=200, m=80, k=80, b=5)
    assert (result.low, result.value, result.high) == (75 / 200, 75 / 200, 75 / 200)


def test_nothing_that_withstood_is_an_accuracy_of_zero() -> None:
    result = sampled_accuracy(n=10, m=0, k=0, b=0)
    assert (result.low, result.value, result.high) == (0, 0, 0)


def test_the_population_interval_covers() -> None:
    # Of 1,000 images 0.5 survive and 0.02 of those break; a sample of a quarter. 400 studies: 2 sd are 2 points.
    rng = np.random.default_rng(0)
    truth, hits, studies = 0.5 * 0.98, 0, 400
    for _ in range(studies):
        m = rng.binomial(1000, 0.5)
        breaks, k = rng.binomial(m, 0.02), sample_size(m)
        low, high = sampled_accuracy(1000, m, k, int(rng.hypergeometric(breaks, m - breaks, k))).population
        hits += low <= truth <= high
    assert 0.925 <= hits / studies <= 0.995


def test_the_choice_depends_on_keys_and_seed_alone() -> None:
    keys = torch.arange(1000, 1200)
    first = keys[chosen(keys, 50, 0)]
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    again = keys[order][chosen(keys[order], 50, 0)]
    assert torch.equal(first, again.sort().values)
    assert len(first.unique()) == 50
    assert not torch.equal(first, keys[chosen(keys, 50, 1)])


def test_a_sampled_example_has_the_verdict_of_the_whole_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network()
    images, labels = examples(network, 8)
    threat = radius_that_splits(network, images, labels, Norm.LINF, 0.3)
    settings = StandardSettings(apgd_steps=6, fab_steps=4, square_queries=20)
    options = {"keys": torch.arange(8), "seed": 0, "n_classes": 10, "settings": settings}

    whole = standard_attack(network, images, labels, threat, **options)
    monkeypatch.setattr(sampled, "LEAST", 2)
    result = standard_attack(network, images, labels, threat, share=0.25, **options)
    left = whole.withstood["apgd-t"]
    assert result.sample.survivors == int(left.sum())
    assert int(result.sample.chosen.sum()) == 2
    assert bool(left[result.sample.chosen].all())
    assert torch.equal(result.robust[result.sample.chosen], whole.robust[result.sample.chosen])
    accuracy = sampled_accuracy(8, result.sample.survivors, 2, result.sample.broken)
    assert accuracy.low <= float(whole.robust.double().mean()) <= accuracy.high


def test_nothing_is_sampled_where_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    draws, draw = [], evaluation.Evaluation.draw
    monkeypatch.setattr(evaluation.Evaluation, "draw", lambda self, share: draws.append(share) or draw(self, share))
    network = small_network()
    images, labels = examples(network, 4)
    everything = ThreatModel.parse("Linf", "1")
    options = {"keys": torch.arange(4), "seed": 0, "n_classes": 10, "settings": StandardSettings(apgd_steps=5)}
    result = standard_attack(network, images, labels, everything, share=0.25, **options)
    assert (result.sample.survivors, int(result.sample.chosen.sum()), result.sample.broken) == (0, 0, 0)
    assert draws == [0.25]  # one sample for both attacks
    assert sampled_accuracy(4, 0, 0, 0).value == 0


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadInputError, match="0 <= breaks <= sampled <= survivors, got 3, 2, 10"):
        upper_bound(10, 2, 3)
    with pytest.raises(BadInputError, match=r"share: expected above 0 and at most 1, got 1\.5"):
        sample_size(10, 1.5)
    with pytest.raises(BadInputError, match="survivors among the examples"):
        sampled_accuracy(5, 6, 1, 0)
