"""How much outputs depend on the order of spikes, which nobody knows of the chip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mapper.arguments import checked
from mapper.emit.shared.config import ChipConfig
from mapper.errors import Finding, OptionsError
from mapper.events import Events
from mapper.own_shape import own_shape
from mapper.sim.event import EventOptions, EventResult, simulate_events
from mapper.sim.side_by_side import Pause, side_by_side

__all__ = ["Sensitivity", "count_ranges", "layer_shapes", "run_orders", "sensitivity"]

Counts = NDArray[np.int64]
# Events from which on threads take less than they save: they wait for each other between compiled loops.
_WORTH = 20_000
# Each is a simulation of its own.
_RANDOM_ORDERS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """A layer under several orders.

    Attributes
    ----------
    neurons
        Neurons whose spike count depends on the order.
    largest
        Largest difference of a neuron's counts.
    total_min, total_max
        Spikes of the whole layer, over the orders.
    same_argmax
        Whether the neuron with most spikes was always the same.
    """

    layer: str
    neurons: int
    largest: int
    total_min: int
    total_max: int
    same_argmax: bool


@checked
def layer_shapes(config: ChipConfig) -> dict[str, tuple[int, int, int]]:
    """(features, height, width) of every layer, its pieces together; of every core without interface."""
    cores = config.hardware.cnn_layers
    places: dict[str, tuple[int, int | None]]
    if config.interface is None:
        places = {f"core{n}": (n, None) for n, core in enumerate(cores) if core.dimensions is not None}
    else:
        places = {
            layer.name: (
                layer.places[0].core,
                max(place.stop for place in layer.places if place.role != "relay"),
            )
            for layer in config.interface.layers
        }
    shapes = {}
    for name, (core, features) in places.items():
        dimensions = cores[core].dimensions
        if dimensions is not None:
            shape = dimensions.output_shape
            shapes[name] = (features or shape.feature_count, shape.size.y, shape.size.x)
    shown = {} if config.interface is None else config.interface.shown
    return {
        name: shapes[layer] if origin is None else own_shape(origin, shapes[layer][1:])
        for name, (layer, origin) in shown.items()
        if layer in shapes
    } or shapes


@checked.but("inputs")
def count_ranges(
    config: ChipConfig,
    inputs: Mapping[str, Events],
    shapes: Mapping[str, tuple[int, int, int]],
    options: EventOptions | None = None,
    *,
    random_orders: int = 3,
    end_us: float | None = None,
    pause: Callable[[], object] | None = None,
) -> dict[str, NDArray[np.int64]]:
    """By recorded layer, counts of its neurons under each order: (orders, features, height, width).

    Depth first, breadth first, and `random_orders` random ones, side by side; `end_us` and `pause` as in
    `simulate_events`.
    """
    if not 0 <= random_orders <= _RANDOM_ORDERS_MAX:
        most = f"0..{_RANDOM_ORDERS_MAX}"
        raise OptionsError(Finding("random_orders", "must be a number of orders", random_orders, most))
    base = options or EventOptions()
    recorded = shapes if base.record is None else base.record
    counts = {
        name: np.zeros((2 + random_orders, *shape), np.int64)
        for name, shape in shapes.items()
        if name in recorded
    }

    def counted(n: int, result: EventResult) -> None:
        for name, by_order in counts.items():
            spikes = result.layers[name]
            np.add.at(by_order[n], (spikes["p"], spikes["y"], spikes["x"]), 1)

    run_orders(config, inputs, base, counted, random_orders=random_orders, end_us=end_us, pause=pause)
    return counts


def run_orders(
    config: ChipConfig,
    inputs: Mapping[str, Events],
    options: EventOptions,
    take: Callable[[int, EventResult], None],
    *,
    random_orders: int = 3,
    end_us: float | None = None,
    pause: Callable[[], object] | None = None,
) -> None:
    """Simulate depth first (0), breadth first (1), and in random orders, and hand each result on.

    Side by side where there is enough to do: `take` is called from several threads.
    """
    orders = [replace(options, order="depth"), replace(options, order="breadth")]
    orders += [replace(options, order="random", seed=n) for n in range(random_orders)]

    def taken(n: int, pause: Pause | None) -> None:
        take(n, simulate_events(config, inputs, orders[n], end_us=end_us, pause=pause))

    works = [partial(taken, n) for n in range(len(orders))]
    # What is no such mapping of arrays the simulator refuses.
    sizes = inputs.values() if isinstance(inputs, Mapping) else ()
    if sum(len(events) for events in sizes if hasattr(events, "__len__")) >= _WORTH:
        side_by_side(works, pause)
    else:
        for work in works:
            work(pause)


@checked
def sensitivity(counts: Mapping[str, Counts]) -> tuple[Sensitivity, ...]:
    """What `count_ranges` shows, layer by layer."""
    sensitivities = []
    for name, by_order in counts.items():
        spread = by_order.max(0) - by_order.min(0)
        totals = by_order.reshape(len(by_order), -1).sum(1)
        best = {int(counts.argmax()) for counts in by_order}
        sensitivities.append(
            Sensitivity(
                name, int((spread > 0).sum()), int(spread.max(initial=0)), int(totals.min()),
                int(totals.max()), len(best) == 1,
            )
        )  # fmt: skip
    return tuple(sensitivities)
