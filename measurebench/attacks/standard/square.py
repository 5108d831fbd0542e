"""Square Attack (Andriushchenko et al. 2020), one step for many rows, each with its own windows and iteration.

Several candidates of a row can be tried at once: they are those of its next iterations, and the first that improves
the row ends its turn, so that the search is the same however many are tried.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.attacks.standard.rows import Rows, choose, some, unit
from measurebench.core.threat import Norm

__all__ = [
    "Plan",
    "Tried",
    "absorb",
    "corner",
    "first_points",
    "moved",
    "moves",
    "n_first_numbers",
    "n_numbers",
    "pattern",
    "proposals",
    "signs",
    "start",
    "window_sizes",
]

_TINY = 1e-12
# The published schedule of the share of pixels: halved after each of these iterations.
_HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_FIRST_SHARE = 0.8
_TILES = 5


def window_sizes(n_queries: int, shape: Sequence[int], norm: Norm) -> list[int]:
    """Return the side of the window at every iteration, for images of ``shape`` [C, H, W].

    >>> sizes = window_sizes(60, (1, 8, 8), Norm.LINF)
    >>> sizes[0], sizes[11], sizes[51]
    (7, 5, 4)
    """
    _, height, width = shape
    sizes = []
    for iteration in range(n_queries):
        share = _FIRST_SHARE / 2 ** sum(iteration > bound for bound in _HALVED_AFTER)
        side = max(round(math.sqrt(share * height * width)), 1 if norm is Norm.LINF else 3)
        side += norm is Norm.L2 and side % 2 == 0
        sizes.append(min(side, height, width))
    return sizes


def _peak(height: int, width: int) -> Tensor:
    """Return a bump of squares around the middle, of Euclidean length 1: [height, width]."""
    bump = torch.zeros(height, width, dtype=torch.float64)
    top, left = height // 2, width // 2
    for ring in range(max(height // 2, width // 2) + 1):
        rows = slice(max(top, 0), min(top + 2 * ring + 1, height))
        columns = slice(max(left, 0), min(left + 2 * ring + 1, width))
        bump[rows, columns] += 1.0 / (ring + 1) ** 2
        top, left = top - 1, left - 1
    return bump / (bump**2).sum().sqrt()


def pattern(side: int) -> Tensor:
    """Return the published L2 pattern, a bump above its negative, of Euclidean length 1: float64 [side, side]."""
    upper = _peak(side // 2, side) if side > 1 else torch.zeros(0, side, dtype=torch.float64)
    both = torch.cat([upper, -_peak(side - side // 2, side)])
    return both / (both**2).sum().sqrt()


@dataclass(frozen=True)
class Plan:
    """What every iteration needs: ``sizes`` int64 [n_queries + 1] and, for L2, ``patterns`` [side, 2, H, W] by side.

    ``until`` int64 [n_queries + 1] is, for each iteration, the next one whose window has another side.

    The second axis of the patterns is their orientation. ``rows`` [side, first, H] and ``columns`` [side, first, W]
    are 1 in a window of that side that begins there, 0 outside.
    """

    norm: Norm
    radius: float
    n_queries: int
    sizes: Tensor
    until: Tensor
    patterns: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, images: Tensor, norm: Norm, radius: float, n_queries: int) -> "Plan":
        """Return the plan for images [n, C, H, W]."""
        shape = images.shape[1:]
        sides = window_sizes(n_queries, shape, norm)
        used = {*sides, shape[1] // _TILES} if norm is Norm.L2 else set()
        patterns = torch.zeros(max(used, default=0) + 1, 2, shape[1], shape[2], dtype=torch.float64)
        for side in used - {0}:
            patterns[side, 0, :side, :side] = pattern(side)
            patterns[side, 1, :side, :side] = pattern(side).T
        sizes = torch.tensor([*sides, 1], device=images.device)
        rows, columns = (_windows(max(sides), length).to(images) for length in shape[1:])
        until = torch.tensor(_ends(sides), device=images.device)
        return cls(norm, radius, n_queries, sizes, until, patterns.to(images), rows, columns)


def _ends(sides: Sequence[int]) -> list[int]:
    """Return, for each iteration and the end, the next iteration of another side, or the end."""
    ends = [len(sides)] * (len(sides) + 1)
    for i in reversed(range(len(sides) - 1)):
        ends[i] = ends[i + 1] if sides[i] == sides[i + 1] else i + 1
    return ends


def _windows(largest: int, length: int) -> Tensor:
    """Return the windows along one side: [side, first, length]."""
    side, first, place = torch.arange(largest + 1), torch.arange(length + 1), torch.arange(length)
    return ((place >= first[:, None]) & (place < first[:, None] + side[:, None, None])).float()


def n_numbers(n_channels: int, norm: Norm) -> int:
    """Return how many random numbers an iteration uses: corners, orientation (L2), and a sign per channel."""
    return n_channels + (2 if norm is Norm.LINF else 5)


def n_first_numbers(shape: Sequence[int], norm: Norm) -> int:
    """Return how many random numbers the first point of images of ``shape`` [C, H, W] uses."""
    channels, height, width = shape
    if norm is Norm.LINF:
        return channels * width
    side = height // _TILES
    return (height // side) * (width // side) * (1 + channels)


def signs(numbers: Tensor) -> Tensor:
    """Return the signs that uniform numbers [n, ...] stand for; 0 for exactly a half."""
    return torch.sign(2 * numbers - 1)


def first_points(images: Tensor, numbers: Tensor, plan: Plan) -> Tensor:
    """Return where the searches begin [n, C, H, W]: vertical stripes (Linf) or tiles (L2).

    ``numbers`` [n, k] are uniform, k as ``n_first_numbers`` says.
    """
    n, channels, height, width = images.shape
    if plan.norm is Norm.LINF:
        stripes = signs(numbers.reshape(n, channels, 1, width))
        return (images + plan.radius * stripes).clamp(0.0, 1.0)
    side = height // _TILES
    begin = (height - side * _TILES) // 2
    numbers = numbers.reshape(n, height // side, width // side, 1 + channels)
    delta = torch.zeros_like(images)
    for i in range(height // side):
        for j in range(width // side):
            top, left = begin + i * side, begin + j * side
            turned = (numbers[:, i, j, 0] > 0.5).long()
            tile = plan.patterns[side][turned][:, None, : max(height - top, 0), : max(width - left, 0)]
            tile = tile[..., :side, :side] * signs(numbers[:, i, j, 1:])[:, :, None, None]
            delta[:, :, top : top + side, left : left + side] += tile
    return (images + unit(delta) * plan.radius).clamp(0.0, 1.0)


def start(images: Tensor, points: Tensor, plan: Plan) -> Rows:
    """Return the state of searches that begin at ``points`` [n, C, H, W], not yet seen by the network."""
    zeros = torch.zeros(len(images), dtype=images.dtype, device=images.device)
    return {
        "image": images,
        "lower": (images - plan.radius).clamp_min(0.0),
        "upper": (images + plan.radius).clamp_max(1.0),
        "best": points,
        "best_margin": zeros + torch.inf,
        "iteration": torch.zeros_like(zeros, dtype=torch.int64),
    }


def corner(numbers: Tensor, length: int, sizes: Tensor) -> Tensor:
    """Return the first pixel of windows of ``sizes`` int64 [n, k] along a side, by uniform ``numbers`` [n, k].

    As published, the last possible place is never drawn.
    """
    return ((length - sizes).to(numbers.dtype) * numbers).long()


def moves(numbers: Tensor, sizes: Tensor, plan: Plan) -> Rows:
    """Return the moves [n, k, ...] that uniform numbers [n, k, m] stand for, at windows of these ``sizes`` [n, k].

    m is as ``n_numbers`` says. Under Linf a move is a product of a column for each channel, ``down`` [n, k, C, H], and
    of a row, ``across`` [n, k, W]; under L2 it is the numbers themselves and the sizes.
    """
    if plan.norm is Norm.L2:
        return {"numbers": numbers, "sizes": sizes}
    height, width = plan.rows.shape[-1], plan.columns.shape[-1]
    top, left = corner(numbers[..., 0], height, sizes), corner(numbers[..., 1], width, sizes)
    heights = (2.0 * plan.radius) * signs(numbers[..., 2:])
    return {"down": heights[..., None] * plan.rows[sizes, top][..., None, :], "across": plan.columns[sizes, left]}


def proposals(rows: Rows, numbers: Tensor, plan: Plan) -> Tensor:
    """Return the candidates of the rows' next iterations, each as if those before it had failed: [n, k, C, H, W].

    ``numbers`` [n, k, m] are uniform, m as ``n_numbers`` says.
    """
    ahead = rows["iteration"][:, None] + torch.arange(numbers.shape[1], device=numbers.device)
    return moved(rows, moves(numbers, plan.sizes[ahead.clamp_max(plan.n_queries)], plan), plan)


def moved(rows: Rows, made: Rows, plan: Plan) -> Tensor:
    """Return the points [n, k, C, H, W] to which the moves ``made``, as ``moves`` returns them, take the rows' best."""
    if plan.norm is Norm.L2:
        return _bumps(rows, made["numbers"], made["sizes"], plan)
    best = rows["best"][:, None]
    points = torch.addcmul(best, made["down"][..., None], made["across"][..., None, None, :])
    return points.clamp_(rows["lower"][:, None], rows["upper"][:, None])


def _window(top: Tensor, left: Tensor, sizes: Tensor, plan: Plan) -> Tensor:
    """Return the window as a mask, bool [n, k, 1, H, W]."""
    both = plan.rows[sizes, top][..., :, None] * plan.columns[sizes, left][..., None, :]
    return both[:, :, None] > 0


def _bumps(rows: Rows, numbers: Tensor, sizes: Tensor, plan: Plan) -> Tensor:
    """L2: one window takes over the energy of two, with a new pattern added to what it holds."""
    image, best = rows["image"][:, None], rows["best"][:, None]
    height, width = best.shape[-2:]
    delta = best - image
    corners = [corner(numbers[..., i], length, sizes) for i, length in enumerate((height, width, height, width))]
    window = _window(corners[0], corners[1], sizes, plan)
    other = _window(corners[2], corners[3], sizes, plan)
    held = _length((delta * window) ** 2)
    both = _length((delta * (window | other)) ** 2)
    whole = (delta**2).sum((-3, -2, -1), keepdim=True).sqrt()
    bump = _placed(plan.patterns, sizes, numbers[..., 4] > 0.5, corners, (height, width))
    new = (bump * signs(numbers[..., 5:])[..., None, None] + delta / (_TINY + held)) * window
    spare = (plan.radius**2 - whole**2).clamp_min(0.0) / best.shape[2]
    new = new / (_TINY + _length(new**2)) * (spare + both**2).sqrt()
    delta = torch.where(window, new, delta.masked_fill(other, 0.0))
    flat = delta.flatten(0, 1)
    return (image + unit(flat).reshape(delta.shape) * plan.radius).clamp(0.0, 1.0)


def _length(squares: Tensor) -> Tensor:
    """Return the root of the sum over each channel's pixels [n, k, C, 1, 1]."""
    return squares.sum((-2, -1), keepdim=True).sqrt()


def _placed(
    patterns: Tensor, sizes: Tensor, turned: Tensor, corners: Sequence[Tensor], shape: tuple[int, int]
) -> Tensor:
    """Return each candidate's pattern moved to its window, [n, k, 1, H, W]; outside the window it means nothing."""
    height, width = shape
    down = (torch.arange(height, device=sizes.device) - corners[0][..., None]).clamp(0, height - 1)
    right = (torch.arange(width, device=sizes.device) - corners[1][..., None]).clamp(0, width - 1)
    chosen = (sizes * 2 + turned) * (height * width)
    place = chosen[..., None, None] + down[..., :, None] * width + right[..., None, :]
    return patterns.flatten()[place][:, :, None]


@dataclass(frozen=True)
class Tried:
    """Candidates [p, C, H, W] of one pass, the next ones of each row, of these ``labels`` int64 [p].

    ``place`` int64 [n, k] says where the rows' next k candidates are among them, -1 where one was not tried, and
    ``count`` how many were, int64 [n]. It is a number where all rows try as many, whose candidates are then in order.
    """

    points: Tensor
    labels: Tensor
    place: Tensor
    count: Tensor | int

    def by_row(self, values: Tensor) -> Tensor:
        """Return values [p] of the candidates as [n, k]; those of candidates that were not tried mean nothing."""
        return values.reshape(self.place.shape) if isinstance(self.count, int) else values[self.place]


def absorb(rows: Rows, tried: Tried, margins: Tensor, wrong: Tensor | None, active: Tensor, plan: Plan) -> Rows:
    """Return the state after candidates have been seen.

    ``margins`` [p] and ``wrong`` bool [p], misclassified, are those of the candidates; ``wrong`` is None where all
    margins are positive. A candidate improves a row where its margin is lower, or not positive. ``hit`` bool [n], if it
    is there, says which rows moved to a misclassified one: a margin of 0 may be none. Rows that are not ``active``
    bool [n] stay.
    """
    own, before = tried.by_row(margins), rows["best_margin"][:, None]
    better = own < before if wrong is None else (own < before) | (own <= 0)
    better &= active[:, None]
    k = own.shape[1]
    if k > 1:
        ahead = torch.arange(k, device=own.device)
        better &= rows["iteration"][:, None] + ahead < plan.n_queries
        if not isinstance(tried.count, int):
            better &= tried.place >= 0
    used = active if k == 1 else tried.count * active
    changed = {}
    if some(better):
        any_better, at = better.max(1) if k > 1 else (better[:, 0], None)
        chosen = slice(None) if at is None else tried.place.gather(1, at[:, None])[:, 0]
        used = used if at is None else torch.where(any_better, at + 1, used)
        changed["best"] = choose(any_better, tried.points[chosen], rows["best"])
        changed["best_margin"] = torch.where(any_better, margins[chosen], rows["best_margin"])
        if wrong is not None:
            changed["hit"] = any_better & wrong[chosen]
    changed["iteration"] = rows["iteration"] + used
    if k > 1:
        changed["iteration"].clamp_max_(plan.n_queries)
    return rows | changed
