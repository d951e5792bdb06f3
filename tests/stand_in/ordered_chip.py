"""A chip that handles spikes in an order of its own, behind a board that is a fake.

It is this project's event simulator on the configuration that was applied, read back from samna's object.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hwspec.catalog import load
from mapper.emit.samna import from_samna
from mapper.events import EVENT_DTYPE
from mapper.sim.event import EventOptions, EventSimulator
from tests.stand_in.fake_boards import Kit

__all__ = ["OrderedChip"]


@dataclass
class OrderedChip:
    """What `FakeBoards.answers` calls: spikes of the monitored cores, each at the time of its cause.

    Attributes
    ----------
    drops
        Share of the spikes that the host never sees, taken by `seed`.
    deaf_after
        Samples after which nothing is answered any more; None for never.
    """

    order: Literal["depth", "breadth", "random"] = "depth"
    seed: int = 0
    drops: float = 0.0
    deaf_after: int | None = None
    played: int = 0
    _chip: EventSimulator | None = field(default=None, repr=False)
    _applied: Any = field(default=None, repr=False)
    _lost: Any = field(default=None, repr=False)

    def __call__(self, kit: Kit, sent: list[Any]) -> list[Any]:
        kinds = sys.modules[f"samna.{kit.family}"].event
        chip = self._running(kit)
        self._write([event for event in sent if isinstance(event, kinds.WriteNeuronValue)], chip)
        arrived = [event for event in sent if isinstance(event, kinds.Spike)]
        # What a reset ends with goes to a core that holds nothing.
        arrived = [event for event in arrived if f"core{event.layer}" in chip.graph.input_names]
        if not arrived:
            return []
        self.played += 1
        if self.deaf_after is not None and self.played > self.deaf_after:
            return []
        by_core: dict[str, Any] = {}
        for core in dict.fromkeys(event.layer for event in arrived):
            entering = [event for event in arrived if event.layer == core]
            rows = [(e.timestamp, e.feature, e.y, e.x) for e in entering]
            by_core[f"core{core}"] = np.array(rows, EVENT_DTYPE)
        made = []
        for layer, spikes in chip.run(by_core).layers.items():
            core = int(layer.removeprefix("core"))
            if kit.config.cnn_layers[core].monitor_enable:
                heard = spikes[self._lost.random(len(spikes)) >= self.drops]
                made += [self._spike(kinds, core, *entry) for entry in heard.tolist()]
        return made

    @staticmethod
    def _spike(kinds: Any, core: int, t: int, feature: int, y: int, x: int) -> Any:
        spike = kinds.Spike()
        spike.layer, spike.timestamp = core, t
        spike.feature, spike.y, spike.x = feature, y, x
        return spike

    def _running(self, kit: Kit) -> EventSimulator:
        if self._chip is None or self._applied is not kit.config:
            plain = from_samna(kit.config, load(kit.family))
            used = [n for n, core in enumerate(plain.hardware.cnn_layers) if core.dimensions is not None]
            # Slow clocks that matter are none of what these tests are about.
            options = EventOptions(order=self.order, seed=self.seed, tick_us=1e15)
            self._chip = EventSimulator(plain, options, input_cores={f"core{n}": n for n in used})
            self._applied, self._lost = kit.config, np.random.default_rng(self.seed)
        return self._chip

    def _write(self, writes: list[Any], chip: EventSimulator) -> None:
        """Potentials from the host: all of a core at once, since the order of its addresses is not published."""
        for core in dict.fromkeys(event.layer for event in writes):
            of_core = [event for event in writes if event.layer == core]
            (value,) = {event.neuron_state for event in of_core}
            before = sum(_neurons(chip, n) for n in chip.tables.numbers if n < core)
            size = _neurons(chip, core)
            assert len({event.address for event in of_core}) == len(of_core) >= size
            chip.tables.potentials[before : before + size] = value


def _neurons(chip: EventSimulator, core: int) -> int:
    shape = chip.graph.cores[core].dimensions
    assert shape is not None
    size = shape.output_shape.size
    return shape.output_shape.feature_count * size.y * size.x
