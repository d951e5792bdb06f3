"""Random placements for drawing: any number of cores, roles and destinations, sound or not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from mapper.record import CoreUse, LayerRecord, PlacementRecord
from mapper.solution import DvsStage, HostEntry, LayerPart, Monitor, Placement, Relay, Route, Solution

__all__ = ["random_placements"]

_ROLES = ("layer", "piece", "copy", "relay", "empty")
_SHAPE = (16, 8, 8)


def random_placements(seeds: Iterable[int]) -> list[PlacementRecord]:
    """One a seed."""
    return [_placement(np.random.default_rng(seed), f"random-{seed}") for seed in seeds]


def _placement(draw: np.random.Generator, chip: str) -> PlacementRecord:
    count = int(draw.choice([1, 2, 5, 9, 9, 12, 20, 64]))
    cores = tuple(_use(draw, core) for core in range(count))
    busy = [use.core for use in cores if use.role != "empty"]
    placements = tuple(
        Placement(use.core, Relay(None, "dvs") if use.role == "relay" else LayerPart(0, "s"), use.features)
        for use in cores
        if use.role != "empty"
    )
    entries = tuple(HostEntry(0, "events", core, int(draw.integers(0, 2))) for core in busy[:2])
    sensor = DvsStage(merge=False, pooling=(2, 2), origin=(0, 0), cut=(63, 63))
    return PlacementRecord(
        status="feasible",
        chip=chip,
        chip_hash="",
        networks=("one", "two")[: 1 + int(draw.integers(2))],
        layers=(_layer(),),
        cores=cores,
        solution=Solution(
            placements,
            tuple(_routes(draw, busy)),
            entries,
            tuple(Monitor(core, 0, "s", (0, 16)) for core in busy[-2:]),
            sensor if draw.integers(2) else None,
        ),
        outputs=(),
        notes=(),
        assumed_facts=(),
    )


def _use(draw: np.random.Generator, core: int) -> CoreUse:
    role = str(draw.choice(_ROLES))
    start = int(draw.integers(1, 8)) if role == "piece" else 0
    words = []
    for size in (65536, 32768, 1024):
        offered = int(size * draw.choice([0.25, 0.5, 1]))
        words.append((int(draw.integers(0, offered + 1)) if role != "empty" else 0, offered))
    return CoreUse.model_validate(
        {
            "core": core,
            "label": {"empty": "", "layer": "s", "piece": f"s[{start}:16]", "copy": "s copy"}.get(
                role, "relay of the sensor"
            ),
            "role": role,
            "network": None if role in ("empty", "relay") else 0,
            "layer": {"empty": None, "relay": "dvs"}.get(role, "s"),
            "features": (start, 16),
            "shape": (16 - start, 8, 8),
            **dict(zip(("kernel_words", "neuron_words", "bias_words"), words, strict=True)),
        }
    )


def _layer() -> LayerRecord:
    return LayerRecord(
        network=0,
        name="s",
        index=0,
        cores=(0,),
        input_shape=_SHAPE,
        output_shape=_SHAPE,
        kernel=(3, 3),
        stride=(1, 1),
        padding=(1, 1),
        kernel_words=1,
        neuron_words=1,
        bias_words=0,
    )


def _routes(draw: np.random.Generator, busy: list[int]) -> Iterable[Route]:
    sources: list[int | Literal["dvs"]] = [*busy, "dvs"]
    for source in sources:
        for slot in range(int(draw.integers(0, 4)) if busy else 0):
            to_readout = draw.integers(12) == 0 and source != "dvs"
            target: int | Literal["readout"] = "readout" if to_readout else int(draw.choice(busy))
            pooling, shift = int(draw.choice([1, 1, 2, 4])), int(draw.choice([0, 0, 64, 512]))
            yield Route(source, slot, target, pooling, shift)
