"""Replays a network's passes on a GPU as CUDA graphs, so that small networks do not wait for the host.

A graph repeats the kernels of one pass at one batch size; the host then starts one graph in place of some hundred
kernels. The environment variable MEASUREBENCH_CUDA_GRAPHS=0 switches it off. Where a network cannot be captured, or a
replay gives other numbers, its passes run as they are.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SWITCH", "Replayed", "bucket", "graphs_wanted"]

SWITCH = "MEASUREBENCH_CUDA_GRAPHS"
_AFTER = 3  # passes of a size before it is captured: a capture costs about as much as three passes
_WARM = 2  # passes before a capture, in which libraries choose their kernels and take their memory
_SAME = 1e-3  # a replay runs the same kernels; what differs by more is a network that is not the same at every call
Network = Callable[[Tensor], Tensor] | nn.Module
Back = Callable[[Tensor], Tensor]


def graphs_wanted(points: Tensor) -> bool:
    """Return whether passes at these points [n, ...] may be replayed: on a GPU, unless switched off."""
    return points.is_cuda and os.environ.get(SWITCH, "1") != "0"


def bucket(n: int) -> int:
    """Return the size of the graph for a batch of n images: at most a quarter larger, so that few sizes are captured.

    >>> [bucket(n) for n in (1, 16, 17, 100, 512, 513)]
    [16, 16, 20, 112, 512, 640]
    """
    step = max(4, 1 << max(0, (n - 1).bit_length() - 3))
    return max(16, -(-n // step) * step)


class _Graph:
    """One pass at one batch size. ``points`` [n, ...] are the first images of the batch; memory is kept and reused."""

    def __init__(self, network: Network, points: Tensor, size: int, pool: Any, gradients: bool) -> None:
        rest = points[-1:].expand(size - len(points), *points.shape[1:])
        self.points = torch.cat([points.detach(), rest]).requires_grad_(gradients)
        self.forward, self.backward, self.pool = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph(), pool
        with torch.set_grad_enabled(gradients):
            self._warm(network, gradients)
            with torch.cuda.graph(self.forward, pool=pool):
                self.logits = network(self.points)
        if gradients:
            self.slope = torch.zeros_like(self.logits)
            with torch.cuda.graph(self.backward, pool=pool):
                (self.gradient,) = torch.autograd.grad(self.logits, self.points, self.slope)
        self.logits = self.logits.detach()

    def _warm(self, network: Network, gradients: bool) -> None:
        """Run passes on a stream of their own, as the capture will."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM):
                logits = network(self.points)
                if gradients:
                    torch.autograd.grad(logits, self.points, torch.ones_like(logits))
        torch.cuda.current_stream().wait_stream(stream)

    def run(self, points: Tensor) -> Tensor:
        """Return the logits [n, K] at points [n, ...]; ``back`` then goes back from them."""
        with torch.no_grad():
            self.points[: len(points)].copy_(points)
        self.forward.replay()
        return self.logits[: len(points)].clone()

    def back(self, slope: Tensor) -> Tensor:
        """Return the gradient [n, ...] of what has the derivative ``slope`` [n, K] by the last logits."""
        self.slope[: len(slope)].copy_(slope)
        self.backward.replay()
        return self.gradient[: len(slope)].clone()


class Replayed:
    """A network whose passes are replayed as graphs where that is possible, and run as they are elsewhere.

    The weights and buffers may change in place between passes; which kernels run must not.
    """

    def __init__(self, network: Network, graphs: bool = True) -> None:
        self.network, self.allowed = network, graphs
        self._seen: dict[tuple[Any, ...], int] = {}
        self._graphs: dict[tuple[Any, ...], _Graph | None] = {}
        self._pool: Any = None

    def logits(self, points: Tensor) -> Tensor:
        """Return the logits [n, K] at points [n, ...], without gradients."""
        graph = self._graph(points, gradients=False)
        with torch.no_grad():
            logits: Tensor = self.network(points) if graph is None else graph.run(points)
        return logits

    def forward(self, points: Tensor) -> tuple[Tensor, Back]:
        """Return the logits [n, K] at points [n, ...], and a function from their slope [n, K] to the gradient there.

        The function must be called before the next pass. It returns zeros where the logits do not depend on the points.
        """
        graph = self._graph(points, gradients=True)
        if graph is not None:
            return graph.run(points), graph.back
        with torch.enable_grad():
            leaf = points.detach().requires_grad_()
            logits: Tensor = self.network(leaf)
        if not logits.requires_grad:
            return logits, lambda _: torch.zeros_like(points)

        def back(slope: Tensor) -> Tensor:
            if points.device.type == "cpu":
                # A slope passed to grad makes it import sympy, a second for a process. On a GPU every pass would pay
                # for the way around it, four operations more.
                with torch.enable_grad():
                    total = (logits * slope).sum()
                (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True)
            else:
                (gradient,) = torch.autograd.grad(logits, leaf, slope, allow_unused=True)
            return torch.zeros_like(points) if gradient is None else gradient

        return logits.detach(), back

    def _graph(self, points: Tensor, gradients: bool) -> _Graph | None:
        """Return the graph for a batch like this one, made at its third use, or None."""
        if not self.allowed or not graphs_wanted(points):
            return None
        size = bucket(len(points))
        key = size, gradients, tuple(points.shape[1:]), points.dtype, points.device
        if key not in self._graphs:
            self._seen[key] = self._seen.get(key, 0) + 1
            if self._seen[key] <= _AFTER:
                return None
            self._graphs[key] = self._captured(points, size, gradients)
        return self._graphs[key]

    def _captured(self, points: Tensor, size: int, gradients: bool) -> _Graph | None:
        """Return a new graph, or None where capturing fails or a replay differs from the pass itself."""
        try:
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            graph = _Graph(self.network, points, size, self._pool, gradients)
            same = self._repeats(graph, points, gradients)
        except Exception:  # noqa: BLE001  a network may do what cannot be captured in any way; it then runs as it is
            self.allowed = False
            with suppress(RuntimeError):
                torch.cuda.synchronize(points.device)
            return None
        self.allowed = same
        return graph if same else None

    def _repeats(self, graph: _Graph, points: Tensor, gradients: bool) -> bool:
        """Tell whether a graph gives the numbers of the pass itself at points [n, ...], forth and back."""
        n, found = len(points), graph.run(points)
        with torch.set_grad_enabled(gradients):
            leaf = graph.points.detach().requires_grad_(gradients)
            logits: Tensor = self.network(leaf)
        pairs = [(found, logits.detach()[:n])]
        if gradients:
            (expected,) = torch.autograd.grad(logits, leaf, torch.ones_like(logits))
            pairs.append((graph.back(torch.ones_like(found)), expected[:n]))
        return all(_near(a, b) for a, b in pairs)


def _near(found: Tensor, expected: Tensor) -> bool:
    """Compare two tensors [...] of one shape, to a share of the largest entry; NaN where the other is NaN agrees."""
    largest = expected.nan_to_num(0.0, 0.0, 0.0).abs().amax().clamp_min(1e-12)
    return torch.allclose(found, expected, rtol=_SAME, atol=_SAME * float(largest), equal_nan=True)
