"""One core for the pipeline: its arrays, filled up to whole vectors, and how spikes come to it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapper.emit.shared.graph import Link
from mapper.sim.event_kernel import CORE, COUNT
from mapper.sim.event_tables import Chip, Rules
from mapper.sim.vector_add import LANES

__all__ = ["ALL", "ARRIVED", "CoreArrays", "Prepared", "Way", "core_arrays_of", "way_to"]

_WEIGHT_MIN, _WEIGHT_MAX = -128, 127
_STATE_MIN, _STATE_MAX = -(1 << 15), (1 << 15) - 1
# The lower bound stands one weight above the least number of 16 bits: sums below it are still told apart.
_BOUND = _STATE_MIN - _WEIGHT_MIN
_WIDEST = _STATE_MAX - _WEIGHT_MAX - _BOUND
# Entries of a narrow vector; bytes of a cache line.
_NARROW, _LINE = 16, 64
# Arrivals that are added at once, and their blocks at most: what these leave stays in the first cache.
_AT_ONCE, _BLOCKS = 64, 2048


class CoreArrays(NamedTuple):
    """One core as `run_core` takes it: potentials in 16 bits, less `offset`.

    Attributes
    ----------
    row
        The columns of `CORE`.
    weights, kills, potentials
        Features filled up to `wide` of them, so that all lie where whole vectors do.
    spans
        Flat, four by axis (y, x) and arriving coordinate: what it adds to where potentials and weights begin
        and to the first place, packed; and along y vectors of one column, along x columns.
    blocks
        (columns, `blocks_most`, 3), flat, of an arrival that reaches so many columns, row by row: where the
        potentials and weights of a vector are, and its place, packed, from those of the first one on.
    held, starts, masks
        As `add_arrivals` takes them.
    places
        By arrival in `starts`, its first place with its cause, packed, and its number.
    neurons, most
        How many there are so, and how many of them one arrival reaches at most.
    is_narrow
        Whether vectors are of 16 entries, not of `LANES`.
    bound, ceiling
        Lower bound and threshold, less `offset`.
    held_as
        The column of `COUNT` for what the lower bound holds.
    is_plain
        Whatever reaches the threshold within 16 bits spikes, and stays above the bound: `kept` and `change`
        say what becomes of its potential, as `add_arrivals` takes them.
    lift
        By what one arrival may lift a potential, if that may leave 16 bits; else 0.
    """

    row: Any
    spans: Any
    blocks: Any
    weights: Any
    kills: Any
    biases: Any
    potentials: Any
    held: Any
    starts: Any
    places: Any
    masks: Any
    counts: Any
    blocks_most: int
    neurons: int
    wide: int
    is_narrow: bool
    most: int
    offset: int
    bound: Any
    ceiling: Any
    kept: Any
    change: Any
    held_as: int
    leaks: bool
    is_plain: bool
    lift: int


class Prepared(NamedTuple):
    """What of `CoreArrays` stays, and the least and largest weight."""

    wide: int
    spans: Any
    blocks: Any
    weights: Any
    kills: Any
    least: int
    largest: int


def _prepared(chip: Chip, row: int) -> Prepared | None:
    """What of a core stays from run to run; None where its weights have more than 8 bits."""
    core = chip.cores[row]
    features, kernel, kills = (int(core[CORE[name]]) for name in ("features", "kernel", "kills"))
    begin, count = int(core[CORE["weights"]]), features * kernel**2 * int(core[CORE["in_features"]])
    weights, wide = chip.weights[begin : begin + count], -(-features // _NARROW) * _NARROW
    least, largest = int(weights.min()), int(weights.max())
    if least < _WEIGHT_MIN or largest > _WEIGHT_MAX:
        return None
    killed = chip.kills[kills : kills + count] if kills >= 0 else chip.kills[:0]
    spans, blocks = _ways(chip.spans[row], core, wide)
    return Prepared(
        wide, spans, blocks, _filled(weights, features, wide, 0, np.int8),
        _filled(killed, features, wide, 0, np.bool_), least, largest,
    )  # fmt: skip


def core_arrays_of(
    chip: Chip, row: int, rules: Rules, prepared: dict[int, Prepared | None]
) -> CoreArrays | None:
    """A core's arrays, potentials and counts of its own; None where 16 bits do not hold what they become.

    Parameters
    ----------
    prepared
        By row; what is missing is added.
    """
    core = chip.cores[row]
    low, high, leaks = (int(core[CORE[name]]) for name in ("low", "high", "leak"))
    features, kernel, kills = (int(core[CORE[name]]) for name in ("features", "kernel", "kills"))
    neurons = features * int(core[CORE["height"]]) * int(core[CORE["width"]])
    first, biases = int(core[CORE["potentials"]]), int(core[CORE["biases"]])
    if row not in prepared:
        prepared[row] = _prepared(chip, row)
    if (ready := prepared[row]) is None:
        return None
    given, wide, to_zero = chip.potentials[first : first + neurons], ready.wide, bool(core[CORE["to_zero"]])
    least, most = int(given.min()), max(highest := int(given.max()), high - 1)
    # A neuron spikes once per arrival: a weight above what it subtracts lifts it, arrival by arrival.
    lifts = not to_zero and ready.largest > high
    most = max(most, _STATE_MAX) if leaks or lifts else most
    # Whatever is held is either clamped or beyond 16 bits, not the one or the other.
    is_apart = low >= _BOUND or (low == _STATE_MIN and not rules.wraps)
    is_within = least >= low and highest <= _STATE_MAX and most - low <= _WIDEST
    # What fills features up stands at the bound, and must not reach the threshold.
    if not (is_apart and is_within and low < min(high, _STATE_MAX + 1)):
        return None
    is_plain = low <= 0 and high <= _STATE_MAX and kills < 0 and not leaks
    lift = max(ready.largest, 0) if most + ready.largest > _STATE_MAX else 0
    offset, is_narrow = low - _BOUND, wide % LANES > 0
    change = 0 if not is_plain else -offset if to_zero else -high
    blocks_most = kernel**2 * (wide // (_NARROW if is_narrow else LANES))
    at_once = max(1, min(_AT_ONCE, _BLOCKS // blocks_most)) if is_plain else 1
    return CoreArrays(
        core, ready.spans, ready.blocks, ready.weights, ready.kills,
        chip.biases[biases : biases + features], _filled(given - offset, features, wide, _BOUND, np.int16),
        _filled(np.zeros(LANES, np.int16), LANES, LANES, 0, np.int16), np.empty(4 * at_once, np.int64),
        np.empty(2 * at_once, np.int64), np.empty(at_once * blocks_most + LANES, np.uint32),
        np.zeros(len(COUNT), np.int64), blocks_most, neurons // features * wide, wide, is_narrow,
        min(neurons, features * kernel**2), offset, np.int16(_BOUND),
        np.int16(min(high, _STATE_MAX + 1) - offset), np.int16(0 if to_zero else -1), np.int16(change),
        COUNT["saturated"] if low == _STATE_MIN else COUNT["clamped"], bool(leaks), is_plain, lift,
    )  # fmt: skip


def _ways(spans: NDArray[np.int64], core: Any, wide: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`spans` and `blocks` of a core, from its spans in `Tables`."""
    width, kernel = int(core[CORE["width"]]), int(core[CORE["kernel"]])
    lanes = _NARROW if wide % LANES else LANES
    made = np.empty((*spans.shape[:2], 4), np.int64)
    down, across = np.array([width * wide, kernel * wide, 1 << 16]), np.array([wide, wide, 1])
    made[0, :, :3], made[0, :, 3] = spans[0][:, [0, 1, 0]] * down, spans[0, :, 2] * (wide // lanes)
    made[1, :, :3], made[1, :, 3] = spans[1][:, [0, 1, 0]] * across, spans[1, :, 2]
    one = np.arange(0, wide, lanes)[:, None] * np.array([1, 1, 1 << 32])
    blocks = np.zeros((kernel + 1, kernel, kernel * len(one), 3), np.int64)
    for columns in range(1, kernel + 1):
        along = (np.arange(columns)[:, None, None] * across + one).reshape(1, -1, 3)
        blocks[columns].reshape(-1, 3)[: kernel * along.shape[1]] = (
            np.arange(kernel)[:, None, None] * down + along
        ).reshape(-1, 3)
    return made.reshape(-1), blocks.reshape(-1)


def _filled(array: Any, features: int, wide: int, value: int, kind: Any) -> Any:
    """Rows of features, each filled up, from where a cache line begins on."""
    rows = len(array) // features
    room = np.empty(rows * wide * np.dtype(kind).itemsize + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    filled = room[start : start + len(room) - _LINE].view(kind)
    whole = filled.reshape(rows, wide)
    whole[:, :features], whole[:, features:] = array.reshape(rows, features), value
    return filled


class Way(NamedTuple):
    """How spikes come to a core.

    Attributes
    ----------
    pool
        2^32 by the pool, rounded up: what coordinates of 16 bits are multiplied with to be divided.
    shift
        Of features.
    height, width
        Of the map where they arrive.
    delivered
        Whether those outside of it arrive too.
    """

    pool: int
    shift: int
    height: int
    width: int
    delivered: bool


# Of what has arrived; and of spikes that are all sent.
ARRIVED, ALL = Way(1 << 32, 0, 1 << 16, 1 << 16, False), np.empty(0, np.bool_)


def way_to(link: Link, core: CoreArrays, rules: Rules) -> Way:
    """How spikes of a link come to its core."""
    height, width = int(core.row[CORE["in_height"]]), int(core.row[CORE["in_width"]])
    return Way(-(-(1 << 32) // link.pooling), link.feature_shift, height, width, rules.delivered)
