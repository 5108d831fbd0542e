"""Processes that are killed outright, at moments nobody chose."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from measurebench.attacks.standard import FolderStore
from measurebench.core.threat import Norm
from tests.attacks.standard.test_invariance import attack, same

SCRIPT = """
import sys
from pathlib import Path
from measurebench.attacks.standard import FolderStore
from measurebench.core.threat import Norm
from tests.attacks.standard.test_invariance import attack
print("begun", flush=True)
attack(Norm.LINF, store=FolderStore(Path(sys.argv[1])), save_seconds=0.0, slots=4)
"""


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_as_an_undisturbed_one(tmp_path: Path) -> None:
    expected, moments = attack(Norm.LINF), random.Random(0)
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, env=os.environ
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    same(attack(Norm.LINF, store=FolderStore(tmp_path)), expected)
