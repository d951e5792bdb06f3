"""Weights added to neighbouring potentials, many at once, held and compared: numba has no vectors of its own.

Written in LLVM's language, which each processor gets its own instructions of. Without a compiler
(NUMBA_DISABLE_JIT) plain Python stands in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

__all__ = [
    "LANES",
    "SORTED_MAX",
    "add_16",
    "add_32",
    "adder_plainly",
    "everywhere",
    "lowest_bit",
    "set_lanes",
    "sort_8",
    "sort_16",
]

LANES = 32
"""Entries at once. Arrays go on by so many behind the last one that is meant: all are read and written."""

SORTED_MAX = 16
"""What `sort_16` sorts at most, reads and writes."""

# It does not say what it takes.
_proxy: Any = cgutils.create_struct_proxy
_SHORT, _LONG = ir.IntType(16), ir.IntType(64)


def everywhere(builder: Any, value: Any, vector: Any) -> Any:
    """A vector with the same value in all lanes."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, one, zeros)


def _at(builder: Any, pointer: Any, index: Any, kind: Any = None) -> Any:
    there = builder.gep(pointer, [index])
    return there if kind is None else builder.bitcast(there, kind.as_pointer())


def _arrivals_adder(module: Any, count: int) -> Any:
    """The function of `add_arrivals`: of its own, so that its loops have all registers."""
    name = f"add_arrivals_{count}"
    if name in module.globals:
        return module.globals[name]
    lanes = ir.VectorType(_SHORT, count)
    pointers = [kind.as_pointer() for kind in (_SHORT, ir.IntType(8), _LONG, _LONG, lanes, ir.IntType(32))]
    kind = ir.FunctionType(ir.VoidType(), [*pointers, _LONG, *[_SHORT] * 4])
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    potentials, weights, starts, blocks, held, masks, number, *given = function.args
    before, outer, inner, after, behind = map(function.append_basic_block, "12345")

    builder = ir.IRBuilder(before)
    bounds = [everywhere(builder, value, lanes) for value in given]
    zero, one = ir.Constant(_LONG, 0), ir.Constant(_LONG, 1)
    held_before = builder.load(held, align=2)
    builder.branch(outer)

    builder.position_at_end(outer)
    arrival, mask_first, held_outer = builder.phi(_LONG), builder.phi(_LONG), builder.phi(lanes)
    start = _at(builder, starts, builder.mul(arrival, ir.Constant(_LONG, 4)))
    first, weight, entry, length = (
        builder.load(_at(builder, start, ir.Constant(_LONG, n))) for n in range(4)
    )
    near = [
        _at(builder, array, index)
        for array, index in (
            (potentials, first), (weights, weight), (blocks, entry), (masks, mask_first),
        )
    ]  # fmt: skip
    builder.branch(inner)

    builder.position_at_end(inner)
    block, held_inner = builder.phi(_LONG), builder.phi(lanes)
    held_after = builder.sub(held_inner, builder.sext(_block(builder, near, block, lanes, bounds), lanes))
    block_after = builder.add(block, one)
    builder.cbranch(builder.icmp_signed("<", block_after, length), inner, after)

    builder.position_at_end(after)
    arrival_after, mask_after = builder.add(arrival, one), builder.add(mask_first, length)
    builder.cbranch(builder.icmp_signed("<", arrival_after, number), outer, behind)
    for phi, origin, begun, source, gone_on in (
        (arrival, before, zero, after, arrival_after), (mask_first, before, zero, after, mask_after),
        (held_outer, before, held_before, after, held_after), (block, outer, zero, inner, block_after),
        (held_inner, outer, held_outer, inner, held_after),
    ):  # fmt: skip
        phi.add_incoming(begun, origin)
        phi.add_incoming(gone_on, source)

    builder.position_at_end(behind)
    builder.store(held_after, held, align=2)
    builder.ret_void()
    return function


def _block(builder: Any, near: Any, block: Any, lanes: Any, bounds: Any) -> Any:
    """Add one block, and keep the mask of what reached the threshold; the lanes that are held."""
    potentials, weights, blocks, masks = near
    bound, ceiling, kept, change = bounds
    narrow, word = ir.VectorType(ir.IntType(8), lanes.count), ir.IntType(32)
    here = _at(builder, blocks, builder.mul(block, ir.Constant(_LONG, 3)))
    there = _at(builder, potentials, builder.load(here), lanes)
    tap = builder.load(_at(builder, here, ir.Constant(_LONG, 1)))
    added = builder.load(_at(builder, weights, tap, narrow), align=1)
    value = builder.add(builder.load(there, align=2), builder.sext(added, lanes))
    below, reached = builder.icmp_signed("<", value, bound), builder.icmp_signed(">=", value, ceiling)
    changed = builder.add(builder.and_(value, kept), change)
    builder.store(builder.select(reached, changed, builder.select(below, bound, value)), there, align=2)
    mask = builder.bitcast(reached, ir.IntType(lanes.count))
    # What address a store has must not hang on a comparison, or what is read next waits for it.
    mask = mask if mask.type == word else builder.zext(mask, word)
    builder.store(mask, _at(builder, masks, block))
    return below


def _adder(count: int) -> Any:
    """`add_arrivals` of so many lanes, as numba takes it."""

    def added(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = [_proxy(signature.args[n])(context, builder, arguments[n]).data for n in range(6)]
        data[4] = builder.bitcast(data[4], ir.VectorType(ir.IntType(16), count).as_pointer())
        builder.call(_arrivals_adder(builder.module, count), [*data, *arguments[6:]])
        return context.get_dummy_value()

    def add_arrivals(
        typing: Any, potentials: Any, weights: Any, starts: Any, blocks: Any, held: Any, masks: Any,
        number: Any, low: Any, high: Any, kept: Any, change: Any,
    ) -> Any:  # fmt: skip
        """Add to potentials what arrivals reach with, block by block of lanes.

        Parameters
        ----------
        potentials, weights
            Of 16 and 8 bits, contiguous; a sum must not leave 16 bits.
        starts
            By arrival: what its potentials and its weights count from, its entry in `blocks`, and how many
            blocks it has, at least one.
        blocks
            Flat, by block three entries: where its potentials and its weights begin; the third is not read.
        held
            How often each lane was held at `low`, in 16 bits: it is added to.
        masks
            By block of all arrivals, the lanes that reached `high`, in 32 bits.
        number
            Of arrivals, at least one.
        kept, change
            What reaches `high` becomes itself and `kept`, bit by bit, plus `change`.
        """
        kind, arrays = types.int16, (potentials, weights, starts, blocks, held, masks)
        return types.void(*arrays, types.int64, kind, kind, kind, kind), added

    return add_arrivals


def _seen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    width: int = signature.args[0].dtype.bitwidth
    vector = ir.VectorType(ir.IntType(width), LANES)
    data = _proxy(signature.args[0])(context, builder, arguments[0]).data
    there = builder.bitcast(builder.gep(data, [arguments[1]]), vector.as_pointer())
    read = builder.load(there, align=width // 8)
    is_set = builder.icmp_unsigned("!=", read, ir.Constant(vector, [0] * LANES))
    return builder.zext(builder.bitcast(is_set, ir.IntType(LANES)), ir.IntType(64))


def _set_lanes(typing: Any, words: Any, first: Any) -> Any:
    """The mask of those of `LANES` whole numbers that are not 0."""
    return types.int64(words, types.int64), _seen


def _lowest_bit(typing: Any, mask: Any) -> Any:
    """The number of the lowest bit that is set; some number where none is."""

    def counted(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), counted


def _sorter(count: int) -> Any:
    """A sort of so many at most, as numba takes it."""

    def sorted_in_place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, bits, word = ir.VectorType(_LONG, count), ir.IntType(count), ir.IntType(32)
        start = _at(builder, _proxy(signature.args[0])(context, builder, arguments[0]).data, arguments[1])
        every = builder.load(builder.bitcast(start, vector.as_pointer()), align=8)
        number = builder.trunc(arguments[2], word)
        beyond = builder.shl(ir.Constant(word, -1), number)
        for n in range(count):
            one = builder.extract_element(every, ir.Constant(word, n))
            is_less = builder.icmp_signed("<", every, everywhere(builder, one, vector))
            less = builder.and_(builder.zext(builder.bitcast(is_less, bits), word), builder.not_(beyond))
            is_meant = builder.icmp_signed("<", ir.Constant(word, n), number)
            place = builder.select(is_meant, builder.ctpop(less), ir.Constant(word, n))
            builder.store(one, _at(builder, start, builder.zext(place, _LONG)))
        return context.get_dummy_value()

    def sort(typing: Any, array: Any, first: Any, number: Any) -> Any:
        """Bring some entries of 64 bits, no two alike, into ascending order, by how many are less than each.

        Without a branch, which could not be foretold. What follows them is read and written too, but stays.
        """
        return types.void(array, types.int64, types.int64), sorted_in_place

    return sort


def adder_plainly(count: int) -> Any:
    """`add_arrivals` in Python."""

    def add_arrivals(
        potentials: Any, weights: Any, starts: Any, blocks: Any, held: Any, masks: Any, number: int, low: int,
        high: int, kept: int, change: int,
    ) -> None:  # fmt: skip
        done = 0
        for first, weight, entry, length in starts.reshape(-1, 4)[:number].tolist():
            for block in range(length):
                at, tap, _ = blocks[entry + 3 * block : entry + 3 * block + 3].tolist()
                masks[done] = 0
                for n in range(count):
                    value = int(potentials[first + at + n]) + int(weights[weight + tap + n])
                    held[n] += value < low
                    if value >= high:
                        masks[done] |= np.uint32(1 << n)
                        value = (value & int(kept)) + int(change)
                    potentials[first + at + n] = max(value, low)
                done += 1

    return add_arrivals


def set_lanes_plainly(words: Any, first: int) -> int:
    """`set_lanes` in Python."""
    return sum(1 << n for n in range(LANES) if words[first + n])


def sort_plainly(array: Any, first: int, number: int) -> None:
    """`sort_8` and `sort_16` in Python."""
    array[first : first + number].sort()


def lowest_bit_plainly(mask: int) -> int:
    """`lowest_bit` in Python."""
    return (int(mask) & -int(mask)).bit_length() - 1


_is_compiled = not getattr(config, "DISABLE_JIT", 0)
add_16, add_32 = (intrinsic(_adder(n)) if _is_compiled else adder_plainly(n) for n in (16, LANES))
lowest_bit: Any = intrinsic(_lowest_bit) if _is_compiled else lowest_bit_plainly
set_lanes: Any = intrinsic(_set_lanes) if _is_compiled else set_lanes_plainly
sort_8, sort_16 = (intrinsic(_sorter(n)) if _is_compiled else sort_plainly for n in (8, SORTED_MAX))
