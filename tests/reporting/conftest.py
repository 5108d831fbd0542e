"""Pages are built once per session from a seeded table; browsers are driven where there is one."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from measurebench.reporting.study.study_page import study_page
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.synthetic import MEASURES, infos, study_table

HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture(scope="session")
def study() -> Study:
    """Return a study of 36 models, six measures, one of the models named by an attacker."""
    table = study_table(36)
    table = table.drop(columns=[name for name in MEASURES if name not in KEPT])
    table.loc[0, "model_id"] = HOSTILE
    table.loc[1, "reason"] = "<img src=x onerror=alert(1)>"
    analysis = analyze(table, bootstrap=60, permutations=199, infos=infos())
    return Study.of("synthetic", table, analysis, infos=infos())


KEPT = ("num_params", "path_norm", "average_ce_pgd", "local_lip", "x_grad_norm_pgd", "w_grad_norm_pgd")


@pytest.fixture(scope="session")
def page(study: Study) -> str:
    """Return the study's page."""
    return study_page(study)


@pytest.fixture(scope="session")
def page_file(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the study's page as a file."""
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Return a running Chromium, or skip with the reason."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
