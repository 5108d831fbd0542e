import pytest
from scipy.stats import binom

from measurebench.checks.agreement import compare_with_stock, mcnemar
from measurebench.core.errors import BadInputError
from tests.attacks.short import shorten_autoattack


def test_mcnemar_is_the_binomial_test_of_the_pairs_that_differ() -> None:
    assert mcnemar(1, 7) == pytest.approx(2 * binom.cdf(1, 8, 0.5))
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1


def test_every_image_has_its_place_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_autoattack(monkeypatch)
    found = compare_with_stock("digits:plain-at-10-b64-s0-last", examples=16, device="cpu")
    assert found.n == 16
    assert found.both + found.only_ours + found.only_stock + found.neither == found.correct
    assert found.both + found.neither >= found.correct - 2
    assert found.threat == "Linf 3/20"


def test_several_models_are_refused() -> None:
    with pytest.raises(BadInputError, match="expected a reference to one model"):
        compare_with_stock("digits:*")
