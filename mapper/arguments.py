"""The arguments of this package's public functions and classes: what they may be, and where to get one."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwspec.arguments import Checker
from hwspec.kinds import ARRAY, Kind, is_array, is_whole, of_map, own_class, whole
from mapper.asking import asked_as
from mapper.errors import OptionsError

__all__ = ["checked"]


def _is_torch_module(value: object) -> bool:
    return any(cls.__module__ == "torch.nn.modules.module" for cls in type(value).__mro__)


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


# Of the package, which loads its parts when it is asked for them.
_PARTS = ("boards", "equivalence", "events", "tuning")
# This needs torch, and is asked only where somebody has loaded it. The other is its name of old.
_OF_TORCH, _OLD = ("mapper.compat.dynapcnn", "DynapcnnNetwork"), "DynapcnnCompatibleNetwork"
_IS_OPEN = re.compile("[a-z]").match


def _callables() -> Iterator[tuple[str, Any]]:
    """All that users call and that is checked, as they write it, with its arguments."""
    unseen = {_OLD} if _OF_TORCH[0] in sys.modules else {_OLD, _OF_TORCH[1]}
    package: Any = sys.modules["mapper"]
    for module in (package, *(getattr(package, part) for part in _PARTS)):
        for name in sorted({*module.__all__} - unseen):
            entry = getattr(module, name)
            held = entry.__dict__ if isinstance(entry, type) else {}
            for made in (entry, held.get("__init__"), held.get("__new__")):
                yield f"{module.__name__}.{name}", getattr(made, "arguments", None)
            for key in filter(_IS_OPEN, dir(entry) if held else ()):
                yield f"{name}.{key}", getattr(getattr(entry, key), "arguments", None)


def _places(word: str, asked: Callable[..., Any]) -> list[str]:
    """What takes a keyword: methods beside the one that was asked, who has it itself, who passes it on."""
    found: list[tuple[bool, bool, int, str]] = []
    owner = asked.__qualname__.rpartition(".")[0]
    for name, arguments in _callables():
        if arguments is not None and word in arguments.known:
            is_beside = bool(owner) and arguments.function.__qualname__.rpartition(".")[0] == owner
            found.append((not is_beside, word not in arguments.keywords, len(found), name))
    return list(dict.fromkeys(name for *_, name in sorted(found)))


def _as_shape(value: object) -> str:
    """How a shape is written that was given as its sides, or with what stands before them."""
    if isinstance(value, tuple | list) and len(value) == 3 and all(map(is_whole, value)):
        return f"Write mapper.Shape{tuple(map(whole, value))}"
    return of_map(value, "mapper.Shape")


def _as_config(value: object) -> str:
    """How a configuration is made of what was given in its place."""
    if _RESULT.fits(value):
        return "Give mapper.build_config(result), of this Result"
    if _PLACED.fits(value):
        return f"Give network.plain_config(device), of this {type(value).__name__}"
    if _is_torch_module(value):
        return f"Give mapper.build_config(mapper.solve{_OF_MODULE}), of this module"
    if own_class("Network").fits(value):
        return "Give mapper.build_config(mapper.solve(network)), of this Network"
    if isinstance(value, str | Path) and str(value).endswith(".json"):
        return f'Give mapper.read_config("{value}")'
    return ""


def _as_result(value: object) -> str:
    """How a result is made of what was given in its place."""
    if own_class("ChipConfig").fits(value):
        return "This is a configuration already: mapper.write_config(config, path) writes it"
    if own_class("Network").fits(value):
        return "Give mapper.solve(network), of this Network"
    if _PLACED.fits(value):
        return f"Give network.place(device), of this {type(value).__name__}"
    return f"Give mapper.solve{_OF_MODULE}, of this module" if _is_torch_module(value) else ""


_SHAPE = own_class("Shape")
_PLACED = own_class("DynapcnnNetwork")
_OF_MODULE = "(module, input_shape=(features, height, width))"
_RESULT = own_class("Result", 'mapper.solve("digits") gives one')
_CONFIG = 'mapper.build_config(mapper.solve("digits")) makes one, mapper.read_config("config.json") reads one'
_DEVICE = 'a name as "speck2f"'
_OPTIONS = (
    "SolveOptions", "NirOptions", "TorchOptions", "EmitOptions", "EventOptions", "NoiseFilter", "DvsSettings",
)  # fmt: skip

_KINDS: Mapping[str, Kind] = {
    "Result": replace(_RESULT, instead=_as_result),
    "ChipConfig": replace(own_class("ChipConfig", _CONFIG), instead=_as_config),
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
        instead=_as_shape,
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

checked = Checker(OptionsError, _KINDS, asked_as, _places)
