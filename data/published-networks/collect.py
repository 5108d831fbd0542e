"""Write verdicts.parquet beside this file, and the card: python data/published-networks/collect.py RECORDS.

RECORDS is the results folder of the command that the card (README.md) gives.
"""

import argparse
import runpy
from pathlib import Path

from measurebench.studies.collect import write_test_verdicts

HERE = Path(__file__).parent

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path, help="the results folder of `measurebench run`")
    write_test_verdicts(parser.parse_args().records, HERE)
    runpy.run_path(str(HERE / "card.py"), run_name="__main__")
