"""Moves of Square under Linf that need no pass of the network, because their outcome is known.

A move is the place of a window and a sign for each channel. It is known to fail where it changes no pixel (all are at
the edge of the ball already), and where the row has tried it since its best point or the side of its window last
changed: the image would be the same. Late in the search nearly all moves on small images are of this kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.attacks.standard import square, streams
from measurebench.attacks.standard.rows import Rows
from measurebench.core.threat import Norm

__all__ = ["LARGEST_TABLE", "Moves", "absorb", "chosen", "n_moves", "proposals", "remembered", "start"]

# Moves that a row can remember: with three channels, those of images of 32x32 pixels.
LARGEST_TABLE = 2**15


def n_moves(shape: Sequence[int]) -> int:
    """Return how many moves there are on images of ``shape`` [C, H, W]: places, and signs, which may be 0."""
    channels, height, width = shape
    return int(height * width * 3**channels)


def _identified(numbers: Tensor, sizes: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the moves int64 [n, a] that uniform numbers [n, a, m] stand for, at windows of these ``sizes`` [n, a]."""
    channels, height, width = shape
    move = square.corner(numbers[..., 0], height, sizes) * width + square.corner(numbers[..., 1], width, sizes)
    signs = square.signs(numbers[..., 2:]).long() + 1
    for channel in range(channels):
        move = 3 * move + signs[..., channel]
    return move


def start(rows: Rows, ahead: int, n_first: int) -> Rows:
    """Return rows [n] that remember nothing yet and draw the numbers of ``ahead`` iterations at a time.

    ``n_first`` is how many numbers of each stream the first point has taken.
    """
    image, zero = rows["image"], torch.zeros_like(rows["iteration"])
    width = square.n_numbers(image.shape[1], Norm.LINF)
    return rows | {
        "drawn": torch.zeros(len(image), ahead, width, dtype=image.dtype),
        "moves": torch.zeros(len(image), ahead, dtype=torch.int64),
        "drawn_from": zero - ahead,
        "stream_from": zero + n_first,
        "tried": torch.full((len(image), n_moves(image.shape[1:])), -1, dtype=torch.int32),
        "period": zero,
        "improved_at": zero,
    }


def _redrawn(rows: Rows, active: Tensor, stream: tuple[object, ...], plan: square.Plan) -> None:
    """Draw new numbers, in place, for the active rows, bool [n], that have used three quarters of theirs."""
    ahead = rows["moves"].shape[1]
    used = rows["iteration"] - rows["drawn_from"]
    index = (active & (4 * used >= 3 * ahead)).nonzero()[:, 0]
    if not len(index):
        return
    since, width = rows["iteration"][index], rows["drawn"].shape[2]
    first = rows["stream_from"][index] + since * width
    numbers = streams.uniform(rows["key"][index], first, (ahead, width), *stream, dtype=rows["drawn"].dtype)
    sizes = plan.sizes[(since[:, None] + torch.arange(ahead)).clamp_max(plan.n_queries)]
    rows["drawn"][index] = numbers
    rows["moves"][index] = _identified(numbers, sizes, rows["image"].shape[1:])
    rows["drawn_from"][index] = since


@dataclass(frozen=True)
class Moves:
    """The moves [m] of one pass: the ``row`` of each, in order, its ``place`` in the row's numbers, and its code.

    ``passed`` int64 [n] is the iteration that a row reaches if none of its moves improves it.
    """

    row: Tensor
    place: Tensor
    move: Tensor
    passed: Tensor


def chosen(rows: Rows, active: Tensor, most: Tensor, stream: tuple[object, ...], plan: square.Plan) -> Moves:
    """Return the next moves of the active rows, bool [n], whose outcome is not known, at most ``most`` [n] of a row.

    Moves beyond the numbers drawn, or of a window of another side, wait for a later pass.
    """
    _redrawn(rows, active, stream, plan)
    now, since = rows["iteration"], rows["drawn_from"]
    offsets = torch.arange(rows["moves"].shape[1])
    end = torch.minimum(plan.until[now] - since, torch.tensor(len(offsets)))
    open_ = (offsets >= (now - since)[:, None]) & (offsets < end[:, None]) & active[:, None]
    open_ &= rows["tried"].gather(1, rows["moves"]) != rows["period"][:, None]
    row, place = open_.nonzero().unbind(1)
    count = open_.sum(1)
    rank = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
    allowed = most[row]
    passed = torch.where(active, since + end, now)
    following = rank == allowed
    passed[row[following]] = since[row[following]] + place[following]
    taken = rank < allowed
    row, place = row[taken], place[taken]
    return Moves(row, place, rows["moves"][row, place], passed)


def proposals(rows: Rows, moves: Moves, plan: square.Plan) -> tuple[Tensor, Tensor]:
    """Return which of the moves [m] the network has to see, int64 [k], and their images [k, C, H, W].

    The others change nothing, or repeat a move of the same row.
    """
    row = moves.row
    part = {name: rows[name][row] for name in ("best", "lower", "upper")}
    part["iteration"] = rows["drawn_from"][row] + moves.place
    points = square.proposals(part, rows["drawn"][row, moves.place][:, None], plan)[:, 0]
    known = (points == part["best"]).flatten(1).all(1)
    code, order = (row * rows["tried"].shape[1] + moves.move).sort(stable=True)
    known[order[1:][code[1:] == code[:-1]]] = True
    needed = (~known).nonzero()[:, 0]
    return needed, points if len(needed) == len(row) else points[needed]


def absorb(rows: Rows, moves: Moves, needed: Tensor, points: Tensor, margins: Tensor, wrong: Tensor | None) -> Rows:
    """Return the state after the ``needed`` moves' ``points`` [k, C, H, W] have been seen, as ``square.absorb`` does.

    ``margins`` [k] and ``wrong`` bool [k] are those of the points, ``wrong`` None where all margins are positive; the
    first that improves a row ends its turn.
    """
    row = moves.row[needed]
    lower = margins < rows["best_margin"][row]
    better = (lower if wrong is None else lower | (margins <= 0)).nonzero()[:, 0]
    first = torch.ones_like(better, dtype=torch.bool)
    first[1:] = row[better][1:] != row[better][:-1]
    at = better[first]
    improved, place = row[at], moves.place[needed[at]]
    reached = rows["drawn_from"][improved] + place + 1
    at_row = (improved,)
    changed = {
        "best": rows["best"].index_put(at_row, points[at]),
        "best_margin": rows["best_margin"].index_put(at_row, margins[at]),
        "iteration": moves.passed.index_put(at_row, reached),
        "improved_at": rows["improved_at"].index_put(at_row, reached),
    }
    if wrong is not None:
        changed["hit"] = torch.zeros_like(rows["done"]).index_put(at_row, wrong[at])
    return rows | changed


def remembered(before: Rows, after: Rows, moves: Moves, plan: square.Plan) -> Rows:
    """Return the rows, which remember the moves of this pass for as long as their outcome stays the same."""
    before["tried"][moves.row, moves.move] = before["period"][moves.row].int()
    improved = after["improved_at"] != before["improved_at"]
    changed = improved | (plan.until[after["iteration"]] != plan.until[before["iteration"]])
    return after | {"period": before["period"] + changed}
