"""Scipy imported without what it adds to its docstrings, in a process of its own."""

import subprocess
import sys


def _run(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_scipy_functions_work_and_keep_their_help_but_for_the_table_of_array_libraries() -> None:
    code = (
        "from measurebench.core.scipy_import import import_scipy_stats as go; go();"
        "from scipy import stats; from scipy._lib import _array_api, _docscrape as d;"
        "print(_array_api.FunctionDoc is d.FunctionDoc, stats.rankdata([3, 1, 2]).tolist(),"
        " 'Assign ranks to data' in stats.rankdata.__doc__, 'Array API' in stats.rankdata.__doc__)"
    )
    assert _run(code) == "True [3.0, 1.0, 2.0] True False"


def test_a_scipy_without_that_parser_is_imported_as_it_is() -> None:
    code = (
        "import sys, types; sys.modules['scipy._lib._array_api'] = types.ModuleType('_array_api');"
        "from measurebench.core.scipy_import import import_scipy_stats as go; print(go())"
    )
    assert _run(code) == "None"
