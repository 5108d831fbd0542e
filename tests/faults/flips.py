"""``python -m tests.faults.flips``: changes bytes of every file of a run, and counts what ``verify`` misses."""

import sys
import tempfile
from pathlib import Path

from measurebench.checks.stored import verify_folder
from tests.conftest import trust
from tests.faults.operations import Run, content

_TRIED = 120  # bytes of each file


def main() -> int:
    """Print the number of changed bytes, and how many were not noticed; return 1 if there are any."""
    with tempfile.TemporaryDirectory() as folder:
        trust(Path(folder))
        operation, out = Run(Path(folder) / "inputs"), Path(folder) / "out"
        operation.do(out)
        tried, missed = 0, []
        for name, before in content(out).items():
            if name in ("lock", "log.jsonl"):  # for people: who writes, and what was done when
                continue
            for place in range(0, len(before), max(1, len(before) // _TRIED)):
                changed = bytearray(before)
                changed[place] ^= 1 << (place % 8)
                (out / name).write_bytes(changed)
                tried += 1
                missed += [] if _noticed(out, operation) else [(name, place)]
            (out / name).write_bytes(before)
    print(f"{tried} changed bytes, {len(missed)} not noticed: {missed[:5]}")
    return 1 if missed else 0


def _noticed(out: Path, operation: Run) -> bool:
    """Tell whether a change is told by ``verify``, or refused, or changes nothing that a user reads."""
    try:
        return bool(verify_folder(out)) or operation.state(out) == operation.states[1]
    except ValueError:
        return True


if __name__ == "__main__":
    sys.exit(main())
