"""Cores and configurations written by hand, and what they make of events."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapper.emit.shared.config import (
    ChipConfig,
    CnnLayer,
    Destination,
    Dimensions,
    Hardware,
    LayerShape,
    Vector,
)
from mapper.emit.shared.interface import InputEntry, Interface, InterfaceInput, InterfaceLayer, LayerPlace
from mapper.emit.shared.tensor import Tensor
from mapper.events import EVENT_DTYPE
from mapper.sim.event import EventOptions, simulate_events

__all__ = ["ONE", "config", "core", "events", "spikes"]


def events(*rows: tuple[int, int, int, int]) -> Any:
    """(t, p, y, x)."""
    return np.array(list(rows), EVENT_DTYPE)


def core(
    weights: Any,
    size: int = 4,
    *,
    high: int = 10,
    low: int = -32768,
    pad: int = 0,
    stride: int = 1,
    to: tuple[Destination, ...] = (),
    initial: int = 0,
    **more: Any,
) -> CnnLayer:
    """A core of weights (out, in, y, x) on a square map."""
    array = np.asarray(weights)
    out, inputs, kernel, _ = array.shape
    side = (size + 2 * pad - kernel) // stride + 1

    def square(features: int, n: int) -> LayerShape:
        return LayerShape(feature_count=features, size=Vector(x=n, y=n))

    return CnnLayer(
        dimensions=Dimensions(
            input_shape=square(inputs, size), output_shape=square(out, side), kernel_size=kernel,
            stride=Vector(x=stride, y=stride), padding=Vector(x=pad, y=pad),
        ),
        destinations=to, weights=Tensor.of(array.transpose(0, 1, 3, 2)),
        biases=Tensor.of(more.pop("biases", np.zeros(out, int))),
        neurons_initial_value=Tensor.of(np.full((out, side, side), initial)),
        threshold_high=high, threshold_low=low, **more,
    )  # fmt: skip


def config(*cores: CnnLayer, **hardware: Any) -> ChipConfig:
    """Cores 0, 1, ... of a chip; the input enters core 0."""
    first = cores[0].dimensions
    assert first is not None
    size = first.input_shape.size
    shape = (first.input_shape.feature_count, size.y, size.x)
    source: Any = "dvs" if "dvs_layer" in hardware else "host"
    entries = () if source == "dvs" else (InputEntry(core=0),)
    layers = tuple(
        InterfaceLayer(name=f"l{n}", places=(LayerPlace(core=n, start=0, stop=len(c.biases.array)),))
        for n, c in enumerate(cores)
        if c.biases
    )
    return ChipConfig(
        chip="test", chip_hash="", hardware=Hardware(cnn_layers=cores, **hardware),
        interface=Interface(
            network="n", inputs=(InterfaceInput(name="in", shape=shape, source=source, entries=entries),),
            outputs=(), layers=layers,
        ),
    )  # fmt: skip


ONE = np.full((1, 1, 1, 1), 10)


def spikes(chip: ChipConfig, given: Any, layer: str = "l0", **options: Any) -> list[tuple[int, ...]]:
    """(t, p, y, x) of a layer's spikes."""
    result = simulate_events(chip, {"in": given}, EventOptions(**options))
    return [tuple(event) for event in result.layers[layer].tolist()]
