"""Configurations as samna's objects and back: the only file that imports samna.

The `samna` of the package index is an installer stub that starts pip when it is imported, so it is looked
at first. Attributes that only some chips or versions have are skipped where our value changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from hwspec.catalog import load as load_chip
from hwspec.catalog import names
from hwspec.schema import ChipSpec
from mapper.emit.shared.config import (
    ChipConfig,
    CnnLayer,
    Destination,
    Dimensions,
    DvsDestination,
    DvsFilter,
    DvsLayer,
    Hardware,
    LayerShape,
    Readout,
    Vector,
    vendor_names,
)
from mapper.emit.shared.ranges import out_of_range
from mapper.emit.shared.tensor import Tensor
from mapper.errors import BackendMissingError, ConfigError, EmitError, Finding

__all__ = [
    "chip_library",
    "find_samna",
    "flash_binary",
    "from_samna",
    "quiet",
    "require_samna",
    "samna_library",
    "to_samna",
    "validate",
]

# Attributes every version of samna has; all others are written where they exist.
_REQUIRED = frozenset(
    (
        "dimensions",
        "destinations",
        "weights",
        "biases",
        "neurons_initial_value",
        "threshold_high",
        "threshold_low",
        "return_to_zero",
        "leak_enable",
        "monitor_enable",
        "layer",
        "enable",
        "pooling",
        "feature_shift",
        "input_shape",
        "output_shape",
        "kernel_size",
        "stride",
        "padding",
        "feature_count",
        "size",
        "x",
        "y",
        "pass_sensor_events",
        "merge",
        "origin",
        "cut",
        "mirror",
        "mirror_diagonal",
    )
)
_FLAGS = (
    "leak_enable",
    "monitor_enable",
    "return_to_zero",
    "leak_internal_slow_clk_enable",
    "input_congestion_balancer_enable",
    "output_decimator_enable",
)
_TENSOR_TYPES: Mapping[str, Any] = {
    "weights": np.int8,
    "neurons_initial_value": np.int16,
}


def find_samna() -> Literal["real", "stub"] | None:
    """Whether samna is there, without importing it: a real library has a compiled extension."""
    spec = find_spec("samna")
    if spec is None:
        return None
    if spec.origin is None:
        return "stub"
    folder = Path(spec.origin).parent
    compiled = [*folder.glob("*.so"), *folder.glob("*.pyd"), *folder.glob("*.dylib")]
    return "stub" if not compiled or (folder / "PYPI_SAMNA").exists() else "real"


def require_samna(needed_for: str) -> None:
    """Check that samna can be imported; nothing is downloaded or started.

    Raises
    ------
    BackendMissingError
        It is not installed, or only its installer stub is.
    """
    state = find_samna()
    if state != "real":
        is_stub = state == "stub"
        missing = "of which only the installer stub is installed" if is_stub else "which is not installed"
        step = "Install the vendor's library as SynSense describes; configurations as files work without it"
        raise BackendMissingError("samna", needed_for, step, missing)


def samna_library(needed_for: str) -> Any:
    """The vendor's library itself.

    Raises
    ------
    BackendMissingError
        It is not there.
    """
    require_samna(needed_for)
    return import_module("samna")


def chip_library(chip: ChipSpec, needed_for: str) -> Any:
    """The part of the vendor's library that is about one chip.

    Raises
    ------
    BackendMissingError
        The library is not there, or has no part about this chip.
    ConfigError
        No library knows the chip.
    """
    if chip.emission is None:
        step = "Use a chip of the family as it is, or write config.json"
        raise ConfigError(Finding(f"chip {chip.name}", "is not known to samna", next_step=step))
    require_samna(needed_for)
    try:
        return import_module(chip.emission.samna_module)
    except ModuleNotFoundError:
        parts = {name: spec.emission.samna_module for name in names() if (spec := load_chip(name)).emission}
        present = [name for name, module in parts.items() if find_spec(module) is not None]
        step = f"The installed samna has {', '.join(present) or 'no chip of the family'}"
        raise BackendMissingError(chip.emission.samna_module, needed_for, step) from None


def to_samna(config: ChipConfig, chip: ChipSpec) -> Any:
    """The configuration as samna's object.

    Raises
    ------
    BackendMissingError
        samna is not there.
    ConfigError
        It is a chip samna does not know, or the configuration is of another chip.
    EmitError
        This version of samna has no place for a value that matters, or its type does not hold it.
    """
    library = chip_library(chip, "a configuration for a board")
    if config.chip_hash != chip.content_hash():
        problem = "was made for another chip, or for other facts about it"
        raise ConfigError(Finding("configuration", problem, config.chip, chip.name))
    if findings := tuple(out_of_range(config.hardware, chip)):
        raise EmitError(*findings)
    name = chip.emission.configuration_class if chip.emission else ""
    target: Any = getattr(library.configuration, name)()
    for number, core in enumerate(config.hardware.cnn_layers):
        _write(target.cnn_layers[number], core, f"cnn_layers[{number}]")
    for name in ("dvs_layer", "dvs_filter", "readout"):
        part = getattr(config.hardware, name)
        if part is not None:
            if not hasattr(target, name):
                if part.model_dump() != type(part)(**_neutral(part)).model_dump():
                    raise EmitError(Finding(f"this samna has no {name}", "and the configuration uses it"))
                continue
            _write(getattr(target, name), part, name)
    for name, value in (config.hardware.factory_config or {}).items():
        if not hasattr(target, "factory_config") or not hasattr(target.factory_config, name):
            problem = "and the configuration sets it"
            raise EmitError(Finding(f"this samna has no factory_config.{name}", problem, value))
        setattr(target.factory_config, name, value)
    return target


def quiet(chip: ChipSpec) -> Any:
    """Samna's object for a chip that does nothing: no sensor, no destination, no monitor, no bias.

    Raises
    ------
    BackendMissingError, ConfigError
        As `to_samna`.
    """
    library = chip_library(chip, "a configuration for a board")
    target: Any = getattr(library.configuration, chip.emission.configuration_class if chip.emission else "")()
    target.dvs_layer.pass_sensor_events = False
    target.dvs_layer.monitor_enable = False
    for part in (*target.cnn_layers, target.dvs_layer):
        part.monitor_enable = False
        for entry in part.destinations:
            entry.enable = False
    for core in target.cnn_layers:
        core.leak_enable = False
    return target


def _neutral(part: BaseModel) -> dict[str, Any]:
    """The fields a default object of this kind needs: everything that switches nothing on."""
    return {
        name: getattr(part, name) for name, field in type(part).model_fields.items() if field.is_required()
    }


def _write(target: Any, record: BaseModel, where: str) -> None:
    """Assign every field; nested objects are references and are written in place."""
    for name in type(record).model_fields:
        value = getattr(record, name)
        if value is None:
            continue
        if not hasattr(target, name):
            if name in _REQUIRED or _matters(value):
                problem = "and the value matters"
                raise EmitError(Finding(f"this samna has no {where}.{name}", problem, str(value)[:40]))
            continue
        place = f"{where}.{name}"
        if isinstance(value, Tensor):
            kind = _TENSOR_TYPES.get(name)
            array = value.array
            # Arrays where samna takes them: a hundred thousand small lists cost more than all the rest.
            setattr(target, name, array.tolist() if kind is None else array.astype(kind, order="C"))
        elif isinstance(value, BaseModel):
            _write(getattr(target, name), value, place)
        elif isinstance(value, tuple):
            for n, entry in enumerate(value):
                _write(getattr(target, name)[n], entry, f"{place}[{n}]")
        else:
            setattr(target, name, value)


def _matters(value: object) -> bool:
    if isinstance(value, Tensor):
        return bool(value.array.any())
    return bool(value)


def validate(samna_config: Any, chip: ChipSpec) -> tuple[bool, str]:
    """What samna's own check says of its object: whether it is valid, and why not.

    Raises
    ------
    BackendMissingError, ConfigError
        As `to_samna`.
    """
    valid, message = chip_library(chip, "samna's check of a configuration").validate_configuration(
        samna_config
    )
    return bool(valid), str(message)


def flash_binary(samna_config: Any, chip: ChipSpec) -> bytes:
    """The configuration as the bytes of the board's flash memory.

    Raises
    ------
    BackendMissingError, ConfigError, EmitError
        As `to_samna`; or this chip has no flash.
    """
    library = chip_library(chip, "a flash image")
    if not hasattr(library, "configuration_to_flash_binary"):
        raise EmitError(Finding(f"chip {chip.name}", "samna makes no flash image for it"))
    return bytes(library.configuration_to_flash_binary(samna_config))


def from_samna(samna_config: Any, chip: ChipSpec) -> ChipConfig:
    """Read samna's object back as plain data, without interface; cores without weights count as unused."""
    extras = chip.emission.core_extras if chip.emission else ()
    cores = tuple(
        _core(samna_config.cnn_layers[n], chip.cores[n].fan_out, extras) for n in range(chip.core_count)
    )
    hardware = Hardware(
        cnn_layers=cores,
        dvs_layer=_stage(samna_config.dvs_layer, chip) if chip.input else None,
        dvs_filter=_plain(samna_config.dvs_filter, DvsFilter)
        if hasattr(samna_config, "dvs_filter")
        else None,
        readout=_plain(samna_config.readout, Readout)
        if hasattr(samna_config, "readout") and chip.readout
        else None,
    )
    return ChipConfig(
        chip=chip.name, chip_hash=chip.content_hash(), vendor=vendor_names(chip), hardware=hardware
    )


def _core(source: Any, slots: int, extras: Sequence[str]) -> CnnLayer:
    destinations = tuple(_plain(source.destinations[n], Destination) for n in range(slots))
    fields: dict[str, Any] = {name: bool(getattr(source, name)) for name in _FLAGS if hasattr(source, name)}
    if hasattr(source, "output_decimator_interval"):
        fields["output_decimator_interval"] = int(source.output_decimator_interval)
    weights = np.asarray(source.weights)
    if weights.ndim != 4:
        return CnnLayer(destinations=destinations, **fields)
    tensors = ["weights", "biases", "neurons_initial_value"]
    if "kill_bits" in extras:
        tensors += ["weights_kill_bit", "biases_kill_bit", "neurons_value_kill_bit"]
    fields |= {name: Tensor.of(np.asarray(getattr(source, name), np.int64)) for name in tensors}
    shape = source.dimensions
    fields["dimensions"] = Dimensions(
        input_shape=_layer_shape(shape.input_shape),
        output_shape=_layer_shape(shape.output_shape),
        kernel_size=int(shape.kernel_size),
        stride=_vector(shape.stride),
        padding=_vector(shape.padding),
    )
    fields |= {"threshold_high": int(source.threshold_high), "threshold_low": int(source.threshold_low)}
    return CnnLayer(destinations=destinations, **fields)


def _layer_shape(source: Any) -> LayerShape:
    return LayerShape(feature_count=int(source.feature_count), size=_vector(source.size))


def _vector(source: Any) -> Vector:
    return Vector(x=int(source.x), y=int(source.y))


def _stage(source: Any, chip: ChipSpec) -> DvsLayer:
    count = chip.input.fan_out if chip.input else 0
    entries = tuple(_plain(source.destinations[n], DvsDestination) for n in range(count))
    return DvsLayer(destinations=entries, **_values(source, DvsLayer, {"destinations"}))


def _plain(source: Any, kind: Any) -> Any:
    return kind(**_values(source, kind, set()))


def _values(source: Any, kind: Any, left_out: set[str]) -> dict[str, Any]:
    values = {}
    for name, field in kind.model_fields.items():
        if name in left_out or not hasattr(source, name):
            continue
        value = getattr(source, name)
        values[name] = _vector(value) if field.annotation is Vector else value
    return values
