from pathlib import Path

import pandas as pd
import pytest
import vl_convert

from measurebench.core.errors import BadInputError
from measurebench.reporting.charts import accuracies, heatmap
from measurebench.reporting.figures.figure import Figure
from measurebench.reporting.figures.figure_files import standalone, wrapped, write_figures
from measurebench.reporting.html.bundle import VEGA_LITE
from measurebench.reporting.study.report import static_figures
from measurebench.reporting.subject.study import Study


def test_a_chart_is_written_in_every_format(study: Study, tmp_path: Path) -> None:
    figure = accuracies.figure(study)
    assert figure
    paths = write_figures([figure], tmp_path, ("svg", "png", "pdf"))
    assert [path.name for path in paths] == ["accuracy.svg", "accuracy.png", "accuracy.pdf"]
    starts = [path.read_bytes()[:4] for path in paths]
    assert starts[0] == b"<svg"
    assert starts[1:] == [b"\x89PNG", b"%PDF"]
    assert "var(--" not in paths[0].read_text()


def test_a_file_holds_its_data_and_its_title(study: Study) -> None:
    spec = standalone(heatmap.figure(study))
    assert len(spec["datasets"]["tau"]) == (len(study.ranked) + len(study.controls)) * (len(study.defenses) + 2)
    assert spec["width"] == 620
    assert spec["title"]["text"]


def test_every_specification_compiles(study: Study) -> None:
    for figure in static_figures(study):
        compiled = vl_convert.vegalite_to_vega(standalone(figure), vl_version=VEGA_LITE)
        assert {"marks", "scales", "data"} <= set(compiled)


def test_charts_of_many_rows_show_the_first_thirty() -> None:
    figure = Figure("x", "t", "s", {"height": 1320}, {"d": pd.DataFrame({"order": range(132)})}, "d", (), rows=132)
    spec = standalone(figure)
    assert (spec["height"], len(spec["datasets"]["d"])) == (300, 30)


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="format: expected svg, png or pdf, got 'gif'"):
        write_figures([], tmp_path, ("gif",))


def test_long_titles_are_broken_between_words() -> None:
    assert wrapped("one two three", 8) == ["one two", "three"]


@pytest.mark.parametrize("name", ["spec\nnorm", "e\u2028f", 'c\\"d', "g\0h", "[x]", "a.b", "'q'"])
def test_a_chart_is_drawn_whatever_its_titles_hold(name: str) -> None:
    import altair as alt
    import vl_convert

    from measurebench.reporting.figures.figure import specification
    from measurebench.reporting.figures.figure_files import VEGA_LITE

    data = alt.Data(values=[{"_x": 1.0, "_y": 2.0}])
    tips = [alt.Tooltip("_x:Q", title=name), alt.Tooltip("_y:Q", title=f"gap of {name}")]
    chart = alt.Chart(data, title=name).mark_point().encode(x=alt.X("_x:Q", title=name), y="_y:Q", tooltip=tips)
    drawn = vl_convert.vegalite_to_svg(specification(chart), vl_version=VEGA_LITE)
    assert drawn.count('aria-roledescription="point"') == 1
