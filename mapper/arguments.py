"""The arguments of this package's public functions and classes: what they may be, and where to get one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwspec.arguments import Checker
from hwspec.kinds import ARRAY, Kind, is_array, is_whole, own_class, whole
from mapper.asking import asked_as
from mapper.errors import OptionsError

__all__ = ["checked"]


def _is_shape(value: object) -> bool:
    return _SHAPE.fits(value) and isinstance(value, tuple) and all(map(is_whole, value))


def _is_plain_shape(value: Any) -> bool:
    # Its class is looked at last: that takes longest.
    return isinstance(value, tuple) and {*map(type, value)} == {int} and _SHAPE.fits(value)


def _of_integers(shape: Any) -> Any:
    return shape._make(map(whole, shape))


def _is_values(value: object) -> bool:
    return is_array(value) or (isinstance(value, int | float) and not isinstance(value, bool))


def _is_torch_device(value: object) -> bool:
    kind = type(value)
    return isinstance(value, str) or (kind.__module__ == "torch" and kind.__name__ == "device")


def _is_indexed(value: object) -> bool:
    is_text = isinstance(value, str | bytes | Mapping)
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not is_text


def _is_events(value: object) -> bool:
    return hasattr(value, "__array__") or isinstance(value, Mapping)


_SHAPE = own_class("Shape")
_RESULT = 'mapper.solve("digits") gives one'
_DEVICE = 'a name as "speck2f"'
_OPTIONS = (
    "SolveOptions", "NirOptions", "TorchOptions", "EmitOptions", "EventOptions", "NoiseFilter", "DvsSettings",
)  # fmt: skip

_KINDS: Mapping[str, Kind] = {
    "Result": own_class("Result", _RESULT),
    "ChipConfig": own_class(
        "ChipConfig",
        'mapper.build_config(mapper.solve("digits")) makes one, mapper.read_config("config.json") reads one',
    ),
    "ChipSpec": own_class("ChipSpec", 'mapper.load_chip("speck2f") gives one'),
    "Network": own_class("Network", 'mapper.load_network("digits") reads one'),
    "NormalNetwork": own_class("NormalNetwork", 'mapper.solve("digits").networks are such'),
    "LabelledData": own_class(
        "LabelledData", 'mapper.equivalence.read_labelled("digits") reads some', "LabelledData"
    ),
    "FrameState": own_class("FrameState", "The state of an earlier result is one: result.state"),
    "Board": own_class("Board", "mapper.boards.open_board(device, config) gives one"),
    "Tuned": own_class("Tuned", "mapper.tuning.worth(network, data=...) gives one", "Tuned"),
    "Shape": replace(
        _SHAPE,
        fits=_is_shape,
        way_out="Write mapper.Shape(features, height, width), of whole numbers",
        plain=_of_integers,
        keeps=_is_plain_shape,
    ),
    "Knobs": own_class("Knobs", "Write mapper.tuning.Knobs(...)", "Knobs"),
    "Events": Kind(
        "an array of events", _is_events, "mapper.events.read_events(path) reads them", "arrays of events"
    ),
    "NDArray": ARRAY,
    # Of a network: one number is an array of no dimension.
    "Array": replace(ARRAY, fits=_is_values),
    "ChipDevice": Kind("text or a path", lambda value: isinstance(value, str | Path), allowed=_DEVICE),
    "TorchDevice": Kind("text or a torch.device", _is_torch_device, 'Write "cpu" or "cuda:0"'),
    "Rasters": Kind("samples by index", _is_indexed, several="samples by index"),
    "Raster": Kind("a raster", is_array, "mapper.events.read_raster(path) reads one", "rasters"),
    **{name: own_class(name, f"Write mapper.{name}(...)") for name in _OPTIONS},
    "DataOptions": own_class("DataOptions", "Write mapper.equivalence.DataOptions(...)"),
    "Listening": own_class("Listening", "Write mapper.boards.Listening(...)"),
    **{name: own_class(name, f"Write mapper.tuning.{name}(...)") for name in ("TuneOptions", "Harder")},
}

checked = Checker(OptionsError, _KINDS, asked_as)
