"""Random placements for drawing: any number of cores, roles and destinations, sound or not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mapper.record import (
    CoreUse,
    DvsRecord,
    HostEntryRecord,
    LayerRecord,
    MonitorRecord,
    PartRecord,
    PlacementRecord,
    RelayRecord,
    RouteRecord,
)

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
    relays = tuple(
        RelayRecord(
            core=use.core, network=0, signal="s", pooling=int(draw.choice([1, 2])), features=use.features
        )
        for use in cores
        if use.role == "relay"
    )
    entries = tuple(
        HostEntryRecord(network=0, input="events", core=core, feature_shift=int(draw.integers(0, 2)))
        for core in busy[:2]
    )
    sensor = DvsRecord(
        merge=False,
        pooling=(2, 2),
        origin=(0, 0),
        cut=(63, 63),
        mirror=(False, False),
        swap=False,
        gates=(True, True),
    )
    return PlacementRecord(
        status="feasible",
        chip=chip,
        chip_hash="",
        networks=("one", "two")[: 1 + int(draw.integers(2))],
        layers=(_layer(),),
        cores=cores,
        relays=relays,
        routes=tuple(_routes(draw, busy)),
        host_entries=entries,
        dvs_stage=sensor if draw.integers(2) else None,
        monitors=tuple(
            MonitorRecord(core=core, network=0, signal="s", features=(0, 16), pooling_seen=1)
            for core in busy[-2:]
        ),
        outputs=(),
        objectives=(),
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
            "layer": None if role == "empty" else "s",
            "role": role,
            "features": (start, 16),
            **dict(zip(("kernel_words", "neuron_words", "bias_words"), words, strict=True)),
        }
    )


def _layer() -> LayerRecord:
    return LayerRecord(
        network=0,
        name="s",
        index=0,
        cores=(0,),
        parts=(PartRecord(core=0, copy_index=0, features=(0, 16)),),
        input_shape=_SHAPE,
        output_shape=_SHAPE,
        kernel=(3, 3),
        stride=(1, 1),
        padding=(1, 1),
        kernel_words=1,
        neuron_words=1,
        bias_words=0,
    )


def _routes(draw: np.random.Generator, busy: list[int]) -> Iterable[RouteRecord]:
    for source in [*busy, "dvs"]:
        for slot in range(int(draw.integers(0, 4)) if busy else 0):
            yield RouteRecord.model_validate(
                {
                    "source": source,
                    "slot": slot,
                    "target": "readout"
                    if draw.integers(12) == 0 and source != "dvs"
                    else int(draw.choice(busy)),
                    "pooling": int(draw.choice([1, 1, 2, 4])),
                    "feature_shift": int(draw.choice([0, 0, 64, 512])),
                }
            )
