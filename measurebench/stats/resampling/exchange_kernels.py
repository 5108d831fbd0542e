"""Writes who takes whose value in every draw, from random orders that were drawn before."""

from typing import Any

import numpy as np

from measurebench.core.compiled import compiled

__all__ = ["donate", "exchange", "turn_pairs"]

A = np.ndarray[Any, Any]


@compiled
def donate(donors: A, places: A, sizes: A, first: A, order: A, result: A) -> None:
    """Write into ``result`` [draws, n] whose value each model takes from the donor of its unit.

    ``order`` [models] lists rows unit by unit, ``first`` and ``sizes`` [units] where each starts and how many it has;
    ``donors`` [draws, units] name each unit's donor, ``places`` [draws, models] its models in the order in which they
    give. A donor of fewer models gives from the first again.
    """
    for draw in range(len(donors)):
        mine, given = result[draw], places[draw]
        for unit in range(len(sizes)):
            donor = donors[draw, unit]
            start, size, turn = first[donor], sizes[donor], 0
            for place in range(first[unit], first[unit] + sizes[unit]):
                mine[order[place]] = order[given[start + turn]]
                turn += 1
                if turn == size:
                    turn = 0


@compiled
def exchange(own: A, orders: A, places: A, result: A) -> None:
    """Write into ``result`` [draws, n] whose value each model takes when units of one shape change places.

    ``own`` [classes, units, size] are the rows of each unit, ``orders`` [classes, draws, units] whose place each unit
    takes, ``places`` [draws, units, size] the order of the models inside, as places among all rows of a class; with no
    draws the order stays.
    """
    n_classes, n_units, size = own.shape
    for c in range(n_classes):
        rows = own[c]
        for draw in range(orders.shape[1]):
            mine = result[draw]
            for unit in range(n_units):
                other = orders[c, draw, unit]
                for k in range(size):
                    # The models of a unit give their places among themselves.
                    place = places[draw, other, k] - other * size if len(places) else k
                    mine[rows[unit, k]] = rows[other, place]


@compiled
def turn_pairs(turned: A, sizes: A, places: A) -> None:
    """Write into ``places`` [draws, n] those of things that lie part by part, parts of two turned round where asked.

    ``turned`` [draws, parts] is 1 where a part is; ``sizes`` [parts] are 1 or 2.
    """
    for draw in range(len(turned)):
        start, mine = 0, places[draw]
        for part in range(len(sizes)):
            if sizes[part] == 1:
                mine[start] = start
            else:
                mine[start], mine[start + 1] = start + turned[draw, part], start + 1 - turned[draw, part]
            start += sizes[part]
