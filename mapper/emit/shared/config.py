"""The configuration of a chip as plain, immutable data.

`hardware` has exactly samna's field names (those of the classes `SpeckConfiguration` and
`DynapcnnConfiguration`); a field a chip does not have is None and is not written. `interface` says what
samna's fields cannot.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from hwspec.display import Shown
from hwspec.schema import ChipSpec, LibraryModule, LibraryName
from mapper.emit.shared.interface import Interface
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
    "LayerShape",
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

    @property
    def output_size(self) -> tuple[int, int]:
        """(height, width) of the map that leaves the stage: cut, and its axes swapped."""
        size = (self.cut.y - self.origin.y + 1, self.cut.x - self.origin.x + 1)
        return size[::-1] if self.mirror_diagonal else size

    @property
    def output_pooling(self) -> tuple[int, int]:
        """(height, width) of the pools along the axes of that map."""
        pooling = (self.pooling.y, self.pooling.x)
        return pooling[::-1] if self.mirror_diagonal else pooling


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


class VendorNames(_Record):
    """What samna calls things of this chip, so that the file is all that a board's machine needs.

    Attributes
    ----------
    device_types
        Pairs: the device name users write, samna's name of its type.
    """

    samna_module: LibraryModule
    configuration_class: LibraryName
    source_node: LibraryName
    sink_node: LibraryName
    device_types: tuple[tuple[str, str], ...]


class ChipConfig(Shown, _Record):
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
