"""Train and measure one row of the small CIFAR-10 study again, and compare it with the table.

python data/cifar10-small-study/again.py MODEL_ID --data-dir DIR [--out DIR] [--tolerance 1e-5]. DIR holds the same
images as those of the study (images.csv has their digests).
"""

import sys
from pathlib import Path

from measurebench.studies.again import Again

HERE = Path(__file__).parent
STUDY = Again(
    HERE,
    train=("--grid", str(HERE / "study.toml"), "--dataset", "cifar10", "--device", "cpu"),
    measure=("--dataset", "cifar10", "--measures", "core", "--device", "cpu"),
)

if __name__ == "__main__":
    sys.exit(STUDY.main())
