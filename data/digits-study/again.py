"""Train and measure one row of the digits study again, and compare it with the table.

python data/digits-study/again.py MODEL_ID [--out DIR] [--tolerance 1e-5]. The model's training run is repeated (both
of its checkpoints come from it), measured, and every accuracy and measure of the row is set beside the new one. Exit
status 1 when one of them differs by more than the tolerance, relative to the larger of the two.
"""

import sys
from pathlib import Path

from measurebench.studies.again import Again

HERE = Path(__file__).parent
GRID = HERE.parent / "digits" / "study.toml"
STUDY = Again(
    HERE,
    train=("--grid", str(GRID), "--dataset", "digits", "--extra-data", "own"),
    measure=("--dataset", "digits", "--measures", "core"),
)

if __name__ == "__main__":
    sys.exit(STUDY.main())
