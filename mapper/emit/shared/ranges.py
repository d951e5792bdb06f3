"""What the fields of a configuration hold: one table, for the writer, for samna's objects and for readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from pydantic import BaseModel

from hwspec.catalog import load, names
from hwspec.schema import ChipSpec, LayerLimits
from mapper.emit.shared.config import ChipConfig, Destination, DvsDestination, Hardware, vendor_names
from mapper.emit.shared.tensor import Tensor
from mapper.errors import Finding
from mapper.wording import titled

__all__ = ["FAMILY", "Range", "config_findings", "out_of_range", "ranges_of"]


@dataclass(frozen=True, slots=True)
class Range:
    """Whole numbers that a field holds: `low` .. `high`, or only some of them."""

    low: int
    high: int
    only: tuple[int, ...] = ()

    @classmethod
    def among(cls, values: tuple[int, ...]) -> Range:
        """These values and no others."""
        return cls(min(values), max(values), values)

    @classmethod
    def signed(cls, bits: int) -> Range:
        """Integers of so many bits in two's complement."""
        return cls(-(1 << bits - 1), (1 << bits - 1) - 1)

    def holds(self, value: int) -> bool:
        """Whether the field can have this value."""
        return self.low <= value <= self.high and (not self.only or value in self.only)

    def __str__(self) -> str:
        return ", ".join(map(str, self.only)) if self.only else f"{self.low}..{self.high}"


_BIT, _POOLS, _SIDE, _MAP = Range(0, 1), Range.among((1, 2, 4)), Range(1, 128), Range(1, 64)
_FEATURES, _PIXEL = Range(1, 1024), Range(0, 127)

FAMILY: Mapping[str, Range] = {
    "cnn_layers.dimensions.input_shape.feature_count": _FEATURES,
    "cnn_layers.dimensions.input_shape.size.x": _SIDE,
    "cnn_layers.dimensions.input_shape.size.y": _SIDE,
    "cnn_layers.dimensions.output_shape.feature_count": _FEATURES,
    "cnn_layers.dimensions.output_shape.size.x": _MAP,
    "cnn_layers.dimensions.output_shape.size.y": _MAP,
    "cnn_layers.dimensions.kernel_size": Range(1, 16),
    "cnn_layers.dimensions.stride.x": Range.among((1, 2, 4, 8)),
    "cnn_layers.dimensions.stride.y": Range.among((1, 2, 4, 8)),
    "cnn_layers.dimensions.padding.x": Range(0, 7),
    "cnn_layers.dimensions.padding.y": Range(0, 7),
    "cnn_layers.destinations.layer": Range(0, 13),
    "cnn_layers.destinations.pooling": _POOLS,
    "cnn_layers.destinations.feature_shift": Range(0, 1023),
    "cnn_layers.weights": Range.signed(8),
    "cnn_layers.biases": Range.signed(16),
    "cnn_layers.neurons_initial_value": Range.signed(16),
    "cnn_layers.threshold_high": Range(1, 32767),
    # Erratum of the data sheet: a lower bound of 0 misbehaves.
    "cnn_layers.threshold_low": Range(-32768, -1),
    "cnn_layers.output_decimator_interval": Range(0, 7),
    "cnn_layers.weights_kill_bit": _BIT,
    "cnn_layers.biases_kill_bit": _BIT,
    "cnn_layers.neurons_value_kill_bit": _BIT,
    "dvs_layer.destinations.layer": Range(0, 13),
    "dvs_layer.pooling.x": _POOLS,
    "dvs_layer.pooling.y": _POOLS,
    "dvs_layer.origin.x": _PIXEL,
    "dvs_layer.origin.y": _PIXEL,
    "dvs_layer.cut.x": _PIXEL,
    "dvs_layer.cut.y": _PIXEL,
    "dvs_layer.mirror.x": _BIT,
    "dvs_layer.mirror.y": _BIT,
    "dvs_filter.filter_size.x": Range(0, 15),
    "dvs_filter.filter_size.y": Range(0, 15),
    "dvs_filter.threshold": Range(0, 32767),
    "readout.readout_configuration_sel": Range(0, 3),
    "readout.output_mode_sel": Range(0, 3),
    "readout.threshold": Range(0, 32767),
}
"""What the family's chips hold, by field. Source: samna's types; Speck Dev Kit Datasheet V1.0, 2.4, 3.2."""


# A chip that samna does not know may be larger in all but the width of its potentials: the simulators hold
# 16 bits. What a size must be follows from the network; here it is only kept from being absurd.
_SIZE = Range(0, 65535)
_UNKNOWN: Mapping[str, Range] = {
    **FAMILY,
    **{name: Range(1, 65536) for name in FAMILY if ".dimensions." in name},
    **{f"cnn_layers.dimensions.padding.{axis}": _SIZE for axis in ("x", "y")},
    "cnn_layers.destinations.layer": Range(0, 1_000_000),
    "cnn_layers.destinations.pooling": Range.among(tuple(1 << n for n in range(16))),
    "cnn_layers.destinations.feature_shift": _SIZE,
    "cnn_layers.weights": Range.signed(16),
    "dvs_layer.destinations.layer": Range(0, 1_000_000),
    **{f"dvs_layer.pooling.{axis}": Range.among(tuple(1 << n for n in range(16))) for axis in ("x", "y")},
    **{f"dvs_layer.{name}.{axis}": _SIZE for name in ("origin", "cut") for axis in ("x", "y")},
}


def ranges_of(chip: ChipSpec | None = None, core: int = 0) -> Mapping[str, Range]:
    """By field, what a chip's fields hold; those of the family for None.

    Parameters
    ----------
    core
        Whose `cnn_layers` are meant: cores may have limits of their own.
    """
    if chip is None:
        return FAMILY
    readout = chip.readout.destination_id if chip.readout else 0
    last = chip.emission.destination_id_max if chip.emission else max(chip.core_count - 1, readout)
    own = _core_ranges(chip.cores[core].limits)
    own["destinations.layer"] = Range(0, last)
    own["destinations.pooling"] = Range.among(chip.routing.poolings)
    most = max(entry.limits.input_features_max for entry in chip.cores) - 1
    own["destinations.feature_shift"] = Range(0, most if chip.routing.feature_shift else 0)
    ranges = {**FAMILY, **{f"cnn_layers.{name}": entry for name, entry in own.items()}}
    if chip.input is not None:
        ranges["dvs_layer.destinations.layer"] = Range(0, last)
        for axis, size in (("y", chip.input.height), ("x", chip.input.width)):
            ranges[f"dvs_layer.pooling.{axis}"] = Range.among(chip.input.poolings)
            ranges[f"dvs_layer.origin.{axis}"] = ranges[f"dvs_layer.cut.{axis}"] = Range(0, size - 1)
    return ranges


def _core_ranges(limits: LayerLimits) -> dict[str, Range]:
    state = Range.signed(limits.state_bits)
    kernels = Range(limits.kernel_size_min, limits.kernel_size_max)
    ranges = {
        "dimensions.input_shape.feature_count": Range(1, limits.input_features_max),
        "dimensions.input_shape.size.x": Range(1, limits.input_width_max),
        "dimensions.input_shape.size.y": Range(1, limits.input_height_max),
        "dimensions.output_shape.feature_count": Range(1, limits.output_features_max),
        "dimensions.output_shape.size.x": Range(1, limits.output_width_max),
        "dimensions.output_shape.size.y": Range(1, limits.output_height_max),
        "dimensions.kernel_size": kernels,
        "weights": Range.signed(limits.weight_bits),
        "biases": Range.signed(limits.bias_bits),
        "neurons_initial_value": state,
        "threshold_high": Range(1, state.high),
        "threshold_low": Range(state.low, -1),
    }
    for axis in ("x", "y"):
        ranges[f"dimensions.stride.{axis}"] = Range.among(limits.strides)
        ranges[f"dimensions.padding.{axis}"] = Range(0, limits.padding_max)
    return ranges


def out_of_range(
    hardware: Hardware,
    chip: ChipSpec | None = None,
    owners: Mapping[int, str] | None = None,
    *,
    is_family: bool = True,
) -> Iterator[Finding]:
    """Every value that its field cannot hold.

    Parameters
    ----------
    chip
        Whose fields; None for what all chips of the family have.
    owners
        By core, what it holds, for the messages.
    is_family
        Without a chip: whether it is one of the family, or may be larger.
    """
    known: dict[LayerLimits, Mapping[str, Range]] = {}

    def ranges(core: int = 0) -> Mapping[str, Range]:
        if chip is None:
            return FAMILY if is_family else _UNKNOWN
        limits = chip.cores[core].limits
        if limits not in known:
            known[limits] = ranges_of(chip, core)
        return known[limits]

    # What is one object and sound is so a second time: most cores of a large chip are idle.
    sound: set[tuple[int, int]] = set()
    for number, core in enumerate(hardware.cnn_layers):
        held = ranges(number)
        if (key := (id(core), id(held))) in sound:
            continue
        owner = f" ({owners[number]})" if owners and number in owners else ""
        if misfits := [*_misfits(core, held, "cnn_layers", f"core {number}{owner}: ")]:
            yield from misfits
        else:
            sound.add(key)
    stages = ranges()
    for name in ("dvs_layer", "dvs_filter", "readout"):
        part = getattr(hardware, name)
        if part is not None:
            yield from _misfits(part, stages, name, f"{name}: ")


def config_findings(config: ChipConfig) -> Iterator[Finding]:
    """What a configuration says that its chip cannot hold, or that contradicts the chip it names.

    The chip is found by its hash, else by what samna calls it: variants within a chip's limits keep that and
    have names of their own. Of a chip that samna does not know only the widths of numbers are checked.
    """
    shipped = {name: load(name) for name in names()}
    chip = next((entry for entry in shipped.values() if entry.content_hash() == config.chip_hash), None)
    if chip is not None and chip.name != config.chip:
        yield Finding("chip", "is not the chip that chip_hash stands for", config.chip, chip.name)
    if chip is None and config.vendor is not None:
        called = {vendor_names(entry): entry for entry in shipped.values()}
        chip = called.get(config.vendor)
        if chip is None:
            step = "Emit the configuration again"
            known = ", ".join(sorted(entry.samna_module for entry in called if entry is not None))
            name = config.vendor.samna_module
            yield Finding("vendor", "its names are those of no chip", name, known, next_step=step)
            return
    named = shipped.get(config.chip)
    if named is not None and config.vendor not in (None, vendor_names(named)):
        yield Finding("vendor", f"is not that of {named.name}", config.vendor and config.vendor.samna_module)
    yield from _core_findings(config, chip)
    if chip is not None and len(config.hardware.cnn_layers) > chip.core_count:
        return  # what the fields of cores hold that are not there is no question
    owners = config.interface.owners if config.interface else None
    yield from out_of_range(config.hardware, chip, owners, is_family=False)


def _core_findings(config: ChipConfig, chip: ChipSpec | None) -> Iterator[Finding]:
    """Cores that are missing or too many, and places of the interface that are on none."""
    count = len(config.hardware.cnn_layers)
    if chip is not None and (
        count > chip.core_count or (chip.name == config.chip and count < chip.core_count)
    ):
        yield Finding("hardware.cnn_layers", f"must be the cores of {chip.name}", count, chip.core_count)
    yield from _destination_findings(config, chip)
    if config.interface is None:
        return
    for layer in config.interface.layers:
        if not any(place.role in ("layer", "piece") for place in layer.places):
            yield Finding(f"interface: layer {titled(layer.name)}", "is on no core")
    entered = [(entry.name, core.core) for entry in config.interface.inputs for core in entry.entries]
    shown = [(entry.name, part.core) for entry in config.interface.outputs for part in entry.parts]
    for name, core in (*((name, place.core) for name, place in config.interface.places), *entered, *shown):
        if not 0 <= core < count:
            yield Finding(f"interface: {name}", "is on a core that is not there", core, f"0..{count - 1}")
        elif config.hardware.cnn_layers[core].dimensions is None:
            yield Finding(f"interface: {name}", "is on a core that is not configured", core)


def _destination_findings(config: ChipConfig, chip: ChipSpec | None) -> Iterator[Finding]:
    """Destinations in use that are neither a core nor the readout stage."""
    hardware = config.hardware
    count, readout = len(hardware.cnn_layers), chip.readout if chip else None
    allowed = f"0..{count - 1}" + (f", {readout.destination_id}" if readout else "")
    senders: dict[str, tuple[Destination | DvsDestination, ...]] = {
        f"core {n}": core.destinations for n, core in enumerate(hardware.cnn_layers)
    }
    if hardware.dvs_layer is not None:
        senders["dvs_layer"] = hardware.dvs_layer.destinations
    most_of_cores = max(core.fan_out for core in chip.cores) if chip else None
    most_of_sensor = chip.input.fan_out if chip and chip.input else None
    for where, entries in senders.items():
        most = most_of_sensor if where == "dvs_layer" else most_of_cores
        if most is not None and len(entries) > most:
            yield Finding(f"{where}: destinations", "are more than the chip has", len(entries), most)
        for slot, entry in enumerate(entries):
            is_readout = (
                entry.layer == readout.destination_id if readout else chip is None and hardware.readout
            )
            if entry.enable and entry.layer >= count and not is_readout:
                yield Finding(f"{where}: destinations[{slot}]", "leads to nothing", entry.layer, allowed)


@cache
def _fields(record: type[BaseModel], field: str) -> tuple[tuple[str, str], ...]:
    """The names of a record's fields, alone and as ranges have them."""
    return tuple((name, f"{field}.{name}") for name in record.model_fields)


def _misfits(record: BaseModel, ranges: Mapping[str, Range], field: str, where: str) -> Iterator[Finding]:
    for name, path in _fields(type(record), field):
        value = getattr(record, name)
        if isinstance(value, BaseModel):
            yield from _misfits(value, ranges, path, f"{where}{name}.")
        elif isinstance(value, tuple):
            sound: set[int] = set()
            for n, entry in enumerate(value):
                if id(entry) not in sound:
                    misfits = [*_misfits(entry, ranges, path, f"{where}{name}[{n}].")]
                    yield from misfits
                    sound |= set() if misfits else {id(entry)}
        elif path in ranges and value is not None:
            wrong = _wrong(value, ranges[path])
            if wrong is not None:
                yield Finding(f"{where}{name}", "its field cannot hold this value", wrong, ranges[path])


def _wrong(value: Tensor | int, allowed: Range) -> int | None:
    """The value outside, of a tensor the one farthest out; None if there is none."""
    if not isinstance(value, Tensor):
        return None if allowed.holds(value) else value
    if not value.array.size:
        return None
    low, high = int(value.array.min()), int(value.array.max())
    return low if low < allowed.low else high if high > allowed.high else None
