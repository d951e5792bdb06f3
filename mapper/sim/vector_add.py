"""Weights added to neighbouring potentials, many at once, held and compared: numba has no vectors of its own.

Written in LLVM's language, which each processor gets its own instructions of. Without a compiler
(NUMBA_DISABLE_JIT) plain Python stands in.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

__all__ = ["LANES", "add_lanes", "add_lanes_plainly", "add_share", "lowest_bit", "set_lanes"]

LANES = 32
"""Entries at once. Arrays go on by so many behind the last one that is meant: all are read and written."""

# Neither says what it takes.
_proxy: Any = cgutils.create_struct_proxy
_two: Any = types.UniTuple


def _added(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    potentials, first, weights, weight, left, low, high = arguments
    bits, weight_bits = (signature.args[n].dtype.bitwidth for n in (0, 2))
    vector, short, long = ir.VectorType(ir.IntType(bits), LANES), ir.IntType(32), ir.IntType(64)

    def place(number: int, array: Any, index: Any, width: int) -> Any:
        data = _proxy(signature.args[number])(context, builder, array).data
        pointer = ir.VectorType(ir.IntType(width), LANES).as_pointer()
        return builder.bitcast(builder.gep(data, [index]), pointer)

    def everywhere(value: Any) -> Any:
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(short, 0))
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(short, LANES), [0] * LANES))

    there = place(0, potentials, first, bits)
    numbers, zeros = (ir.Constant(vector, values) for values in (list(range(LANES)), [0] * LANES))
    fewer = builder.icmp_signed("<", left, ir.Constant(long, LANES))
    count = builder.trunc(builder.select(fewer, left, ir.Constant(long, LANES)), ir.IntType(bits))
    is_meant = builder.icmp_signed("<", numbers, everywhere(count))
    weight_there = place(2, weights, weight, weight_bits)
    added = builder.sext(builder.load(weight_there, align=weight_bits // 8), vector)
    before = builder.load(there, align=bits // 8)
    value = builder.add(before, builder.select(is_meant, added, zeros))
    bound = everywhere(low)
    below = builder.and_(builder.icmp_signed("<", value, bound), is_meant)
    reached = builder.and_(builder.icmp_signed(">=", value, everywhere(high)), is_meant)
    builder.store(builder.select(below, bound, value), there, align=bits // 8)
    mask, count_held = builder.bitcast(reached, short), builder.ctpop(builder.bitcast(below, short))
    given = [builder.zext(value, long) for value in (mask, count_held)]
    return context.make_tuple(builder, signature.return_type, given)


def _add_lanes(
    typing: Any, potentials: Any, first: Any, weights: Any, weight: Any, left: Any, low: Any, high: Any
) -> Any:
    """Add weights to `left` potentials, `LANES` at most; the mask of those at `high`, and how many were held.

    Parameters
    ----------
    potentials, weights
        Signed, contiguous; a sum must not leave the type of the potentials.
    first, weight
        Where they begin.
    low, high
        Of the potentials' type. What would fall below `low` is held there.
    """
    kind, long = potentials.dtype, types.int64
    given = (potentials, long, weights, long, long, kind, kind)
    return _two(long, 2)(*given), _added


def _shared(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    currents, first, weights, weight, left, factor = arguments
    long, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)
    narrow = ir.VectorType(ir.IntType(8), LANES)

    def place(number: int, array: Any, index: Any) -> Any:
        data = _proxy(signature.args[number])(context, builder, array).data
        return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

    def everywhere(value: Any, kind: Any) -> Any:
        one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, one, zeros)

    fewer = builder.icmp_signed("<", left, ir.Constant(long, LANES))
    count = builder.trunc(builder.select(fewer, left, ir.Constant(long, LANES)), ir.IntType(8))
    is_meant = builder.icmp_signed("<", ir.Constant(narrow, list(range(LANES))), everywhere(count, narrow))
    share = builder.fmul(builder.load(place(2, weights, weight), align=4), everywhere(factor, vector))
    share = builder.select(is_meant, share, ir.Constant(vector, [0.0] * LANES))
    there = place(0, currents, first)
    builder.store(builder.fadd(builder.load(there, align=4), share), there, align=4)
    return context.get_dummy_value()


def _add_share(
    typing: Any, currents: Any, first: Any, weights: Any, weight: Any, left: Any, factor: Any
) -> Any:
    """Add a multiple of weights to `left` currents, `LANES` at most, all in single precision."""
    long = types.int64
    return types.void(currents, long, weights, long, long, types.float32), _shared


def _seen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    vector = ir.VectorType(ir.IntType(32), LANES)
    data = _proxy(signature.args[0])(context, builder, arguments[0]).data
    there = builder.bitcast(builder.gep(data, [arguments[1]]), vector.as_pointer())
    is_set = builder.icmp_unsigned("!=", builder.load(there, align=4), ir.Constant(vector, [0] * LANES))
    return builder.zext(builder.bitcast(is_set, ir.IntType(LANES)), ir.IntType(64))


def _set_lanes(typing: Any, words: Any, first: Any) -> Any:
    """The mask of those of `LANES` words of 32 bits that are not 0."""
    return types.int64(words, types.int64), _seen


def _lowest_bit(typing: Any, mask: Any) -> Any:
    """The number of the lowest bit that is set, of a mask that is not 0."""

    def counted(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), counted


def add_lanes_plainly(
    potentials: Any, first: int, weights: Any, weight: int, left: int, low: int, high: int
) -> tuple[int, int]:
    """`add_lanes` in Python."""
    reached = held = 0
    for n in range(min(left, LANES)):
        value = int(potentials[first + n]) + int(weights[weight + n])
        reached |= int(value >= high) << n
        held += value < low
        potentials[first + n] = max(value, low)
    return reached, held


def add_share_plainly(currents: Any, first: int, weights: Any, weight: int, left: int, factor: Any) -> None:
    """`add_share` in Python."""
    for n in range(min(left, LANES)):
        currents[first + n] += factor * weights[weight + n]


def set_lanes_plainly(words: Any, first: int) -> int:
    """`set_lanes` in Python."""
    return sum(1 << n for n in range(LANES) if words[first + n])


def lowest_bit_plainly(mask: int) -> int:
    """`lowest_bit` in Python."""
    return (int(mask) & -int(mask)).bit_length() - 1


_is_compiled = not getattr(config, "DISABLE_JIT", 0)
add_lanes: Any = intrinsic(_add_lanes) if _is_compiled else add_lanes_plainly
add_share: Any = intrinsic(_add_share) if _is_compiled else add_share_plainly
lowest_bit: Any = intrinsic(_lowest_bit) if _is_compiled else lowest_bit_plainly
set_lanes: Any = intrinsic(_set_lanes) if _is_compiled else set_lanes_plainly
