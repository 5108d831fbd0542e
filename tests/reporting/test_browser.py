"""The page in a real browser: what a reader does with mouse, keyboard and links."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from measurebench.reporting.study.study_page import study_page
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.conftest import HOSTILE
from tests.reporting.synthetic import infos, study_table

pytestmark = pytest.mark.browser
READY = "html[data-ready=true]"


class Watched:
    """A browser page that notes console errors, dialogs and requests."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path, view: str = "") -> Any:
        self.page.goto(f"file://{path}{view}")
        self.page.wait_for_selector(READY, timeout=60_000)
        return self.page

    def draw_all(self) -> None:
        self.page.evaluate("Promise.all(charts.map(draw))")


@pytest.fixture
def watched(chromium: Any) -> Iterator[Watched]:
    made = Watched(chromium, viewport={"width": 1280, "height": 900})
    yield made
    made.context.close()


def column(page: Any, key: str) -> list[str]:
    place = page.evaluate(f"shownColumns().findIndex((column) => column.key === {json.dumps(key)})")
    return page.locator(f"#table tbody tr > *:nth-child({place + 2})").all_inner_texts()


def test_every_chart_draws_without_error_or_request(watched: Watched, page_file: Path) -> None:
    watched.open(page_file)
    watched.draw_all()
    assert watched.errors == []
    assert [url for url in watched.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert watched.page.locator("figure .chart svg").count() == watched.page.locator("figure[data-chart]").count() > 6


def test_a_hostile_model_name_is_shown_as_text(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    page.fill("#search", "</script>")
    assert column(page, "model_id") == [HOSTILE]
    assert watched.errors == []


def test_the_table_sorts_by_mouse_and_by_keyboard(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    button = page.locator('#table button[data-key="clean_accuracy_test"]')
    page.locator('#table button[data-key="robust_gap_pgd"]').click()
    gaps = [float(text.replace("\u2212", "-")) for text in column(page, "robust_gap_pgd")]
    assert gaps == sorted(gaps)
    assert page.locator('th:has(button[data-key="robust_gap_pgd"])').get_attribute("aria-sort") == "ascending"
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator('th:has(button[data-key="clean_accuracy_test"])').get_attribute("aria-sort") == "descending"
    assert page.evaluate("document.activeElement.dataset.key") == "clean_accuracy_test"


def test_filters_narrow_table_and_charts(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    watched.draw_all()
    page.locator("summary", has_text="Filter").click()
    page.locator('input[data-axis="defense"][value="AT"]').uncheck()
    assert "AT" not in column(page, "defense")
    page.wait_for_timeout(200)
    drawn = page.evaluate(
        "charts.find((chart) => chart.id === 'accuracy').view.data('models').map((row) => row.defense)"
    )
    assert set(drawn) == {"Standard", "TRADES"}


def test_a_bound_filters_a_column_in_the_units_shown(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    page.fill('input[data-filter="robust_gap_pgd"]', "> 10")
    gaps = [float(text.replace("\u2212", "-")) for text in column(page, "robust_gap_pgd")]
    assert gaps
    assert min(gaps) >= 10


def test_a_column_is_added_by_keyboard_and_the_focus_stays(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    page.locator("summary", has_text="Columns").focus()
    page.keyboard.press("Enter")
    page.locator('#columns input[data-column="n_parameters"]').focus()
    page.keyboard.press("Space")
    assert page.locator('#table button[data-key="n_parameters"]').count() == 1
    assert page.evaluate("document.activeElement.dataset.column") == "n_parameters"


def test_a_click_on_the_heat_map_shows_that_measures_scatter(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    watched.draw_all()
    cell = page.locator('#chart-heatmap svg path[aria-label*="measure: local lip"]').first
    cell.click()
    page.wait_for_function("state.measure === 'local_lip'")
    assert page.locator("#measure").input_value() == "local_lip"
    assert "local lip" in page.locator("#scatter-title").inner_text()


def test_the_heat_map_is_reached_by_keyboard_through_its_table(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    page.locator("#fig-heatmap details.data summary").focus()
    page.keyboard.press("Enter")
    button = page.locator("#fig-heatmap .data-host button.link", has_text="w grad norm pgd").first
    button.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("state.measure") == "w_grad_norm_pgd"


def test_a_permalink_restores_sort_filter_selection_and_measure(
    watched: Watched, page_file: Path, chromium: Any
) -> None:
    page = watched.open(page_file)
    page.locator("summary", has_text="Filter").click()
    page.locator('input[data-axis="defense"][value="Standard"]').uncheck()
    page.locator('#table button[data-key="model_id"]').click()
    page.locator("#table tbody input[type=checkbox]").first.check()
    page.select_option("#measure", "path_norm")
    rows, view = column(page, "model_id"), page.url.partition("#")[2]
    other = Watched(chromium)
    again = other.open(page_file, f"#{view}")
    assert column(again, "model_id") == rows
    assert again.locator("#table tbody tr.chosen").count() == 1
    assert again.locator("#measure").input_value() == "path_norm"
    assert "1 selected" in again.locator("#view-told").inner_text()
    other.context.close()


def test_dragging_over_a_chart_selects_rows_and_fades_the_rest(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    watched.draw_all()
    chart = page.locator("#chart-accuracy svg")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.98, box["y"] + box["height"] * 0.7, steps=4)
    page.mouse.up()
    page.wait_for_function("state.selected.size > 0")
    chosen = page.evaluate("state.selected.size")
    assert 0 < chosen < 36
    assert page.locator("#table tbody tr.chosen").count() == chosen
    page.wait_for_timeout(300)
    faded = page.evaluate(
        "charts.find((chart) => chart.id === 'gap').view.data('models').filter((row) => row._dim).length"
    )
    assert faded == 36 - chosen


def test_the_download_holds_the_rows_in_view(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    page.fill("#search", "trades")
    page.locator("summary", has_text="Download").click()
    with page.expect_download() as waiting:
        page.get_by_text("CSV, this view").click()
    rows = list(csv.DictReader(Path(waiting.value.path()).read_text().splitlines()))
    assert len(rows) == page.evaluate("visible().length") == 8
    assert {row["defense"] for row in rows} == {"TRADES"}
    assert 0 < float(rows[0]["robust_gap_pgd"]) < 1
    with page.expect_download() as waiting:
        page.get_by_text("JSON, all models").click()
    assert len(json.loads(Path(waiting.value.path()).read_text())) == 36


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_chart_is_saved_as_a_picture_with_plain_colours(watched: Watched, page_file: Path, kind: str) -> None:
    page = watched.open(page_file)
    watched.draw_all()
    with page.expect_download() as waiting:
        page.locator(f'#fig-scatter button[data-save="{kind}"]').click()
    content = Path(waiting.value.path()).read_bytes()
    assert content.startswith(b"<svg" if kind == "svg" else b"\x89PNG")
    assert b"var(--" not in content


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_runs_over_the_edge_in_either_scheme(chromium: Any, page_file: Path, scheme: str, width: int) -> None:
    watched = Watched(chromium, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = watched.open(page_file)
    watched.draw_all()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    watched.context.close()


def test_print_is_light_and_without_controls(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".viewbar").is_visible()


def test_every_control_has_a_name_and_every_chart_a_description(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    watched.draw_all()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select')].filter((control) =>
          !control.getAttribute('aria-label') && !control.textContent.trim() &&
          !(control.labels && control.labels.length)).length"""
    )
    assert unnamed == 0
    svgs = page.locator("figure .chart > svg, figure .chart > div > svg, figure .chart svg[role=img]")
    assert svgs.count() > 6
    for i in range(svgs.count()):
        assert svgs.nth(i).get_attribute("aria-describedby")


def test_the_charts_below_are_drawn_while_the_reader_does_nothing(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    page.wait_for_function("charts.every((chart) => chart.figure.dataset.drawn)", timeout=30_000)
    assert watched.errors == []


def test_a_chart_below_is_saved_before_it_was_drawn(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    with page.expect_download() as waiting:
        page.evaluate("document.querySelector('#fig-regressions button[data-save=svg]').click()")
    assert Path(waiting.value.path()).read_bytes().startswith(b"<svg")


def test_printing_draws_every_chart_before_the_next_task(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    drawn = page.evaluate(
        """() => new Promise((resolve) => {
          const channel = new MessageChannel();
          channel.port1.onmessage = () => resolve(charts.filter((chart) => chart.figure.dataset.drawn).length);
          dispatchEvent(new Event("beforeprint"));
          channel.port2.postMessage(0);
        })"""
    )
    assert drawn == page.locator("figure[data-chart]").count() > 6


@pytest.fixture(scope="module")
def crowded_file(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page that takes its 36 models for many, and paints them."""
    path = tmp_path_factory.mktemp("crowded") / "index.html"
    assert "const CROWDED = 500;" in page
    path.write_text(page.replace("const CROWDED = 500;", "const CROWDED = 5;"), encoding="utf-8")
    return path


PAINTING = "document.querySelector('#chart-accuracy canvas').toDataURL()"
REDRAWN = "charts.find((chart) => chart.id === 'accuracy').drawing"


def test_many_models_are_painted_in_the_colours_of_the_scheme_and_of_paper(
    watched: Watched, crowded_file: Path
) -> None:
    page = watched.open(crowded_file)
    watched.draw_all()
    light = page.evaluate(PAINTING)
    page.select_option("#scheme", "dark")
    page.evaluate(REDRAWN)
    assert page.evaluate(PAINTING) != light
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.evaluate(REDRAWN)
    assert page.evaluate(PAINTING) == light
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.evaluate(REDRAWN)
    assert page.evaluate(PAINTING) != light
    assert watched.errors == []


def test_painted_models_are_selected_by_dragging_and_narrowed_by_filters(watched: Watched, crowded_file: Path) -> None:
    page = watched.open(crowded_file)
    watched.draw_all()
    assert page.locator("#chart-heatmap svg").count() == 1
    chart = page.locator("#chart-accuracy canvas")
    assert chart.get_attribute("aria-describedby") == "accuracy-summary"
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.98, box["y"] + box["height"] * 0.7, steps=4)
    page.mouse.up()
    page.wait_for_function("state.selected.size > 0")
    assert 0 < page.evaluate("state.selected.size") < 36
    before = page.evaluate(PAINTING)
    page.fill("#search", "trades")
    page.wait_for_timeout(200)
    assert page.evaluate(PAINTING) != before


@pytest.fixture(scope="module")
def odd_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a study with real-valued settings and names with tildes, of which a filter left out some."""
    table = study_table(24)[["model_id", "defense", "run", "robust_gap_pgd", "local_lip", "x_grad_norm_pgd"]]
    table["model_id"] = [f"m~{i}" for i in range(24)]
    table["setting_rate~"] = [5e-05 if i % 2 else 8 / 255 for i in range(24)]
    table["setting_data"] = ["a~b" if i % 3 else "a" for i in range(24)]
    table["local_lip"] = [-0.1 if i == 0 else 1234.5 + i for i in range(24)]
    analysis = analyze(table, bootstrap=20, permutations=19, where='defense != "AT"')
    path = tmp_path_factory.mktemp("odd") / "index.html"
    path.write_text(study_page(Study.of("odd", table, analysis)), encoding="utf-8")
    return path


@pytest.mark.parametrize("place", [0, 1])
def test_a_filter_on_a_real_valued_setting_keeps_its_models(watched: Watched, odd_file: Path, place: int) -> None:
    page = watched.open(odd_file)
    page.locator("summary", has_text="Filter").click()
    page.locator('input[data-axis="setting_rate~"]').nth(place).uncheck()
    assert page.evaluate("visible().length") == 12
    other = Watched(watched.context.browser)
    assert other.open(odd_file, "#" + page.url.partition("#")[2]).evaluate("visible().length") == 12
    other.context.close()


def test_a_permalink_keeps_ids_levels_and_columns_with_tildes(watched: Watched, odd_file: Path) -> None:
    page = watched.open(odd_file)
    page.evaluate(
        """() => {
          state.filters.setting_data = new Set(["a~b"]);
          state.columns = ["model_id", "setting_rate~"];
          state.selected = new Set([1, 2]);
          changed("columns");
        }"""
    )
    other = Watched(watched.context.browser)
    again = other.open(odd_file, "#" + page.url.partition("#")[2])
    read = "[[...state.selected], [...state.filters.setting_data], state.columns, visible().length]"
    assert again.evaluate(read) == [[1, 2], ["a~b"], ["model_id", "setting_rate~"], 16]
    other.context.close()


@pytest.mark.parametrize("text", ["-0.1", "\u22120.1"])
def test_a_negative_number_is_found_with_either_minus_sign(watched: Watched, odd_file: Path, text: str) -> None:
    page = watched.open(odd_file)
    page.fill('input[data-filter="local_lip"]', text)
    assert column(page, "model_id") == ["m~0"]


def test_the_data_of_a_scatter_names_its_columns_and_holds_the_models_in_the_statistics(
    watched: Watched, odd_file: Path
) -> None:
    page = watched.open(odd_file)
    page.select_option("#measure", "local_lip")
    with page.expect_download() as waiting:
        page.locator('#fig-scatter button[data-save="csv"]').click()
    rows = list(csv.DictReader(Path(waiting.value.path()).read_text().splitlines()))
    assert list(rows[0]) == ["model_id", "defense", "local_lip", "robust_gap_pgd"]
    assert len(rows) == 16
    assert {row["defense"] for row in rows} == {"Standard", "TRADES"}


@pytest.mark.slow
def test_1344_models_are_ready_in_two_seconds_and_under_four_megabytes(chromium: Any, tmp_path: Path) -> None:
    table = study_table(1344, 40)
    analysis = analyze(table, bootstrap=20, permutations=19, infos=infos())
    path = tmp_path / "index.html"
    path.write_text(study_page(Study.of("large", table, analysis, infos=infos())), encoding="utf-8")
    assert path.stat().st_size < 4_000_000
    watched = Watched(chromium, viewport={"width": 1280, "height": 900})
    page = watched.open(path)
    assert page.evaluate("performance.getEntriesByName('ready')[0].startTime") < 2000
    assert page.evaluate("performance.now()") < 2000
    watched.context.close()
