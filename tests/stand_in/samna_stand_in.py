"""A strict stand-in for samna: names, types and ranges as its documentation states them, and nothing else.

An attribute that does not exist, a wrong type or a value out of range is an error, as in the real library.
As there, nested objects take dicts and lists, numbers of NumPy and torch stand for Python's, and a flag
that was written as 1 reads as True.
"""

from __future__ import annotations

import json
import operator
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

__all__ = ["install"]

# Attributes of event objects, with the largest value each takes.
EVENTS = {
    "Spike": {"layer": 13, "feature": 1023, "y": 127, "x": 127, "timestamp": 2**32 - 1},
    "DvsEvent": {"p": 1, "y": 127, "x": 127, "timestamp": 2**32 - 1},
    "ReadNeuronValue": {"layer": 8, "address": 65535},
    "WriteNeuronValue": {"layer": 8, "address": 65535, "neuron_state": 32767},
    "NeuronValue": {"layer": 8, "address": 65535, "neuron_state": 32767},
}

FAMILIES = {
    "dynapcnn": ("DynapcnnConfiguration", 9, {"kill_bits"}),
    "speck2": ("SpeckConfiguration", 9, {"kill_bits"}),
    "speck2b": ("SpeckConfiguration", 9, {"kill_bits"}),
    "speck2cMini": ("SpeckConfiguration", 5, {"clock"}),
    "speck2dMini": ("SpeckConfiguration", 5, {"clock"}),
    "speck2e": ("SpeckConfiguration", 9, {"clock", "decimator", "readout"}),
    "speck2f": ("SpeckConfiguration", 9, {"clock", "decimator", "readout"}),
}


class Strict:
    """An object with fixed attributes, each with its own check."""

    def __init__(self, **checks: tuple[Any, Any]) -> None:
        object.__setattr__(self, "_checks", {name: check for name, (check, _) in checks.items()})
        for name, (_, start) in checks.items():
            object.__setattr__(self, name, start)

    def __setattr__(self, name: str, value: object) -> None:
        checks: dict[str, Any] = object.__getattribute__(self, "_checks")
        if name not in checks:
            raise AttributeError(f"no attribute {name}")
        if checks[name] is None:
            _fill(name, getattr(self, name), value)
        else:
            object.__setattr__(self, name, checks[name](name, value))

    def to_json(self) -> str:
        """Some JSON: the layout of the real one is not public."""
        return json.dumps(_plain(self))


def _fill(name: str, target: Any, value: object) -> None:
    """Assign a dict to a nested object field by field, or a list of dicts to a list of them."""
    if isinstance(target, list) and isinstance(value, list | tuple) and len(value) == len(target):
        for entry, fields in zip(target, value, strict=True):
            _fill(name, entry, fields)
    elif isinstance(target, Strict) and isinstance(value, dict):
        for field, content in value.items():
            setattr(target, field, content)
    else:
        raise TypeError(f"{name} is a nested object: write its fields, or a dict of them")


def _plain(value: Any) -> Any:
    if isinstance(value, Strict):
        return {name: _plain(getattr(value, name)) for name in object.__getattribute__(value, "_checks")}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def number(name: str, value: Any) -> int:
    """A Python int, of anything that is a whole number without rounding."""
    if isinstance(value, bool | float):
        raise TypeError(f"{name}: an int, not {type(value).__name__}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: an int, not {type(value).__name__}") from None


def whole(low: int, high: int) -> Any:
    def check(name: str, value: object) -> int:
        found = number(name, value)
        if not low <= found <= high:
            raise ValueError(f"{name}: {found} is outside {low}..{high}")
        return found

    return check


def flag(name: str, value: Any) -> bool:
    is_array_flag = str(getattr(value, "dtype", "")).endswith("bool") and value.ndim == 0
    if not is_array_flag and (type(value) not in (bool, int) or value not in (0, 1)):
        raise TypeError(f"{name}: a bool, not {value!r}")
    return bool(value)


def tensor(dimensions: int, low: int, high: int) -> Any:
    def check(name: str, value: Any) -> Any:
        array = np.asarray(value)
        if array.shape == (0,):
            return value
        if array.dtype.kind not in "iub" or array.ndim != dimensions:
            raise TypeError(f"{name}: {dimensions} dimensions of integers, not {array.dtype} {array.shape}")
        if array.size and (array.min() < low or array.max() > high):
            raise ValueError(f"{name}: outside {low}..{high}")
        return value

    return check


def vector(x: int = 0, y: int = 0) -> Strict:
    return Strict(x=(whole(0, 255), x), y=(whole(0, 255), y))


def flag_vector() -> Strict:
    return Strict(x=(flag, False), y=(flag, False))


def layer_shape() -> Strict:
    return Strict(feature_count=(whole(1, 1024), 1), size=(None, vector(1, 1)))


def core(extras: set[str]) -> Strict:
    entries = [
        Strict(
            layer=(whole(0, 13), 0),
            enable=(flag, False),
            pooling=(_pooling, 1),
            feature_shift=(whole(0, 1023), 0),
        )
        for _ in range(2)
    ]
    dimensions = Strict(
        padding=(None, vector()), stride=(None, vector(1, 1)), kernel_size=(whole(1, 16), 1),
        input_shape=(None, layer_shape()), output_shape=(None, layer_shape()),
    )  # fmt: skip
    state, bit = (-32768, 32767), (0, 1)
    fields: dict[str, Any] = {
        "dimensions": (None, dimensions), "destinations": (None, entries), "weights": (tensor(4, -128, 127), []),
        "biases": (tensor(1, *state), []), "neurons_initial_value": (tensor(3, *state), []),
        "threshold_high": (whole(*state), 1), "threshold_low": (_low, -1), "return_to_zero": (flag, False),
        "leak_enable": (flag, False), "monitor_enable": (flag, False),
    }  # fmt: skip
    if "kill_bits" in extras:
        fields |= {
            "weights_kill_bit": (tensor(4, *bit), []), "biases_kill_bit": (tensor(1, *bit), []),
            "neurons_value_kill_bit": (tensor(3, *bit), []),
        }  # fmt: skip
    if "clock" in extras:
        fields["leak_internal_slow_clk_enable"] = (flag, False)
    if "decimator" in extras:
        fields |= {
            "input_congestion_balancer_enable": (flag, False), "output_decimator_enable": (flag, False),
            "output_decimator_interval": (whole(0, 7), 0),
        }  # fmt: skip
    return Strict(**fields)


def _pooling(name: str, value: object) -> int:
    found = number(name, value)
    if found not in (1, 2, 4):
        raise ValueError(f"{name}: {found} is none of 1, 2, 4")
    return found


def _low(name: str, value: object) -> int:
    found: int = whole(-32768, 32767)(name, value)
    if found == 0:
        raise ValueError(f"{name}: 0 misbehaves")
    return found


def stage() -> Strict:
    entries = [Strict(layer=(whole(0, 13), 0), enable=(flag, False)) for _ in range(2)]
    names = (
        "pass_sensor_events",
        "merge",
        "on_channel",
        "off_channel",
        "mirror_diagonal",
        "monitor_enable",
        "raw_monitor_enable",
    )
    return Strict(
        destinations=(None, entries), pooling=(None, vector(1, 1)), origin=(None, vector()), cut=(None, vector(127, 127)),
        mirror=(None, flag_vector()), **{name: (flag, name.endswith("channel")) for name in names},
    )  # fmt: skip


def noise_filter(extras: set[str]) -> Strict:
    fields = dict.fromkeys(("enable", "hot_pixel_filter_enable", "low_pass_mode_enable"), (flag, False))
    if "clock" in extras:
        fields["internal_slow_clk"] = (flag, False)
    return Strict(filter_size=(None, vector(1, 1)), threshold=(whole(0, 32767), 0), **fields)


def readout() -> Strict:
    flags = (
        "enable",
        "low_pass_filter_disable",
        "low_pass_filter32_not16",
        "monitor_enable",
        "readout_pin_monitor_enable",
        "internal_slow_clk",
    )
    return Strict(
        readout_configuration_sel=(whole(0, 3), 0), output_mode_sel=(whole(0, 3), 0), threshold=(whole(0, 65535), 0),
        **dict.fromkeys(flags, (flag, False)),
    )  # fmt: skip


def configuration(family: str) -> Strict:
    _, cores, extras = FAMILIES[family]
    fields: dict[str, Any] = {
        "cnn_layers": (None, [core(extras) for _ in range(cores)]), "dvs_layer": (None, stage()), "dvs_filter": (None, noise_filter(extras)),
    }  # fmt: skip
    if "readout" in extras:
        fields["readout"] = (None, readout())
        factory = Strict(io_sel=(whole(0, 31), 0), internal_slow_clk_divider=(whole(14, 17), 14))
        fields["factory_config"] = (None, factory)
    return Strict(**fields)


def validate(config: Any) -> tuple[bool, str]:
    """The rules that are public: shapes that follow, the sensor's size, features of destinations."""
    for number, entry in enumerate(config.cnn_layers):
        if not len(entry.weights):
            continue
        shape = entry.dimensions
        expected = (
            shape.output_shape.feature_count,
            shape.input_shape.feature_count,
            shape.kernel_size,
            shape.kernel_size,
        )
        if np.asarray(entry.weights).shape != expected:
            return False, f"layer {number}: weights {np.asarray(entry.weights).shape}, expected {expected}"
        for target in entry.destinations:
            if target.enable and target.layer < len(config.cnn_layers):
                other = config.cnn_layers[target.layer].dimensions.input_shape
                if target.feature_shift + shape.output_shape.feature_count > other.feature_count:
                    return False, f"layer {number}: too many features for layer {target.layer}"
    seen = config.dvs_layer
    for target in seen.destinations:
        size = config.cnn_layers[target.layer].dimensions.input_shape.size
        if target.enable and (seen.cut.x - seen.origin.x + 1, seen.cut.y - seen.origin.y + 1) != (
            size.x,
            size.y,
        ):
            return False, "DVS layer output size does not equal the input size of its target"
    return True, ""


def event_classes() -> dict[str, type]:
    """Classes of event objects: plain attributes, each an integer in its range, keywords of the constructor."""

    def check(self: Any, name: str, value: Any) -> None:
        if name not in type(self).limits:
            raise AttributeError(f"{type(self).__name__} has no {name}")
        is_flag = str(getattr(value, "dtype", type(value).__name__)).endswith("bool")
        found = value if type(value) is int else int(value) if is_flag else number(name, value)
        if not -32768 <= found <= type(self).limits[name]:
            raise TypeError(f"{name}: {value!r}")
        object.__setattr__(self, name, found)

    def start(self: Any, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)

    methods = {"__init__": start, "__setattr__": check}
    return {
        name: type(name, (), {"limits": limits, **methods, **dict.fromkeys(limits, 0)})
        for name, limits in EVENTS.items()
    }


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Put the stand-in where samna would be; `folder` plays the installed package."""
    package = folder / "samna"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "samna.so").touch()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(sys.modules, "samna", types.ModuleType("samna"))
    root = sys.modules["samna"]
    del sys.modules["samna"]
    for family, (name, _, _) in FAMILIES.items():
        module = types.ModuleType(f"samna.{family}")
        holder = types.SimpleNamespace(**{name: lambda family=family: configuration(family)})
        module.__dict__.update(configuration=holder, validate_configuration=validate)
        module.__dict__["configuration_to_flash_binary"] = lambda config: [len(config.cnn_layers), 1, 2]
        module.__dict__["event"] = types.SimpleNamespace(**event_classes())
        setattr(root, family, module)
        monkeypatch.setitem(sys.modules, f"samna.{family}", module)
