"""Cores for the pipeline: filled up to whole vectors, with potentials in 16 bits from run to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapper.emit.shared.graph import Link
from mapper.sim.core_kernel import FROM_OUTSIDE, GATHERED
from mapper.sim.core_neurons import CELL, START
from mapper.sim.event_kernel import CORE, COUNT
from mapper.sim.event_tables import Chip, Rules
from mapper.sim.vector_add import LANES

if TYPE_CHECKING:
    from mapper.sim.event_blocks import CorePlan

__all__ = ["BlockArrays", "Cores", "HeldCores", "Scratch", "Totals", "way_of"]

_WEIGHT_MIN, _WEIGHT_MAX = -128, 127
_STATE_MIN, _STATE_MAX = -(1 << 15), (1 << 15) - 1
# The lower bound stands one weight above the least number of 16 bits: sums below it are still told apart.
_BOUND = _STATE_MIN - _WEIGHT_MIN
_WIDEST = _STATE_MAX - _WEIGHT_MAX - _BOUND
# Entries of a narrow vector; bytes of a cache line.
_NARROW, _LINE = 16, 64
# Arrivals that are added at once, and their blocks at most: what these leave stays in the first cache.
_AT_ONCE, _BLOCKS = 64, 2048


class Cores(NamedTuple):
    """All cores as `run_cores` takes them, one behind the other.

    Attributes
    ----------
    order
        Rows in the order of the plan.
    table
        By row, the columns of `CELL`: what `CORE` has under the same names; where a core's entries in the
        other arrays begin; and

        - wide: features, filled up so that all lie where whole vectors do; neurons: how many there are so.
        - is_narrow: whether vectors are of 16 entries, not of `LANES`.
        - taps: weights of a feature that arrives.
        - ways_pitch: entries of `blocks` for each number of columns that an arrival reaches.
        - at_once: arrivals that are added at once; most: neurons that one of them reaches at most.
        - bound, ceiling: lower bound and threshold, less `offset`, as potentials are.
        - held_as: the column of `COUNT` for what the lower bound holds.
        - is_plain: whatever reaches the threshold within 16 bits spikes, and stays above the bound: `kept`
          and `change` say what becomes of its potential, as `add_arrivals` takes them.
        - lift: by what one arrival may lift a potential, if that may leave 16 bits; else 0.
        - source, slot: of the one link that ends here; or `FROM_OUTSIDE`, or `GATHERED`.
        - pool, shift, height, width: how spikes come: 2^32 by the pool, rounded up, which coordinates of 16
          bits are multiplied with to be divided; of features; and of the map where they arrive.
    spans
        By axis (y, x) and arriving coordinate four entries: what it adds to where potentials and weights
        begin and to the first place, packed; and along y vectors of one column, along x columns.
    blocks
        By columns that an arrival reaches, by vector, row by row: where its potentials and weights are, and
        its place, packed, from those of the first one on.
    potentials
        Of 16 bits, less `offset`.
    """

    order: Any
    table: Any
    spans: Any
    blocks: Any
    weights: Any
    kills: Any
    biases: Any
    potentials: Any


class BlockArrays(NamedTuple):
    """A block of arrivals, as `run_cores` takes it.

    Attributes
    ----------
    inputs
        (arrivals, 2), as `run_events` takes them.
    ticks
        By cause, ticks of the slow clock in the block before it; at last those before its end.
    packed, came_by, is_kept
        Spikes, packed; the arrival at their core that each is of, empty where no paths part; whether a
        decimator lets it pass, empty where there is none.
    ends
        By row, where in `packed` its arrivals begin and end, and its spikes.
    progress
        The columns of `STEP`.
    """

    inputs: Any
    ticks: Any
    packed: Any
    came_by: Any
    is_kept: Any
    ends: Any
    progress: Any


class Totals(NamedTuple):
    """What is counted, as in `Tables`."""

    counts: Any
    border: Any
    phase: Any


class Scratch(NamedTuple):
    """What a thread computes with, as `add_arrivals` takes it; by arrival in `starts` its place, number."""

    held: Any
    starts: Any
    places: Any
    masks: Any


def way_of(link: Link, core: Mapping[str, int]) -> tuple[int, int, int, int]:
    """How spikes of a link come to its core: columns "pool", "shift", "height", "width" of `CELL`."""
    return -(-(1 << 32) // link.pooling), link.feature_shift, core["in_height"], core["in_width"]


# Of what has arrived.
_ARRIVED = (1 << 32, 0, 1 << 16, 1 << 16)


class HeldCores:
    """Potentials in 16 bits, from run to run, as long as these hold them.

    Attributes
    ----------
    recorded
        Rows whose spikes are kept.
    is_lossy
        Whether any core drops spikes.
    has_gone_on
        Whether potentials are up to date here only, and not in the tables.
    """

    def __init__(self, chip: Chip, rules: Rules, plan: CorePlan) -> None:
        self.plan, self.has_gone_on, self._is_taken, self._is_under_way = plan, False, False, False
        self.recorded = [row for row in plan.order if chip.cores[row, CORE["record"]]]
        self.is_lossy = bool(chip.cores[:, CORE["decimate"]].any())
        made = [_cell(chip, row, rules, plan) for row in range(len(chip.cores))]
        cells = [cell for cell in made if cell is not None]
        self._cores = None
        if len(cells) == len(made):
            cores = self._cores = _joined(chip, cells, plan)
            self._kept, self._spare = cores.potentials, _room(len(cores.potentials), np.int16, _BOUND)
            self._masks = max(_BLOCKS, int(cores.table[:, CELL["ways_pitch"]].max()) // 3) + LANES
            self._take(chip, cores)

    def begin(self, chip: Chip) -> Cores | None:
        """All cores, with potentials to be changed; None where 16 bits do not hold what they become."""
        cores = self._cores
        if cores is None or not (self._is_taken or self._take(chip, cores)):
            return None
        if self._is_under_way:
            # A thread of a run that was broken off may still write there.
            self._spare = np.empty_like(self._kept)
        self._is_under_way = True
        np.copyto(self._spare, self._kept)
        return cores._replace(potentials=self._spare)

    def scratch(self) -> Scratch:
        """Room for any of these cores."""
        return Scratch(
            np.zeros(LANES, np.int16), np.empty(START * _AT_ONCE, np.int64),
            np.empty(2 * _AT_ONCE, np.int64), np.empty(self._masks, np.uint32),
        )  # fmt: skip

    def end(self) -> None:
        """Keep what the run that began has made of potentials."""
        self._spare, self._kept = self._kept, self._spare
        self.has_gone_on, self._is_under_way = True, False

    def give_back(self, chip: Chip) -> None:
        """Bring the tables up to date: potentials go on there."""
        for n, row in enumerate(self._cores.table if self._cores and self.has_gone_on else ()):
            held, given = _parts(chip, n, row, self._kept)
            given[:] = held
            given += row[CELL["offset"]]
        self._is_taken = self.has_gone_on = False

    def _take(self, chip: Chip, cores: Cores) -> bool:
        for n, row in enumerate(cores.table):
            held, given = _parts(chip, n, row, self._kept)
            lift = _lift(row, int(given.min()), int(given.max()))
            if lift is None:
                return False
            row[CELL["lift"]] = lift
            held[:] = given - row[CELL["offset"]]
        self._is_taken = True
        return True


def _parts(chip: Chip, n: int, row: Any, potentials: Any) -> tuple[Any, Any]:
    """A core's potentials without what fills them up, and those of the tables, (places, features)."""
    features, wide = int(row[CELL["features"]]), int(row[CELL["wide"]])
    here, there = int(row[CELL["potentials"]]), int(chip.cores[n, CORE["potentials"]])
    places = int(row[CELL["neurons"]]) // wide
    held = potentials[here : here + places * wide].reshape(places, wide)[:, :features]
    return held, chip.potentials[there : there + places * features].reshape(places, features)


def _lift(row: Any, least: int, highest: int) -> int | None:
    """The core's `lift` from potentials in these ends on; None where 16 bits do not hold what they become."""
    low, high, largest = (int(row[CELL[name]]) for name in ("low", "high", "largest"))
    most = max(highest, high - 1)
    # A neuron spikes once per arrival: a weight above what it subtracts lifts it, arrival by arrival.
    if row[CELL["leaks"]] or (not row[CELL["to_zero"]] and largest > high):
        most = max(most, _STATE_MAX)
    if least < low or highest > _STATE_MAX or most - low > _WIDEST:
        return None
    return max(largest, 0) if most + largest > _STATE_MAX else 0


def _cell(chip: Chip, row: int, rules: Rules, plan: CorePlan) -> dict[str, int] | None:
    """The columns of `CELL` but for places in arrays; None where a core is none that 16 bits may hold."""
    core = {name: int(chip.cores[row, n]) for name, n in CORE.items()}
    low, high, features, kernel = (core[name] for name in ("low", "high", "features", "kernel"))
    weights = chip.weights[core["weights"] :][: features * kernel**2 * core["in_features"]]
    least, largest = int(weights.min()), int(weights.max())
    # Whatever is held is either clamped or beyond 16 bits, not the one or the other.
    is_apart = low >= _BOUND or (low == _STATE_MIN and not rules.wraps)
    # What fills features up stands at the bound, and must not reach the threshold.
    is_within = low < min(high, _STATE_MAX + 1) and least >= _WEIGHT_MIN and largest <= _WEIGHT_MAX
    if not (is_apart and is_within):
        return None
    wide = -(-features // _NARROW) * _NARROW
    is_narrow, has_kills, leaks = wide % LANES > 0, core["kills"] >= 0, core["leak"] > 0
    vectors, offset = wide // (_NARROW if is_narrow else LANES), low - _BOUND
    is_plain = low <= 0 and high <= _STATE_MAX and not has_kills and not leaks
    change = 0 if not is_plain else -offset if core["to_zero"] else -high
    at_once = max(1, min(_AT_ONCE, _BLOCKS // (kernel**2 * vectors))) if is_plain else 1
    neurons = core["height"] * core["width"] * features
    source, slot, way = FROM_OUTSIDE, 0, _ARRIVED
    if row in plan.gathered:
        source = GATHERED
    elif plan.links[row]:
        (link,) = plan.links[row]
        source, slot, way = link.source, link.slot, way_of(link, core)
    return {
        "in_features": core["in_features"], "in_height": core["in_height"], "in_width": core["in_width"],
        "features": features, "taps": kernel**2 * wide,
        "ways_pitch": 3 * kernel**2 * vectors, "reach": chip.spans.shape[2], "kills": int(has_kills),
        "biases": core["biases"], "neurons": neurons // features * wide, "wide": wide,
        "is_narrow": int(is_narrow), "at_once": at_once, "most": min(neurons, features * kernel**2),
        "offset": offset, "bound": _BOUND, "ceiling": min(high, _STATE_MAX + 1) - offset,
        "kept": 0 if core["to_zero"] else -1, "change": change, "leaks": int(leaks),
        "held_as": COUNT["saturated"] if low == _STATE_MIN else COUNT["clamped"], "is_plain": int(is_plain),
        "largest": largest, "lift": 0, "high": high, "low": low, "to_zero": core["to_zero"],
        "decimate": core["decimate"], "source": source, "slot": slot,
        **dict(zip(("pool", "shift", "height", "width"), way, strict=True)),
    }  # fmt: skip


def _joined(chip: Chip, cells: Sequence[dict[str, int]], plan: CorePlan) -> Cores:
    """All cores' arrays, from where cache lines begin on; potentials are still to be taken."""
    line, reads = _LINE // 2, [cell["in_features"] * cell["taps"] for cell in cells]
    sizes = {"weights": reads, "potentials": [cell["neurons"] for cell in cells]}
    begins = {
        name: [0, *accumulate(-(-size // line) * line for size in each)] for name, each in sizes.items()
    }
    weights = _room(begins["weights"][-1], np.int8, 0)
    has_kills = any(cell["kills"] for cell in cells)
    kills = np.zeros(len(weights) if has_kills else 0, np.bool_)
    spans, blocks, at = [], [np.empty(0, np.int64)], 0
    for n, (cell, core) in enumerate(zip(cells, chip.cores, strict=True)):
        features, wide, first = cell["features"], cell["wide"], begins["weights"][n]
        cell["potentials"], cell["spans"], cell["ways"] = begins["potentials"][n], 8 * n * cell["reach"], at
        count, given = reads[n] // wide * features, int(core[CORE["weights"]])
        for target, source in ((weights, chip.weights), (kills, chip.kills)):
            if source is chip.weights or cell["kills"]:
                whole = target[first : first + reads[n]].reshape(-1, wide)
                whole[:, :features] = source[given : given + count].reshape(-1, features)
        own, ways = _ways(chip.spans[n], core, wide)
        # Where the core begins, axis y adds.
        own[0, :, 0] += cell["potentials"]
        own[0, :, 1] += first
        spans.append(own.reshape(-1))
        blocks.append(ways)
        at += len(ways)
    table = np.array([[cell[name] for name in CELL] for cell in cells], np.int64)
    return Cores(
        np.array(plan.order, np.int64), table, np.concatenate(spans), np.concatenate(blocks), weights, kills,
        chip.biases, _room(begins["potentials"][-1], np.int16, _BOUND),
    )  # fmt: skip


def _ways(spans: NDArray[np.int64], core: Any, wide: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A core's part of `spans`, (axis, coordinate, 4), and of `blocks`, from its spans in `Tables`."""
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
    return made, blocks.reshape(-1)


def _room(count: int, kind: Any, value: int) -> Any:
    """An array of one value, from where a cache line begins on."""
    room = np.empty(count * np.dtype(kind).itemsize + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    filled = room[start : start + len(room) - _LINE].view(kind)
    filled[:] = value
    return filled
