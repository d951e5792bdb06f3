"""What samna's fields cannot say: where input enters, which outputs count, which layer lives where.

It is never sent to a chip, and is None for a configuration that was read back from one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mapper.network import Origin
from mapper.operations import Shape
from mapper.wording import titled

__all__ = [
    "InputEntry",
    "Interface",
    "InterfaceInput",
    "InterfaceLayer",
    "InterfaceOrigin",
    "InterfaceOutput",
    "LayerPlace",
    "OutputPart",
]


# Events count features, rows and columns in 16 bits.
_Size = Annotated[int, Field(ge=1, le=65536)]
_Count = Annotated[int, Field(ge=0, le=65536)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputEntry(_Record):
    """A core that takes an input's events, features shifted by `feature_shift`."""

    core: int
    feature_shift: _Count = 0


class LayerPlace(_Record):
    """Features [start, stop) of a layer or input on one core.

    Attributes
    ----------
    role
        "layer": the whole layer; "piece": some of its features; "copy": the layer, or some of its features,
        once more; "relay": a core that only passes these features on. Whether it reads these features alone
        or all of the signal shows in the core's dimensions.
    """

    core: int
    start: _Count
    stop: _Size
    role: Literal["layer", "piece", "copy", "relay"] = "layer"


class InterfaceInput(_Record):
    """Where an input enters: host events at `entries`, or the sensor stage.

    Attributes
    ----------
    shape
        (features, height, width) of the events.
    entries
        Cores that take host events.
    relays
        Cores that pass host events on.
    readers
        Of an input of the sensor stage where several share it: the layers that read it by this name. The
        stage sends the same events to all.
    """

    name: str
    shape: tuple[_Size, _Size, _Size]
    source: Literal["host", "dvs"]
    entries: tuple[InputEntry, ...] = ()
    relays: tuple[LayerPlace, ...] = ()
    readers: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if self.source == "dvs" and (self.entries or self.relays):
            step = "what passes the sensor on stands in sensor_relays: emit the configuration again"
            raise ValueError(f"input {self.name} of the sensor has entries or relays of its own; {step}")
        if self.source == "host" and self.readers:
            raise ValueError(f"input {self.name} of the host has readers: its entries say where it enters")
        return self


class OutputPart(_Record):
    """Features [start, stop) of an output, as the monitor of a core shows them."""

    core: int
    start: _Count
    stop: _Size


class InterfaceOutput(_Record):
    """An output: where it is seen, and the pool that the host still has to do.

    Attributes
    ----------
    parts
        Cores of the layer, or of a relay that shows it pooled.
    host_pool
        (height, width), stride = size; (1, 1) for none.
    divisor
        What the host divides the pooled sums by: 1 unless the pool was an average.
    """

    name: str
    layer: str
    parts: tuple[OutputPart, ...]
    host_pool: tuple[_Size, _Size] = (1, 1)
    divisor: _Positive = 1.0


class InterfaceLayer(_Record):
    """A layer of the network, in the network's order, and where it lives.

    Attributes
    ----------
    places
        The layer or its pieces, then its copies, one after the other, then its relays; features ascending.
    delays
        (core, slot, steps) of destinations that a time-step simulation delays; of a chain of relays the
        last hop.
    """

    name: str
    places: tuple[LayerPlace, ...]
    spike_mode: Literal["multi", "single"] = "multi"
    delays: tuple[tuple[int, int, _Count], ...] = ()

    @property
    def standing(self) -> tuple[tuple[LayerPlace, ...], ...]:
        """The layer or its pieces, then those of every copy; a copy begins at feature 0."""
        copies: list[list[LayerPlace]] = []
        for place in self.places:
            if place.role == "copy":
                if not copies or not place.start:
                    copies.append([])
                copies[-1].append(place)
        own = tuple(place for place in self.places if place.role in ("layer", "piece"))
        return own, *map(tuple, copies)


class InterfaceOrigin(_Record):
    """A layer of the network as it was given, and where it is found: as `mapper.network.Origin`."""

    name: str
    shape: tuple[_Size, _Size, _Size]
    layer: str
    start: _Count = 0
    phases: tuple[_Size, _Size] = (1, 1)

    @property
    def origin(self) -> Origin:
        """The same as part of a network."""
        return Origin(self.name, Shape(*self.shape), self.layer, self.start, self.phases)


class Interface(_Record):
    """What samna's fields cannot say; never sent to a chip.

    Names of inputs, outputs and layers are "network:name" where several networks share the chip.

    Attributes
    ----------
    network
        Its name, or the names of all joined by "+".
    sensor_relays
        Cores that pass the sensor's events on, for every input of the sensor stage.
    monitored
        Layers whose spikes are read.
    dt_us
        Microseconds of a time step, or None.
    slow_clock_hz
        Rate the slow clock must have; None where nothing needs it.
    notes
        What a user should know before trusting the result.
    readings
        What was taken for granted while reading the network.
    origins
        Where the layers that were given are found, in their order; None where these are `layers`.
    """

    schema_version: Literal[1] = 1
    network: str
    inputs: tuple[InterfaceInput, ...]
    outputs: tuple[InterfaceOutput, ...]
    layers: tuple[InterfaceLayer, ...]
    sensor_relays: tuple[LayerPlace, ...] = ()
    monitored: tuple[str, ...] = ()
    dt_us: _Positive | None = None
    slow_clock_hz: _Positive | None = None
    notes: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    origins: tuple[InterfaceOrigin, ...] | None = None

    @property
    def sensor_inputs(self) -> tuple[str, ...]:
        """Names of the inputs that enter through the sensor stage; the first stands for its events."""
        return tuple(entry.name for entry in self.inputs if entry.source == "dvs")

    @property
    def shown(self) -> dict[str, tuple[str, Origin | None]]:
        """By what results call a layer, which of `layers` holds it, and where in it; None for all of it.

        First the layers as they were given, in their order, then those that only pass on what others send.
        """
        origins = [entry.origin for entry in self.origins or ()]
        held = {origin.layer for origin in origins}
        shown: dict[str, tuple[str, Origin | None]] = {
            origin.name: (origin.layer, origin) for origin in origins
        }
        return shown | {layer.name: (layer.name, None) for layer in self.layers if layer.name not in held}

    @property
    def places(self) -> Iterator[tuple[str, LayerPlace]]:
        """(layer or input, place) of every core that holds something."""
        for layer in self.layers:
            yield from ((layer.name, place) for place in layer.places)
        for entry in self.inputs:
            yield from ((entry.name, place) for place in entry.relays)
        yield from ((self.sensor_inputs[0], place) for place in self.sensor_relays)

    @model_validator(mode="after")
    def _check_sensor(self) -> Self:
        if self.sensor_relays and not self.sensor_inputs:
            raise ValueError("sensor_relays pass the sensor on, and no input is the sensor's")
        return self

    @model_validator(mode="after")
    def _check_origins(self) -> Self:
        features = {e.name: max((place.stop for place in e.places), default=0) for e in self.layers}
        for entry in self.origins or ():
            last = entry.start + entry.shape[0] * entry.phases[0] * entry.phases[1]
            if last > features.get(entry.layer, 0):
                raise ValueError(f"origin {entry.name}: layer {titled(entry.layer)} has no such features")
        return self

    @model_validator(mode="after")
    def _check_once(self) -> Self:
        """What stands here twice, or under the name of something else, would be counted twice or wrongly."""
        named = {
            "input": [entry.name for entry in self.inputs],
            "layer": [entry.name for entry in self.layers],
            "output": [entry.name for entry in self.outputs],
            "origin": [entry.name for entry in self.origins or ()],
        }
        for kind, names in named.items():
            for name, times in Counter(names).items():
                if times > 1:
                    raise ValueError(f"{kind} {name} stands there {times} times")
        for core, times in Counter(place.core for _, place in self.places).items():
            if times > 1:
                raise ValueError(f"core {core} has {times} places: a core holds one thing")
        layers = {layer.name: {place.core for place in layer.places} for layer in self.layers}
        holders = {entry.name: entry.layer for entry in self.origins or ()}
        ends = Counter[str]()
        for entry in sorted(self.origins or (), key=lambda entry: entry.start):
            if entry.name in layers and entry.layer != entry.name:
                raise ValueError(
                    f"origin {entry.name} is in layer {titled(entry.layer)}, and there is a layer of its name"
                )
            if entry.start < ends[entry.layer]:
                raise ValueError(
                    f"origin {entry.name} has features of layer {titled(entry.layer)} that another has"
                )
            ends[entry.layer] = entry.start + entry.shape[0] * entry.phases[0] * entry.phases[1]
        for output in self.outputs:
            held = layers.get(holders.get(output.layer, output.layer))
            strange = [part.core for part in output.parts if held and part.core not in held]
            if strange:
                where = f"core {strange[0]}, which {output.layer} is not on"
                raise ValueError(f"output {output.name} is read at {where}")
        return self

    @property
    def owners(self) -> dict[int, str]:
        """By core, what it holds: the name of a layer, or what it is of a layer or of inputs."""
        names = {name: name for name, _ in self.places}
        names |= dict.fromkeys(self.sensor_inputs[:1], ", ".join(self.sensor_inputs))
        return {
            place.core: f"{place.role} of {names[name]}" if place.role in ("copy", "relay") else name
            for name, place in self.places
        }
