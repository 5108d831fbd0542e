"""``python -m tests.faults [NAME ...]``: tries every step of every operation, and prints the table of promises."""

import sys
import tempfile
from pathlib import Path

from tests.conftest import trust
from tests.faults.attempts import Attempt, attempts, table
from tests.faults.operations import OPERATIONS


def main(names: list[str]) -> int:
    """Print the table and what was broken; return 1 if anything was."""
    found: list[Attempt] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        trust(Path(folder))
        for kind in OPERATIONS:
            if names and kind.name not in names:
                continue
            place = Path(folder) / kind.name
            tried = list(attempts(kind(place / "inputs"), place / "work" / "out"))
            found += tried
            for attempt in tried:
                if attempt.broken:
                    print(f"{attempt.operation}, {attempt.fault} at step {attempt.step}: {attempt.broken}")
            print(f"{kind.name}: {len(tried)} attempts", file=sys.stderr, flush=True)
    print(table(found))
    n_broken = sum(bool(attempt.broken) for attempt in found)
    print(f"\n{len(found)} attempts, {n_broken} failures")
    return 1 if n_broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
