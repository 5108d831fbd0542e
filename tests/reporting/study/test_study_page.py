import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from measurebench.reporting.study.finding import best_measure, finding
from measurebench.reporting.study.report import static_figures
from measurebench.reporting.study.study_page import sections, study_page
from measurebench.reporting.subject.study import Study
from tests.reporting.conftest import HOSTILE


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_same_study_gives_the_same_bytes(study: Study, page: str) -> None:
    assert study_page(study) == page


def test_the_page_names_no_other_host_as_a_resource(page: str) -> None:
    html = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", html)
    assert not re.search(r"url\(|@import", html)


def test_a_hostile_model_name_stays_text(page: str) -> None:
    assert HOSTILE not in page
    assert page.count("</script>") == 3
    assert HOSTILE in data_of(page)["datasets"]["models"]["columns"]["model_id"]
    assert "<img src=x" not in page


def test_every_dataset_of_a_chart_is_embedded_once(page: str) -> None:
    data = data_of(page)
    for figure in data["figures"].values():
        assert figure["dataset"] in data["datasets"]
        assert '"values":[{"model_id"' not in json.dumps(figure["spec"])


def test_every_chart_has_title_summary_axes_and_table(study: Study) -> None:
    for figure in [figure for section in sections(study) for figure in section.figures]:
        assert len(figure.title) > 20
        assert figure.summary.endswith(".")
        assert figure.columns
        assert {column.key for column in figure.columns} <= set(figure.data[figure.dataset].columns) | {"_x"}


def test_all_eight_sections_are_there(page: str) -> None:
    for part in ("finding", "gap", "measures", "settings", "residuals", "regressions", "models", "methods"):
        assert f'id="{part}"' in page


def test_the_finding_has_five_numbers_with_intervals(study: Study) -> None:
    found = finding(study)
    assert len(found.numbers) == 5
    assert "95 %" in found.numbers[2].detail
    assert all("[" in line or "no interval" in line for line in found.numbers[3].lines)


def test_the_planted_predictor_is_named_best(study: Study) -> None:
    best = best_measure(study)
    assert best is not None
    assert best[0] in {"x_grad_norm_pgd", "num_params"}
    assert best[1]["estimate"] > 0.8


def test_the_planted_reversal_is_found(study: Study) -> None:
    assert study.estimate("local_lip", "tau_within", "AT")["estimate"] > 0.5
    assert study.estimate("local_lip", "tau_within", "TRADES")["estimate"] < -0.5


def test_models_left_out_are_listed_with_their_reason(study: Study) -> None:
    table = study.table.drop(columns=["_i", "_target", "_defense"])
    table.loc[5, ["robust_gap_pgd", "status", "reason"]] = [float("nan"), "failed", "OutOfMemoryError: too large"]
    told = Study.of("x", table, study.analysis).left_out
    assert told == {table.loc[5, "model_id"]: "OutOfMemoryError: too large"}


def test_static_figures_hold_a_scatter_per_measure(study: Study) -> None:
    names = [figure.id for figure in static_figures(study)]
    assert len(names) == len(set(names))
    assert {f"scatter_{name}" for name in study.analysis.measures} <= set(names)


@pytest.mark.parametrize("blocked", ["torch", "torchvision"])
def test_a_page_is_built_with_torch_blocked(blocked: str, tmp_path: Path, study: Study) -> None:
    plain = study.table.drop(columns=["_i", "_target", "_defense"])
    plain.to_csv(tmp_path / "models.csv", index=False)
    (tmp_path / "build.py").write_text(
        f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {blocked!r}:
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
from measurebench.reporting import write_report
write_report("models.csv", "out", options=dict(bootstrap=20, permutations=19, measures=["local_lip"]))
assert {blocked!r} not in sys.modules
"""
    )
    subprocess.run([sys.executable, "build.py"], cwd=tmp_path, check=True, timeout=240)
    assert (tmp_path / "out" / "index.html").stat().st_size > 500_000
