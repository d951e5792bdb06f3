"""What the spikes of a row add to potentials, and neurons that fire, many at once.

As in `mapper.sim.vector_add`, since numba has no vectors of its own: written in LLVM's language, and in plain
Python for NUMBA_DISABLE_JIT.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

from mapper.sim.vector_add import LANES, everywhere

__all__ = ["MOST_BITS", "TIMES", "fire", "ones", "over_lanes", "spread_row"]

# Maps have multiples of 16 features more often than of 32, and vectors that overlap those just written wait.
_NARROW = 16
TIMES = 3
"""How often a neuron fires in one step, nearly always at most."""
MOST_BITS = 8
_proxy: Any = cgutils.create_struct_proxy
_BYTE, _WORD, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def _long(value: int) -> Any:
    return ir.Constant(_LONG, value)


def _kept_rolled(module: Any, branch: Any) -> None:
    """Keep a loop as it is: it runs a few times for each spike, and unrolled it would save less than it asks.

    The name of a loop is an entry that holds itself: LLVM's own form.
    """
    wish = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    name = module.add_metadata([wish, ir.MetaDataString(module, f"loop {len(module.metadata)}")])
    name.operands = (name, wish)
    branch.set_metadata("llvm.loop", name)


class _Share:
    """What two spikes at one place add: multiples of weights, vector by vector."""

    def __init__(self, builder: Any, factors: Any, run: Any) -> None:
        self.builder, self.vector = builder, ir.VectorType(factors[0].type, _NARROW)
        self.factors = [everywhere(builder, factor, self.vector) for factor in factors]
        self.whole, self.left = builder.and_(run, _long(-_NARROW)), builder.and_(run, _long(_NARROW - 1))
        narrow = ir.VectorType(_BYTE, _NARROW)
        left = everywhere(builder, builder.trunc(self.left, _BYTE), narrow)
        self.is_meant = builder.icmp_signed("<", ir.Constant(narrow, list(range(_NARROW))), left)

    def add(self, arrays: Any, at: Any, *, is_last: bool) -> None:
        builder, align = self.builder, self.vector.element.width // 8
        there, *given = (
            builder.bitcast(builder.gep(array, [at]), self.vector.as_pointer()) for array in arrays
        )
        shares = [
            builder.mul(builder.load(weights, align=align), factor)
            for weights, factor in zip(given, self.factors, strict=True)
        ]
        share = builder.add(*shares)
        if is_last:
            share = builder.select(self.is_meant, share, ir.Constant(self.vector, [0] * _NARROW))
        builder.store(builder.add(builder.load(there, align=align), share), there, align=align)


def _rows(builder: Any, share: _Share, starts: Any, pitches: Any, rows: Any) -> None:
    """`rows` times, at least once: whole vectors, and one of what is left; then on by the pitches."""
    before = builder.block
    row, block, asked, last, after, behind = map(builder.append_basic_block, "abcdef")
    builder.branch(row)

    builder.position_at_end(row)
    number, *at = builder.phi(_LONG), *(builder.phi(start.type) for start in starts)
    builder.cbranch(builder.icmp_signed(">", share.whole, _long(0)), block, asked)

    builder.position_at_end(block)
    entry = builder.phi(_LONG)
    share.add(at, entry, is_last=False)
    entry_after = builder.add(entry, _long(_NARROW))
    again = builder.cbranch(builder.icmp_signed("<", entry_after, share.whole), block, asked)
    _kept_rolled(builder.module, again)
    entry.add_incoming(_long(0), row)
    entry.add_incoming(entry_after, block)

    builder.position_at_end(asked)
    builder.cbranch(builder.icmp_signed(">", share.left, _long(0)), last, after)
    builder.position_at_end(last)
    share.add(at, share.whole, is_last=True)
    builder.branch(after)

    builder.position_at_end(after)
    gone_on = [builder.add(number, _long(1))]
    gone_on += [builder.gep(array, [pitch]) for array, pitch in zip(at, pitches, strict=True)]
    again = builder.cbranch(builder.icmp_signed("<", gone_on[0], rows), row, behind)
    _kept_rolled(builder.module, again)
    for phi, begun, on in zip((number, *at), (_long(0), *starts), gone_on, strict=True):
        phi.add_incoming(begun, before)
        phi.add_incoming(on, after)
    builder.position_at_end(behind)


class _Spike:
    """One of those that were found: its column, its feature and its count."""

    def __init__(self, builder: Any, found: Any, at: Any, counts: Any, magics: Any) -> None:
        features, of_feature, of_place = magics
        entry = builder.zext(builder.load(builder.gep(found, [at])), _LONG)
        place, self.column = (
            builder.lshr(builder.mul(entry, magic), _long(32)) for magic in (of_feature, of_place)
        )
        self.feature = builder.sub(entry, builder.mul(place, features))
        self.count = builder.load(builder.gep(counts, [entry]))


def _row_spreader(module: Any, width: int) -> Any:
    """The function of `spread_row`: of its own, so that its loops have all registers."""
    name = f"spread_row_{width}"
    if name in module.globals:
        return module.globals[name]
    element = ir.IntType(width)
    kinds = [kind.as_pointer() for kind in (element, element, ir.IntType(16), _WORD)]
    kind = ir.FunctionType(_LONG, [*kinds, _LONG, _LONG.as_pointer(), *[_LONG] * 7])
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    potentials, weights, counts, found, number, spans, *sizes = function.args
    magics, (taps, rows, *pitches) = sizes[:3], sizes[3:]
    before, spike = (function.append_basic_block(name) for name in "xy")
    builder = ir.IRBuilder(before)
    builder.branch(spike)

    builder.position_at_end(spike)
    done, reached = builder.phi(_LONG), builder.phi(_LONG)
    done_next = builder.add(done, _long(1))
    # The next one counts if it lies at the same place; else it is 0 times the first one.
    spikes = [_Spike(builder, found, at, counts, magics) for at in (done, done_next)]
    is_next = builder.and_(
        builder.icmp_unsigned("==", spikes[0].column, spikes[1].column),
        builder.icmp_signed("<", done_next, number),
    )
    factors = [spikes[0].count, builder.select(is_next, spikes[1].count, ir.Constant(ir.IntType(16), 0))]
    span = builder.gep(spans, [builder.mul(spikes[0].column, _long(3))])
    first, tap, run = (builder.load(builder.gep(span, [_long(n)])) for n in range(3))
    features_there = [spikes[0].feature, builder.select(is_next, *(s.feature for s in reversed(spikes)))]
    starts = [builder.gep(potentials, [first])]
    starts += [builder.gep(weights, [builder.add(builder.mul(f, taps), tap)]) for f in features_there]
    both = builder.add(*(builder.zext(factor, _LONG) for factor in factors))
    reached_after = builder.add(reached, builder.mul(both, run))
    wide = factors if width == 16 else [builder.zext(factor, element) for factor in factors]
    _rows(builder, _Share(builder, wide, run), starts, [*pitches, pitches[-1]], rows)
    done_after, end = builder.add(done_next, builder.zext(is_next, _LONG)), builder.block
    behind = function.append_basic_block("z")
    builder.cbranch(builder.icmp_signed("<", done_after, number), spike, behind)
    for phi, gone_on in ((done, done_after), (reached, reached_after)):
        phi.add_incoming(_long(0), before)
        phi.add_incoming(gone_on, end)
    builder.position_at_end(behind)
    builder.ret(reached_after)
    return function


def _spread_row(
    typing: Any, potentials: Any, weights: Any, counts: Any, starts: Any, found: Any, number: Any, spans: Any,
    features: Any, of_feature: Any, of_place: Any, taps: Any, rows: Any, pitch: Any, tap_pitch: Any,
) -> Any:  # fmt: skip
    """Add what the spikes of one row cause.

    Parameters
    ----------
    potentials, weights
        Flat, of 16 or of 32 bits both; weights by feature that arrives, row, column and feature of neurons.
    counts
        Flat, of 16 bits: (place, feature) of a row.
    starts
        The first entry of each of the three that is meant.
    found, number
        Where the row has spikes, counted from its start, in 32 bits, and a 0; how many there are, at least 1.
    spans
        Flat, by column: the first potential, the first weight, and how many follow one another.
    features
        That lie at one place.
    of_feature, of_place
        ``ceil(2^32 / n)`` for n features, and for n entries of a row at each column of `spans`: what divides
        by n, exactly while n times the entries of a row is below 2^32.
    taps
        Weights of one feature.
    rows
        Of neurons that are reached, at least one.
    pitch, tap_pitch
        From one of them to the next, in potentials and in weights.

    Returns
    -------
    int
        Of each row of neurons, how many were reached, times the counts that reached them.
    """
    arrays = (potentials, weights, counts)

    def spread(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        def data(n: int) -> Any:
            return _proxy(signature.args[n])(context, builder, given[n]).data

        function = _row_spreader(builder.module, potentials.dtype.bitwidth)
        begun = [builder.gep(data(n), [builder.extract_value(given[3], n)]) for n in range(len(arrays))]
        return builder.call(function, [*begun, data(4), given[5], data(6), *given[7:]])

    long = types.int64
    triple: Any = types.UniTuple
    return long(*arrays, triple(long, 3), found, long, spans, *[long] * 7), spread


def _fired(builder: Any, there: Any, shown: Any, given: Any) -> tuple[Any, Any]:
    """Fire one vector: how often each neuron did, one more where it would go on; and which did."""
    threshold, bound, kept = given
    vector, short = threshold.type, shown.type.pointee
    value = builder.load(there, align=vector.element.width // 8)
    count, rest, overs = ir.Constant(vector, [0] * LANES), value, []
    for _ in range(TIMES + 1):
        overs.append(builder.icmp_signed(">=", rest, threshold))
        count = builder.sub(count, builder.sext(overs[-1], vector))
        if len(overs) <= TIMES:
            rest = builder.select(overs[-1], builder.sub(rest, threshold), rest)
    rest = builder.select(overs[0], builder.and_(rest, kept), rest)
    rest = builder.select(builder.icmp_signed("<", rest, bound), bound, rest)
    builder.store(builder.select(overs[-1], value, rest), there, align=vector.element.width // 8)
    count = count if vector.element.width == 16 else builder.trunc(count, short)
    builder.store(count, shown, align=2)
    return count, builder.bitcast(overs[0], ir.IntType(LANES))


def _firing(module: Any, width: int) -> Any:
    """The function of `fire`."""
    name = f"fire_{width}"
    if name in module.globals:
        return module.globals[name]
    element, short = ir.IntType(width), ir.IntType(16)
    kind = ir.FunctionType(_LONG, [element.as_pointer(), short.as_pointer(), _LONG, *[element] * 3])
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    potentials, spikes, number, *given = function.args
    vector, counts = ir.VectorType(element, LANES), ir.VectorType(short, LANES)
    before, block, behind = map(function.append_basic_block, "abc")
    builder = ir.IRBuilder(before)
    values = [everywhere(builder, value, vector) for value in given]
    builder.branch(block)

    builder.position_at_end(block)
    start, active, most = builder.phi(_LONG), builder.phi(_LONG), builder.phi(counts)
    there, shown = (
        builder.bitcast(builder.gep(array, [start]), kind.as_pointer())
        for array, kind in ((potentials, vector), (spikes, counts))
    )
    count, mask = _fired(builder, there, shown, values)
    start_after = builder.add(start, _long(LANES))
    active_after = builder.add(active, builder.zext(builder.ctpop(mask), _LONG))
    most_after = builder.select(builder.icmp_signed(">", count, most), count, most)
    builder.cbranch(builder.icmp_signed("<", start_after, number), block, behind)
    zeros = ir.Constant(counts, [0] * LANES)
    for phi, begun, on in (
        (start, _long(0), start_after), (active, _long(0), active_after), (most, zeros, most_after),
    ):  # fmt: skip
        phi.add_incoming(begun, before)
        phi.add_incoming(on, block)

    builder.position_at_end(behind)
    result = builder.shl(active_after, _long(MOST_BITS))
    for times in range(TIMES + 1):
        over = builder.icmp_signed(">", most_after, ir.Constant(counts, [times] * LANES))
        is_over = builder.icmp_unsigned(
            "!=", builder.bitcast(over, ir.IntType(LANES)), ir.Constant(ir.IntType(LANES), 0)
        )
        result = builder.add(result, builder.zext(is_over, _LONG))
    builder.ret(result)
    return function


def _fire(
    typing: Any, potentials: Any, spikes: Any, place: Any, number: Any, high: Any, low: Any, kept: Any
) -> Any:
    """Fire neurons, each `TIMES` times at most, and apply the lower bound.

    Neurons that would fire more often stay as they are.

    Parameters
    ----------
    potentials
        Flat, of 16 or 32 bits; what follows the last one is below the threshold, for `LANES`.
    spikes, place
        Of 16 bits; from `place` on it is written how often each neuron fired, and as many more entries.
    number
        At least one.
    low
        Below the threshold.
    kept
        -1 to subtract the threshold, 0 to become 0.

    Returns
    -------
    int
        How many fired, and in the lowest `MOST_BITS` bits the most times, one more where some would go on.
    """
    long, element = types.int64, ir.IntType(potentials.dtype.bitwidth)

    def fired(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        there, shown = (_proxy(signature.args[n])(context, builder, given[n]).data for n in range(2))
        narrow = [builder.trunc(value, element) for value in given[4:]]
        function = _firing(builder.module, element.width)
        return builder.call(function, [there, builder.gep(shown, [given[2]]), given[3], *narrow])

    return long(potentials, spikes, *[long] * 5), fired


def _over_lanes(typing: Any, values: Any, first: Any, least: Any) -> Any:
    """The mask of those of `LANES` whole numbers that are not below `least`."""
    long, element = types.int64, ir.IntType(values.dtype.bitwidth)

    def compared(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        vector, data = ir.VectorType(element, LANES), _proxy(values)(context, builder, given[0]).data
        there = builder.bitcast(builder.gep(data, [given[1]]), vector.as_pointer())
        bound = everywhere(builder, builder.trunc(given[2], element), vector)
        is_over = builder.icmp_signed(">=", builder.load(there, align=element.width // 8), bound)
        return builder.zext(builder.bitcast(is_over, ir.IntType(LANES)), _LONG)

    return long(values, long, long), compared


def _ones(typing: Any, mask: Any) -> Any:
    """How many bits of a mask are set."""

    def counted(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.ctpop(given[0])

    return types.int64(types.int64), counted


def spread_row_plainly(
    potentials: Any, weights: Any, counts: Any, starts: Any, found: Any, number: int, spans: Any,
    features: int, of_feature: int, of_place: int, taps: int, rows: int, pitch: int, tap_pitch: int,
) -> int:  # fmt: skip
    """`spread_row` in Python."""
    reached = 0
    for entry in found[:number].tolist():
        feature = entry - (entry * of_feature >> 32) * features
        first, tap, run = spans[3 * (entry * of_place >> 32) :][:3].tolist()
        count, weight = counts[starts[2] + entry], starts[1] + feature * taps + tap
        for row in range(rows):
            at, given = starts[0] + first + row * pitch, weight + row * tap_pitch
            potentials[at : at + run] += count * weights[given : given + run]
        reached += int(count) * run
    return reached


def fire_plainly(
    potentials: Any, spikes: Any, place: int, number: int, high: int, low: int, kept: int
) -> int:
    """`fire` in Python."""
    active, most = 0, 0
    for n, value in enumerate(potentials[:number].tolist()):
        count = min(max(value // high, 0), TIMES + 1)
        spikes[place + n] = count
        active, most = active + (count > 0), max(most, count)
        if count <= TIMES:
            potentials[n] = max((value - count * high) & kept if count else value, low)
    return active << MOST_BITS | most


def over_lanes_plainly(values: Any, first: int, least: int) -> int:
    """`over_lanes` in Python."""
    return sum(1 << n for n in range(LANES) if values[first + n] >= least)


def ones_plainly(mask: int) -> int:
    """`ones` in Python."""
    return int(mask).bit_count()


_is_compiled = not getattr(config, "DISABLE_JIT", 0)
spread_row: Any = intrinsic(_spread_row) if _is_compiled else spread_row_plainly
fire: Any = intrinsic(_fire) if _is_compiled else fire_plainly
over_lanes: Any = intrinsic(_over_lanes) if _is_compiled else over_lanes_plainly
ones: Any = intrinsic(_ones) if _is_compiled else ones_plainly
