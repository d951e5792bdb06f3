"""Checks of the sensor stage: one setting for every layer that reads the sensor, in whatever network."""

from __future__ import annotations

from collections.abc import Iterator

from hwspec.schema import InputSpec
from mapper.network import Edge, Input, Network
from mapper.rules import Rule
from mapper.solution import DvsStage
from mapper.verify.case import SENSOR, Case, Violation, edge_pool, signal_shape
from mapper.wording import counted


def pooling_behind_stage(edge: Edge, stage: DvsStage | None) -> int | None:
    """What is left of an edge's pool behind the stage, per axis; None where destinations cannot do it.

    The edge's rows are those of the network, so that of a stage that swaps the axes they are its columns.
    """
    size, stride = edge_pool(edge)
    if stage is None or size != stride:
        return None
    first, second = stage.pooling[::-1] if stage.swap else stage.pooling
    rest = {divmod(size[0], first), divmod(size[1], second)}
    pooling, left_over = rest.pop()
    return None if rest or left_over else pooling


def check_dvs_stage(case: Case) -> Iterator[Violation]:
    """Check `Rule.DVS_STAGE`."""
    stage, sensor = case.solution.dvs_stage, case.chip.input
    edges = [
        (network, entry, edge)
        for network in case.networks
        for entry in network.inputs
        if entry.dvs is not None
        for edge in network.outgoing[entry.name]
    ]
    watched = [e for network in case.networks if not network.layers for e in network.inputs if e.dvs]
    problems: list[str] = []
    if not edges and not watched:
        problems += ["is set, and nothing reads the sensor"] if stage is not None else []
    elif stage is None or sensor is None:
        problems += ["is needed: a layer or a user reads the sensor"]
    else:
        problems += _setting_problems(stage, sensor)
        if len({entry.shape.features for _, entry, _ in edges}) > 1:
            problems += ["its inputs differ in their numbers of features"]
        for network, entry, edge in edges:
            for problem in _edge_problems(case, stage, sensor, network, entry, edge):
                yield Violation(Rule.DVS_STAGE, f"{entry.name} -> {edge.target}", problem)
        yield from _given_pools(case, stage)
        for entry in watched:
            for problem in (
                *_size_problems(stage, entry, entry.shape[1:]),
                *_entry_problems(stage, sensor, entry),
            ):
                yield Violation(Rule.DVS_STAGE, entry.name, problem)
    for problem in problems:
        yield Violation(Rule.DVS_STAGE, "sensor stage", problem)


def _setting_problems(stage: DvsStage, sensor: InputSpec) -> Iterator[str]:
    for axis, size in enumerate((sensor.height, sensor.width)):
        first, last, pooling = stage.origin[axis], stage.cut[axis], stage.pooling[axis]
        if not 0 <= first <= last or (last + 1) * pooling > size:
            kind = ("rows", "columns")[axis]
            yield f"passes {kind} {first}..{last} at pooling {pooling}, of a sensor of {size}"


def _edge_problems(
    case: Case, stage: DvsStage, sensor: InputSpec, network: Network, entry: Input, edge: Edge
) -> Iterator[str]:
    shape = signal_shape(case.networks, stage, SENSOR)
    target, pooling = network.by_name[edge.target].input_shape, pooling_behind_stage(edge, stage)
    if pooling is None or shape is None:
        yield f"pool of {edge_pool(edge)[0]} behind a stage of {stage.pooling}"
        return
    if (shape.height // pooling, shape.width // pooling) != target[1:]:
        yield f"{shape.height}x{shape.width}, pooled by {pooling}, for an input of {target}"
    axes = stage.pooling[::-1] if stage.swap else stage.pooling
    if shape.height > entry.shape.height // axes[0] or shape.width > entry.shape.width // axes[1]:
        yield f"{shape.height}x{shape.width} pass, more than the input's {entry.shape} has"
    yield from _entry_problems(stage, sensor, entry)


def _given_pools(case: Case, stage: DvsStage) -> Iterator[Violation]:
    """Pools that readers were given, wherever they are done: the stage cuts and mirrors behind its own."""
    axes = stage.pooling[::-1] if stage.swap else stage.pooling
    for network in case.given:
        for entry in network.inputs:
            for edge in network.outgoing[entry.name] if entry.dvs is not None else ():
                size, stride = edge_pool(edge)
                if not size == stride == axes and not _is_cut_alike(entry, edge):
                    problem = f"pool of {size} behind a stage of {axes}, whose cut-out or mirror is another"
                    yield Violation(Rule.DVS_STAGE, f"{entry.name} -> {edge.target}", problem)


def _is_cut_alike(entry: Input, edge: Edge) -> bool:
    """Whether cut-out and mirror, which act on the pooled map, are the same under every pooling."""
    dvs, (rows, columns) = entry.dvs, edge_pool(edge)[0]
    is_filled = entry.shape.height % rows == 0 and entry.shape.width % columns == 0
    if dvs is None:
        return True
    return dvs.origin == (0, 0) and not dvs.swap_axes and (is_filled or not any(dvs.mirror))


def _size_problems(stage: DvsStage, entry: Input, size: tuple[int, int]) -> Iterator[str]:
    """Whether exactly an input's map passes, where no layer reads it behind a pool."""
    passing = tuple(last - first + 1 for first, last in zip(stage.origin, stage.cut, strict=True))
    if stage.pooling != (1, 1) or (passing[::-1] if stage.swap else passing) != size:
        yield f"{passing} pass, pooled by {stage.pooling}, for an input of {entry.shape}"


def _entry_problems(stage: DvsStage, sensor: InputSpec, entry: Input) -> Iterator[str]:
    """What an input wants of the stage beside the size."""
    if stage.merge != (entry.shape.features == 1) or entry.shape.features > sensor.features:
        yield f"{counted(entry.shape.features, 'feature')}, merge {stage.merge}"
    dvs = entry.dvs
    if dvs is None:
        return
    if (dvs.origin, dvs.mirror, dvs.swap_axes) != (stage.origin, stage.mirror, stage.swap):
        yield "origin, mirror or swap differ from the stage's"
    if (dvs.on_channel, dvs.off_channel) != stage.gates:
        yield "polarity gates differ from the stage's"
