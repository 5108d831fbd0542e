import numpy as np
import pandas as pd

from measurebench.reporting.study.model_table import filters
from measurebench.reporting.study.study_page import study_page
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.study.test_study_page import data_of
from tests.reporting.synthetic import study_table


def test_levels_of_a_numeric_setting_carry_the_number_that_the_data_hold() -> None:
    rates = pd.Series([5e-05, 8 / 255, 0.1 + 0.2, 0.3, 128.0, np.nan] * 4)
    table = study_table(24).assign(setting_rate=rates)
    options = {"bootstrap": 20, "permutations": 19, "measures": ["local_lip"]}
    study = Study.of("x", table, analyze(table, settings=["setting_rate", "architecture"], **options))
    found = {axis["key"]: axis["levels"] for axis in filters(study)}
    embedded = data_of(study_page(study))["datasets"]["models"]["columns"]["setting_rate"]
    assert {level.get("value") for level in found["setting_rate"]} == set(embedded)
    assert [(level["level"], level["n"]) for level in found["setting_rate"]] == [
        ("5e-05", 4),
        ("0.031372549", 4),
        ("0.3", 8),
        ("128", 4),
        ("not stated", 4),
    ]
    assert all("value" not in level for level in found["architecture"])
