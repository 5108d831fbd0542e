"""The chart of robust accuracy against the radius, over the models of a study."""

import pandas as pd
import pytest

from measurebench.reporting.charts import radius_curve
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.charts.drawn import drawn
from tests.reporting.synthetic import infos, study_table

RADII = {"2/255": 0.9, "4/255": 0.7, "8/255": 0.4}  # and the median accuracy under PGD


@pytest.fixture(scope="module")
def swept() -> Study:
    """Return 16 models at three radii; the median of each is that of the table above."""
    one = study_table(16)
    spread = pd.Series(range(16)).sub(7.5).div(200)
    parts = [one.assign(radius=radius, pgd_accuracy_test=median + spread) for radius, median in RADII.items()]
    table = pd.concat(parts, ignore_index=True).assign(clean_accuracy_test=0.95)
    chosen = analyze(table, radius="4/255", bootstrap=20, permutations=19, infos=infos())
    return Study.of("swept", table, chosen, infos=infos())


def test_every_model_is_a_line_from_clean_accuracy_over_all_radii(swept: Study) -> None:
    rows = radius_curve.curve(swept, "pgd_accuracy_test")
    assert rows.groupby("model_id").size().tolist() == [4] * 16
    medians = rows.groupby("radius", sort=False)["accuracy"].median()
    assert medians.round(6).to_dict() == {"0": 0.95, **RADII}


def test_title_and_marks_tell_the_medians(swept: Study) -> None:
    figure = radius_curve.figure(swept)
    assert figure is not None
    assert figure.title == "From radius 2/255 to 8/255 median robust accuracy falls from 90.0\u00a0% to 40.0\u00a0%"


def test_every_accuracy_is_a_mark_at_its_radius_and_a_point_of_its_model_s_line(swept: Study) -> None:
    rows, scene = radius_curve.curve(swept, "pgd_accuracy_test"), drawn(radius_curve.figure(swept))
    assert [text for text in scene.x.texts if text] == ["0", *RADII]
    marks = scene.of("symbol")[0].items
    share = rows["_radius"] / (8 / 255 * 1.01)  # the axis is 1 % longer than the data
    assert [item["x"] / scene.width for item in marks] == pytest.approx(share.tolist(), abs=1e-6)
    assert [scene.y.at(item["y"]) for item in marks] == pytest.approx(rows["accuracy"].tolist(), abs=1e-6)
    lines = scene.of("line")
    assert len(lines) == 16
    assert {len(line.items) for line in lines} == {4}


def test_one_radius_has_no_curve() -> None:
    table = study_table(16)
    study = Study.of("one", table, analyze(table, bootstrap=20, permutations=19, infos=infos()), infos=infos())
    assert radius_curve.figure(study) is None
