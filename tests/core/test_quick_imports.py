"""Libraries imported without parts of them, in processes of their own."""

import subprocess
import sys


def _run(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_scipy_functions_work_and_keep_their_help_but_for_the_table_of_array_libraries() -> None:
    code = (
        "from measurebench.core.quick_imports import import_scipy_stats as go; go();"
        "from scipy import stats; from scipy._lib import _array_api, _docscrape as d;"
        "print(_array_api.FunctionDoc is d.FunctionDoc, stats.rankdata([3, 1, 2]).tolist(),"
        " 'Assign ranks to data' in stats.rankdata.__doc__, 'Array API' in stats.rankdata.__doc__)"
    )
    assert _run(code) == "True [3.0, 1.0, 2.0] True False"


def test_a_scipy_without_that_parser_is_imported_as_it_is() -> None:
    code = (
        "import sys, types; sys.modules['scipy._lib._array_api'] = types.ModuleType('_array_api');"
        "from measurebench.core.quick_imports import import_scipy_stats as go; print(go())"
    )
    assert _run(code) == "None"


def test_statsmodels_fits_and_tests_without_a_second_library_for_formulas() -> None:
    code = (
        "import sys; from measurebench.core.quick_imports import import_statsmodels as go; go();"
        "from statsmodels.regression.linear_model import OLS; import numpy as np;"
        "fit = OLS(np.array([0.0, 1.0, 2.0, 4.0]), np.column_stack([np.ones(4), np.arange(4)])).fit();"
        "print('formulaic' in sys.modules, round(fit.params[1], 6), round(float(fit.f_test(np.eye(2)[1:]).fvalue), 6))"
    )
    # The slope is 6.5 / 5; the sum of squares 8.45 is explained and 0.3 is left on two degrees of freedom.
    assert _run(code) == f"False 1.3 {round(8.45 / (0.3 / 2), 6)}"
