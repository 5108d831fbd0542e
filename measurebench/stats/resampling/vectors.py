"""Sums of rows of whole numbers inside compiled loops, one instruction for many draws.

The compiler makes vectors of plain loops as well, but keeps a running sum in memory and checks at every row whether
two rows overlap. All arrays are contiguous; rows hold ``BLOCK`` numbers of 16 or of 32 bits.
"""

from typing import Any

import numpy as np

__all__ = ["ALIGNMENT", "BLOCK", "add_rows", "aligned", "dot_rows", "running_rows"]

BLOCK = 64
"""Bootstrap draws that are counted side by side: rows of so many lie in the first cache for some hundred models."""

ALIGNMENT = 64
"""Bytes of a line of the cache, and of the widest vector: rows that start elsewhere are read in two steps."""


def aligned(shape: tuple[int, ...], kind: Any) -> np.ndarray[Any, Any]:
    """Return zeros, [*shape], whose first number lies at the start of a line of the cache.

    >>> aligned((2, 64), np.int16).ctypes.data % ALIGNMENT
    0
    """
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    room = np.zeros(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return np.asarray(room[start : start + size].view(kind).reshape(shape))


class _Rows:
    """An array of rows as pointers to vectors, for the functions that write machine code."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any) -> None:
        from llvmlite import ir

        data = context.make_array(kind)(context, builder, array).data
        self.builder, self.number = builder, data.type.pointee
        lanes = ALIGNMENT * 8 // self.number.width
        self.vector, self.per_row = ir.VectorType(self.number, lanes), BLOCK // lanes
        self.first = builder.bitcast(data, self.vector.as_pointer())
        self.size = ir.Constant(ir.IntType(64), self.per_row)

    def at(self, row: Any) -> list[Any]:
        """Return the pointers to the vectors of a row."""
        start = self.builder.gep(self.first, [self.builder.mul(row, self.size)])
        return [self.builder.gep(start, [self.size.type(k)]) for k in range(self.per_row)]

    def load(self, row: Any) -> list[Any]:
        """Return the vectors of a row."""
        return [self.builder.load(place, align=self.number.width // 8) for place in self.at(row)]

    def store(self, vectors: Any, row: Any) -> None:
        """Write the vectors of a row."""
        for vector, place in zip(vectors, self.at(row), strict=True):
            self.builder.store(vector, place, align=self.number.width // 8)


def _loop(builder: Any, start: Any, stop: Any) -> Any:
    """Open a loop over whole numbers; gives the number."""
    from numba.core import cgutils

    return cgutils.for_range_slice(builder, start, stop, start.type(1))


def _entry(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    """Return an entry of an array of numbers, as a whole number of 64 bits."""
    from llvmlite import ir

    data = context.make_array(kind)(context, builder, array).data
    number = builder.load(builder.gep(data, [place]))
    return builder.zext(number, ir.IntType(64)) if number.type.width < 64 else number


def _sums(builder: Any, vector: Any, n: int) -> list[Any]:
    """Return places for so many sums, which are zero; they become registers."""
    from numba.core import cgutils

    return [cgutils.alloca_once_value(builder, vector(None)) for _ in range(n)]


def _add_rows() -> Any:
    from numba import types
    from numba.extending import intrinsic

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        into, source = (_Rows(context, builder, kinds[k], args[k]) for k in (0, 2))
        with _loop(builder, *(builder.extract_value(args[4], k) for k in (0, 1))) as (k, _):
            row, other = (_entry(context, builder, kinds[a], args[a], k) for a in (1, 3))
            both = zip(into.load(row), source.load(other), strict=True)
            into.store([builder.add(mine, theirs) for mine, theirs in both], row)
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def add_rows(_: Any, into: Any, rows: Any, source: Any, others: Any, _span: Any) -> Any:
        return types.none(into, rows, source, others, types.UniTuple(types.int64, 2)), generate

    return add_rows


def _running_rows() -> Any:
    from numba import types
    from numba.extending import intrinsic

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        into, source = (_Rows(context, builder, signature.args[k], args[k]) for k in (0, 1))
        sums = _sums(builder, source.vector, source.per_row)
        for place in sums:  # anew wherever the function is called in a loop
            builder.store(source.vector(None), place)
        start, stop = (builder.extract_value(args[3], k) for k in (0, 1))
        into.store([builder.load(place) for place in sums], start.type(0))
        with _loop(builder, start, stop) as (k, _):
            row = source.load(_entry(context, builder, signature.args[2], args[2], k))
            for place, vector in zip(sums, row, strict=True):
                builder.store(builder.add(builder.load(place), vector), place)
            after = builder.add(builder.sub(k, start), k.type(1))
            into.store([builder.load(place) for place in sums], after)
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def running_rows(_: Any, into: Any, source: Any, others: Any, _span: Any) -> Any:
        return types.none(into, source, others, types.UniTuple(types.int64, 2)), generate

    return running_rows


def _dot_rows() -> Any:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        weights, values = (_Rows(context, builder, kinds[k], args[k]) for k in (1, 3))
        wide = ir.IntType(2 * weights.number.width)
        vector = ir.VectorType(wide, weights.vector.count)
        sums = _sums(builder, vector, weights.per_row)
        for place in sums:
            builder.store(vector(None), place)
        n = builder.extract_value(context.make_array(kinds[2])(context, builder, args[2]).shape, 0)
        with _loop(builder, n.type(0), n) as (k, _):
            both = zip(weights.load(_entry(context, builder, kinds[2], args[2], k)), values.load(k), strict=True)
            for place, (own, value) in zip(sums, both, strict=True):
                product = builder.mul(builder.sext(own, vector), builder.sext(value, vector))
                builder.store(builder.add(builder.load(place), product), place)
        total = builder.bitcast(context.make_array(kinds[0])(context, builder, args[0]).data, vector.as_pointer())
        for k, place in enumerate(sums):
            builder.store(builder.load(place), builder.gep(total, [ir.IntType(64)(k)]), align=wide.width // 8)
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def dot_rows(_: Any, sums: Any, weights: Any, others: Any, values: Any) -> Any:
        return types.none(sums, weights, others, values), generate

    return dot_rows


add_rows = _add_rows()
"""``add_rows(into, rows, source, others, (start, stop))`` adds source[others[k]] to into[rows[k]] for these k."""

running_rows = _running_rows()
"""``running_rows(into, source, others, (start, stop))`` writes sums of source[others[k]] into ``into``.

Row i becomes the sum over the first i of these k, from row 0, which is zero, to row stop - start.
"""

dot_rows = _dot_rows()
"""``dot_rows(sums, weights, others, values)`` writes the sums over k of weights[others[k]] values[k] into sums [BLOCK].

``sums`` are of twice as many bits as the rows.
"""
