"""Counts of bits inside compiled loops."""

from typing import Any

__all__ = ["LANES", "add_shared_bits", "ones_in"]

LANES = 8
"""Words that ``add_shared_bits`` counts side by side: eight of 64 bits fill the widest vector of common processors."""


def _ones_in() -> Any:
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def ones_in(_: Any, word: Any) -> Any:
        """Return how many bits of a whole number are set."""
        return word(word), lambda _context, builder, _signature, args: builder.ctpop(args[0])

    return ones_in


def _add_shared_bits() -> Any:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    lanes = ir.VectorType(ir.IntType(64), LANES)
    unknown, first = ir.Constant(lanes, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    to_all = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        """Write the loop over words with vectors, since the compiler makes none of the plain loop."""
        counts, own, seen = (
            context.make_array(k)(context, builder, a) for k, a in zip(signature.args, args, strict=True)
        )
        kind = ir.FunctionType(lanes, [lanes])
        ones = cgutils.get_or_insert_function(builder.module, kind, f"llvm.ctpop.v{LANES}i64")
        total, rows = (builder.bitcast(array.data, lanes.as_pointer()) for array in (counts, own))
        found = cgutils.alloca_once_value(builder, builder.load(total, align=8))
        with cgutils.for_range(builder, builder.extract_value(seen.shape, 0)) as word:
            one = builder.load(builder.gep(seen.data, [word.index]))
            same = builder.shuffle_vector(builder.insert_element(unknown, one, first), unknown, to_all)
            row = builder.load(builder.gep(rows, [word.index]), align=8)
            count = builder.call(ones, [builder.and_(row, same)])
            builder.store(builder.add(builder.load(found), count), found)
        builder.store(builder.load(found), total, align=8)
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def add_shared_bits(_: Any, counts: Any, own: Any, seen: Any) -> Any:
        """Add to ``counts`` [LANES] the bits set both in ``own`` [words, LANES] and in ``seen`` [words]."""
        return types.none(counts, own, seen), generate

    return add_shared_bits


ones_in = _ones_in()
"""How many bits of a 64-bit word are set; only inside compiled functions."""

add_shared_bits = _add_shared_bits()
"""Adds to counts [LANES] the bits set both in rows [words, LANES] and in words [words]; only inside compiled functions.

All arrays are of 64-bit words, and contiguous.
"""
