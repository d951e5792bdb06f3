"""Rules that networks break on a chip wherever their layers go: sensor stage, readout, monitors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mapper.network import Input
from mapper.operations import Pair
from mapper.passes.legalize.pools import size_and_stride
from mapper.passes.legalize.sensor import stage_may_be
from mapper.rules import Rule
from mapper.solution import DvsStage
from mapper.wording import counted

if TYPE_CHECKING:
    from mapper.problem import Problem

__all__ = ["ChipFault", "monitor_faults", "readout_faults", "sensor_faults", "stage_of"]


@dataclass(frozen=True, slots=True)
class ChipFault:
    """A rule that the networks break on this chip wherever their layers go.

    Attributes
    ----------
    layers
        What the layers concerned are called in messages.
    demand, bound, terms
        As in `mapper.work.Shortfall`.
    """

    rule: Rule
    layers: tuple[str, ...]
    demand: int | str
    bound: int | str
    terms: str


def stage_of(entry: Input, pooling: Pair) -> DvsStage:
    """The sensor stage's setting for an input, whose edges it pools by (rows, columns).

    Raises
    ------
    ValueError
        The input is none of the sensor's.
    """
    settings = entry.dvs
    if settings is None:
        raise ValueError(f"input {entry.name} is none of the sensor's")
    size: Pair = (entry.shape.height // pooling[0], entry.shape.width // pooling[1])
    if settings.swap_axes:
        # The network sees rows where the sensor has columns.
        size, pooling = (size[1], size[0]), (pooling[1], pooling[0])
    (oy, ox), gates = settings.origin, (settings.on_channel, settings.off_channel)
    cut = (oy + size[0] - 1, ox + size[1] - 1)
    merge = entry.shape.features == 1
    return DvsStage(merge, pooling, (oy, ox), cut, settings.mirror, settings.swap_axes, gates)


def sensor_faults(problem: Problem) -> Iterator[ChipFault]:
    """What the one setting of the sensor stage cannot give."""
    edges, stage = problem.dvs_edges, problem.chip.input
    if not edges:
        return
    targets = tuple(problem.key(number, edge.target) for number, _, edge in edges)
    if stage is None:
        terms = f"{problem.chip.name} has no sensor"
        yield ChipFault(Rule.DVS_STAGE, targets, "a sensor input", "none", terms)
        return
    settings = {stage_of(entry, problem.stage_pooling) for _, entry in problem.sensors}
    if len(settings) > 1:
        terms = "cut-out, mirror and polarities must be the same for all layers the sensor feeds"
        yield ChipFault(Rule.DVS_STAGE, targets, len(settings), 1, terms)
    uneven = not all(stage_may_be((1, 1), entry, edge, problem.chip) for _, entry, edge in edges)
    pools = {size_and_stride(edge.pool)[0] for *_, edge in edges}
    if uneven and len(pools) > 1:
        terms = "pools of readers of a cut-out, mirror or swap, which act on the pooled map"
        yield ChipFault(Rule.DVS_STAGE, targets, len(pools), 1, terms)
    for number, entry, edge in edges:
        pool, layers, rest = edge.pool, (problem.key(number, edge.target),), problem.behind_stage(edge)
        served = rest == (1, 1) or (rest[0] == rest[1] and problem.options.relays)
        sizes = pool.size if pool else (1, 1)
        served = served and all(n % s == 0 for n, s in zip(sizes, problem.stage_pooling, strict=True))
        served = served and set(problem.stage_pooling) <= {1, *stage.poolings}
        if pool and (pool.size != pool.stride or not served):
            bound = f"per axis one of {', '.join(map(str, stage.poolings))}, stride = size"
            yield ChipFault(Rule.DVS_STAGE, layers, "x".join(map(str, pool.size)), bound, "sensor pooling")
            continue
        setting = stage_of(entry, problem.stage_pooling)
        cut = setting.cut
        room = (stage.height // setting.pooling[0], stage.width // setting.pooling[1])
        if cut[0] >= room[0] or cut[1] >= room[1]:
            need, bound = f"{cut[0] + 1}x{cut[1] + 1}", f"{room[0]}x{room[1]}"
            yield ChipFault(Rule.DVS_STAGE, layers, need, bound, "cut-out of the pooled sensor")
        if entry.shape.features > stage.features:
            terms = "features of the sensor input: one per polarity"
            yield ChipFault(Rule.DVS_STAGE, layers, entry.shape.features, stage.features, terms)
        if edge.feature_offset and not (problem.chip.routing.feature_shift and problem.options.relays):
            terms = "the sensor's destinations do not shift features, and no relay may"
            yield ChipFault(Rule.FEATURE_SHIFT, layers, edge.feature_offset, 0, terms)
    if len(edges) > stage.fan_out:
        yield ChipFault(Rule.DVS_FAN_OUT, targets, len(edges), stage.fan_out, "layers the sensor feeds")


def readout_faults(problem: Problem) -> Iterator[ChipFault]:
    """What the readout stage cannot do."""
    readout = problem.readout
    uses_readout = readout is not None or problem.options.readout_monitor
    layers = () if readout is None else (problem.key(*readout),)
    if uses_readout and problem.chip.readout is None:
        yield ChipFault(Rule.READOUT, layers, 1, 0, f"{problem.chip.name} has no readout stage")
    elif problem.options.readout_monitor and readout is None:
        yield ChipFault(Rule.READOUT, (), 0, 1, "a readout monitor needs a layer that feeds the readout")
    elif problem.chip.readout is not None and readout is not None:
        stage, shape = problem.chip.readout, problem.networks[readout[0]].by_name[readout[1]].output_shape
        classes = (shape.features - 1) // stage.feature_spacing + 1
        if classes > stage.classes_max:
            terms = f"{counted(shape.features, 'feature')}, a class every {stage.feature_spacing}"
            yield ChipFault(Rule.READOUT, layers, classes, stage.classes_max, terms)
        if shape[1:] != (1, 1):
            size = f"{shape.height}x{shape.width}"
            yield ChipFault(Rule.READOUT, layers, size, "1x1", "the map of the layer that feeds the readout")


def monitor_faults(problem: Problem) -> Iterator[ChipFault]:
    """Monitors that the chip does not have together."""
    names = tuple(problem.key(*layer) for layer in problem.monitored)
    rule, bound = problem.chip.monitor, problem.chip.monitor.cores_max
    # Siblings may share a core.
    shared = sum(problem.layer_of[layer] in problem.optional for layer in problem.monitored)
    least = len(names) - max(0, shared - 1)
    if bound is not None and least > bound:
        yield ChipFault(Rule.MONITOR, names, least, bound, "monitored cores")
    if problem.options.readout_monitor and names and rule.excludes_readout_monitor:
        yield ChipFault(Rule.MONITOR, names, len(names), 0, "the readout monitor silences spike monitors")
