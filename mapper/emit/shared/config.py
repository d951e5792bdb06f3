"""The configuration of a chip as plain, immutable data.

`hardware` has exactly samna's field names (those of the classes `SpeckConfiguration` and
`DynapcnnConfiguration`); a field a chip does not have is None and is not written. `interface` says what
samna's fields cannot: where input enters, which outputs count, which layer lives where. It is never sent
to a chip, and is None for a configuration that was read back from one.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from hwspec.schema import ChipSpec
from mapper.emit.shared.tensor import Tensor

__all__ = [
    "ChipConfig",
    "CnnLayer",
    "Destination",
    "Dimensions",
    "DvsDestination",
    "DvsFilter",
    "DvsLayer",
    "Hardware",
    "InputEntry",
    "Interface",
    "InterfaceInput",
    "InterfaceLayer",
    "InterfaceOutput",
    "LayerPlace",
    "LayerShape",
    "OutputPart",
    "Readout",
    "Vector",
    "VendorNames",
    "vendor_names",
]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Vector(_Record):
    """A pair of samna: x counts columns, y rows."""

    x: int
    y: int


class LayerShape(_Record):
    """Features and size of a map."""

    feature_count: int
    size: Vector


class Dimensions(_Record):
    """Shapes of a core; `output_shape` is the neuron map before any pooling."""

    input_shape: LayerShape
    output_shape: LayerShape
    kernel_size: int
    stride: Vector
    padding: Vector


class Destination(_Record):
    """One destination entry of a core; `layer` is a core id, or the readout stage's id."""

    layer: int = 0
    enable: bool = False
    pooling: int = 1
    feature_shift: int = 0


class CnnLayer(_Record):
    """One core; an unused one has no dimensions and no tensors.

    Attributes
    ----------
    weights
        int8 (out, in, x, y): the last two axes are torch's, swapped.
    biases
        (out,), zeros where there are none.
    neurons_initial_value
        int16 (out, x, y).
    threshold_high, threshold_low
        int16; a neuron fires at or above the high one, and never goes below the low one.
    weights_kill_bit, biases_kill_bit, neurons_value_kill_bit
        1 switches an entry off; only where the chip has them.
    """

    dimensions: Dimensions | None = None
    destinations: tuple[Destination, ...]
    weights: Tensor | None = None
    biases: Tensor | None = None
    neurons_initial_value: Tensor | None = None
    threshold_high: int | None = None
    threshold_low: int | None = None
    return_to_zero: bool = False
    leak_enable: bool = False
    leak_internal_slow_clk_enable: bool | None = None
    monitor_enable: bool = False
    input_congestion_balancer_enable: bool | None = None
    output_decimator_enable: bool | None = None
    output_decimator_interval: int | None = None
    weights_kill_bit: Tensor | None = None
    biases_kill_bit: Tensor | None = None
    neurons_value_kill_bit: Tensor | None = None


class DvsDestination(_Record):
    """One destination entry of the sensor stage."""

    layer: int = 0
    enable: bool = False


class DvsLayer(_Record):
    """The sensor stage; `cut` is inclusive, in pooled coordinates."""

    destinations: tuple[DvsDestination, ...]
    pass_sensor_events: bool = False
    merge: bool = False
    on_channel: bool = True
    off_channel: bool = True
    pooling: Vector
    origin: Vector
    cut: Vector
    mirror: Vector
    mirror_diagonal: bool = False
    monitor_enable: bool = False
    raw_monitor_enable: bool = False


class DvsFilter(_Record):
    """The noise filter of the sensor stage: off, noise, low-pass, or noise with hot pixels."""

    enable: bool = False
    filter_size: Vector = Vector(x=1, y=1)
    threshold: int = 0
    hot_pixel_filter_enable: bool = False
    low_pass_mode_enable: bool = False
    internal_slow_clk: bool | None = None


class Readout(_Record):
    """The readout stage."""

    enable: bool = False
    readout_configuration_sel: int = 3
    output_mode_sel: int = 0
    threshold: int = 0
    low_pass_filter_disable: bool = True
    low_pass_filter32_not16: bool = False
    monitor_enable: bool = False
    readout_pin_monitor_enable: bool = False
    internal_slow_clk: bool | None = None


class Hardware(_Record):
    """All that is written to the chip.

    Attributes
    ----------
    cnn_layers
        By core id.
    dvs_layer, dvs_filter, readout
        None where the chip has no such stage.
    factory_config
        Factory settings that are passed through as they are, by samna's names; None for none.
    """

    cnn_layers: tuple[CnnLayer, ...]
    dvs_layer: DvsLayer | None = None
    dvs_filter: DvsFilter | None = None
    readout: Readout | None = None
    factory_config: dict[str, int] | None = None


class InputEntry(_Record):
    """A core that takes an input's events, features shifted by `feature_shift`."""

    core: int
    feature_shift: int = 0


class LayerPlace(_Record):
    """Features [start, stop) of a layer or input on one core.

    Attributes
    ----------
    role
        "layer": the whole layer; "piece": some of its features; "copy": the layer, or some of its features,
        once more; "relay": a core that only passes the spikes on.
    """

    core: int
    start: int
    stop: int
    role: Literal["layer", "piece", "copy", "relay"] = "layer"


class InterfaceInput(_Record):
    """Where an input enters: host events at `entries`, or the sensor stage.

    Attributes
    ----------
    shape
        (features, height, width) of the events.
    entries
        Cores that take host events. Of the sensor stage: which of its destinations belong to this input,
        where several networks read it; empty where all do.
    relays
        Cores that pass the events on.
    """

    name: str
    shape: tuple[int, int, int]
    source: Literal["host", "dvs"]
    entries: tuple[InputEntry, ...] = ()
    relays: tuple[LayerPlace, ...] = ()


class OutputPart(_Record):
    """Features [start, stop) of an output, as the monitor of a core shows them."""

    core: int
    start: int
    stop: int


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
    host_pool: tuple[int, int] = (1, 1)
    divisor: float = 1.0


class InterfaceLayer(_Record):
    """A layer of the network, in the network's order, and where it lives.

    Attributes
    ----------
    places
        The layer or its pieces, then its copy, then its relays; features ascending.
    delays
        (core, slot, steps) of destinations that a time-step simulation delays; of a chain of relays the
        last hop.
    """

    name: str
    places: tuple[LayerPlace, ...]
    spike_mode: Literal["multi", "single"] = "multi"
    delays: tuple[tuple[int, int, int], ...] = ()


class Interface(_Record):
    """What samna's fields cannot say; never sent to a chip.

    Names of inputs, outputs and layers are "network:name" where several networks share the chip.

    Attributes
    ----------
    network
        Its name, or the names of all joined by "+".
    monitored
        Layers whose spikes are read.
    dt_us
        Microseconds of a time step, or None.
    slow_clock_hz
        Rate the slow clock must have; None where nothing needs it.
    notes
        What a user should know before trusting the result.
    """

    schema_version: Literal[1] = 1
    network: str
    inputs: tuple[InterfaceInput, ...]
    outputs: tuple[InterfaceOutput, ...]
    layers: tuple[InterfaceLayer, ...]
    monitored: tuple[str, ...] = ()
    dt_us: float | None = None
    slow_clock_hz: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def owners(self) -> dict[int, str]:
        """By core, what it holds: the name of a layer, or what it is of a layer or input."""
        places = [(entry.name, place) for entry in self.layers for place in entry.places]
        places += [(entry.name, place) for entry in self.inputs for place in entry.relays]
        return {
            place.core: f"{place.role} of {name}" if place.role in ("copy", "relay") else name
            for name, place in places
        }


class VendorNames(_Record):
    """What samna calls things of this chip, so that the file is all that a board's machine needs.

    Attributes
    ----------
    device_types
        Pairs: the device name users write, samna's name of its type.
    """

    samna_module: str
    configuration_class: str
    source_node: str
    sink_node: str
    device_types: tuple[tuple[str, str], ...]


class ChipConfig(_Record):
    """A configuration: for which chip, what is written to it, and what that means.

    Attributes
    ----------
    chip, chip_hash
        Name and hash of the specification it was made for.
    vendor
        None for a chip that samna does not know.
    """

    schema_version: Literal[1] = 1
    chip: str
    chip_hash: str
    vendor: VendorNames | None = None
    hardware: Hardware
    interface: Interface | None = None


def vendor_names(chip: ChipSpec) -> VendorNames | None:
    """The names of a chip's specification, or None for a chip that samna does not know."""
    if chip.emission is None:
        return None
    return VendorNames(**{name: getattr(chip.emission, name) for name in VendorNames.model_fields})
