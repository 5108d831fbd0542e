"""Checks that third-party measures, attacks, data sets, architectures, objectives and statistics run on themselves.

Each function returns nothing, or raises ContractError, an AssertionError that names the promise that is broken. They
need no pytest, but are meant to be called from tests::

    from measurebench.testing import check_measure

    def test_largest_logit_keeps_the_contract_of_a_measure():
        check_measure("largest_logit")

measurebench tests its own measures with the same checks.
"""

from typing import TYPE_CHECKING

from measurebench.core.importing import names_on_first_use

if TYPE_CHECKING:
    from measurebench.testing.architectures import check_architecture
    from measurebench.testing.attacks import check_attack
    from measurebench.testing.datasets import check_dataset
    from measurebench.testing.measures import MEASURE_PROMISES, check_measure
    from measurebench.testing.objectives import check_objective
    from measurebench.testing.promises import ContractError
    from measurebench.testing.statistics import check_statistic

__all__ = [
    "MEASURE_PROMISES",
    "ContractError",
    "check_architecture",
    "check_attack",
    "check_dataset",
    "check_measure",
    "check_objective",
    "check_statistic",
]

_HOMES = {
    "MEASURE_PROMISES": ".measures",
    "ContractError": ".promises",
    "check_architecture": ".architectures",
    "check_attack": ".attacks",
    "check_dataset": ".datasets",
    "check_measure": ".measures",
    "check_objective": ".objectives",
    "check_statistic": ".statistics",
}

__getattr__ = names_on_first_use(__name__, _HOMES)
