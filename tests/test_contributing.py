"""CONTRIBUTING.md shows a measure that works as it stands, in a file given with ``--plugin``."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_measure_of_the_guide_keeps_the_contract(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert block
    (tmp_path / "largest_logit.py").write_text(block[1])
    code = (
        "import measurebench; from measurebench.testing import check_measure;"
        "measurebench.load_plugin('largest_logit.py'); check_measure('largest_logit')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )  # a process of its own, since a measure stays registered
    assert done.returncode == 0, done.stderr
