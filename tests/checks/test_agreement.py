from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import binom

from measurebench.checks import agreement
from measurebench.checks.agreement import Agreement, ImageVerdicts, compare_with_stock, mcnemar
from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.datasets import load_dataset
from tests.attacks.short import shorten_autoattack


def test_mcnemar_is_the_binomial_test_of_the_pairs_that_differ() -> None:
    assert mcnemar(1, 7) == pytest.approx(2 * binom.cdf(1, 8, 0.5))
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1


def test_every_image_has_its_place_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_autoattack(monkeypatch)
    found = compare_with_stock("digits:plain-at-10-b64-s0-last", examples=16, device="cpu", stock_seeds=2)
    assert found.n == 16
    assert found.both + found.only_ours + found.only_stock + found.neither == found.correct
    assert found.both + found.neither >= found.correct - 2
    assert found.threat == "Linf 3/20"
    assert [image.index for image in found.images] == load_dataset("digits").test.indices[:16].tolist()
    assert sum(image.correct for image in found.images) == found.correct
    assert sum(image.robust_autoattack for image in found.images) == found.both + found.only_ours
    assert sum(image.robust_pyautoattack for image in found.images) == found.both + found.only_stock
    assert len(found.differing) == found.only_ours + found.only_stock
    assert len(found.between_seeds) == 1
    assert found.between_seeds[0] <= 2


def test_the_verdicts_of_each_image_are_written_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = (
        ImageVerdicts(3, 1, True, True, False),
        ImageVerdicts(8, 0, True, False, False),
        ImageVerdicts(9, 5, False, False, False),
    )
    found = Agreement("one", "Linf 1/10", 3, 2, 0, 1, 0, 1, 1.0, 0.5, 2.0, images, (1, 0), seed=4)
    monkeypatch.setattr(agreement, "compare_with_stock", lambda *_, **__: found)
    out = tmp_path / "verdicts.csv"
    assert run_command_line(["agreement", "one", "--out", str(out), "--stock-seeds", "3"]) == 0
    told = capsys.readouterr().out
    assert "Verdicts differ on test images 3\n" in told
    assert "with seeds 4 and 5: 1 differ" in told
    assert "with seeds 4 and 6: 0 differ" in told
    table = pd.read_csv(out)
    assert table["index"].tolist() == [3, 8, 9]
    assert table["robust_autoattack"].tolist() == [True, False, False]
    assert table["robust_pyautoattack"].tolist() == [False, False, False]


def test_a_file_of_no_known_kind_is_refused_before_the_attacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agreement, "compare_with_stock", None)
    assert run_command_line(["agreement", "one", "--out", str(tmp_path / "verdicts.txt")]) == 2
    assert "--out: expected a name that ends in .csv, .parquet, .json" in capsys.readouterr().err


def test_several_models_are_refused() -> None:
    with pytest.raises(BadInputError, match="expected a reference to one model"):
        compare_with_stock("digits:*")
