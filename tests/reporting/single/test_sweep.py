"""The curve of one model's accuracy against the radius: its numbers, its places in the drawing, its page."""

import re
from pathlib import Path

import pandas as pd
import pytest

from measurebench import write_report
from measurebench.core.intervals import wilson_interval
from measurebench.reporting.single.sweep import HEIGHT, WIDTH, sweep_of
from tests.reporting.single.test_single_page import ROW

ROWS = pd.DataFrame(
    [
        ROW | {"radius": radius, "pgd_accuracy_test": robust, "fgsm_accuracy_test": fgsm}
        for radius, robust, fgsm in (("8/255", 0.3, 0.5), ("2/255", 0.75, None), ("4/255", 0.6, 0.7))
    ]
)


def test_each_line_runs_from_clean_images_to_the_largest_radius() -> None:
    found = sweep_of(ROWS)
    assert found is not None
    assert found.ticks == (("0", 0.0), ("2/255", WIDTH / 4), ("4/255", WIDTH / 2), ("8/255", WIDTH))
    assert [line.title for line in found.lines] == ["PGD", "fgsm"]
    pgd, fgsm = ([(mark.radius, mark.x, round(1 - mark.y / HEIGHT, 6)) for mark in line.marks] for line in found.lines)
    ends = [("0", 0.0, 0.9), ("8/255", WIDTH, 0.3)]
    assert pgd == [ends[0], ("2/255", WIDTH / 4, 0.75), ("4/255", WIDTH / 2, 0.6), ends[1]]
    assert fgsm == [ends[0], ("4/255", WIDTH / 2, 0.7), ("8/255", WIDTH, 0.5)]


def test_bars_end_at_wilson_s_interval_of_the_number_of_images() -> None:
    found = sweep_of(ROWS)
    assert found is not None
    last = found.lines[0].marks[-1]
    low, high = wilson_interval(60, 200)
    assert (1 - last.low / HEIGHT, 1 - last.high / HEIGHT) == (
        pytest.approx(low, abs=1e-4),
        pytest.approx(high, abs=1e-4),
    )
    assert last.interval == f"{100 * low:.1f}\u00a0% to {100 * high:.1f}\u00a0%"


def test_without_an_attack_at_two_radii_there_is_no_curve() -> None:
    assert sweep_of(ROWS.iloc[:1]) is None
    assert sweep_of(ROWS.drop(columns=["pgd_accuracy_test", "fgsm_accuracy_test"])) is None
    assert sweep_of(ROWS.assign(radius="8/255")) is None


def test_page_of_one_model_at_several_radii_has_the_curve_and_names_the_radius_of_the_rest(tmp_path: Path) -> None:
    page = write_report(ROWS, tmp_path).read_text()
    assert "<h1>30.0\u00a0% of test images withstand PGD</h1>" in page  # the first row is the latest
    assert "All other numbers of this page are for radius 8/255." in page
    assert "under PGD: 90.0\u00a0% at 0, 75.0\u00a0% at 2/255, 60.0\u00a0% at 4/255, 30.0\u00a0% at 8/255." in page
    places = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="3.5">', page)
    assert [(float(x), float(y)) for x, y in places[:2]] == [(0, HEIGHT * 0.1), (WIDTH / 4, HEIGHT / 4)]
    chosen = write_report(ROWS, tmp_path, options={"radius": "4/255"}).read_text()
    assert "<h1>60.0\u00a0% of test images withstand PGD</h1>" in chosen
    assert 'id="radii"' in chosen


def test_page_of_one_radius_has_no_curve(tmp_path: Path) -> None:
    assert 'id="radii"' not in write_report(ROWS.iloc[:1], tmp_path).read_text()
