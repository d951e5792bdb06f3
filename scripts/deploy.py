"""Put a config.json on a board: this file, samna and numpy are all that the board's machine needs.

    python deploy.py config.json --device speck2fmodule:0 [--events events.npy] [--slow-clock HZ]
                     [--input NAME] [--quiet-for SECONDS] [--at-most SECONDS] [--self-test known_answer.json]

The self-test runs known events with the sensor off, potentials at 0 and every core monitored, says where
the board's spikes differ from the expected ones, and then the real configuration is applied.

Without --events the configuration is applied, and the board runs until Enter is pressed. All files are
checked before samna is looked for. Exit: 0 done, 1 the board answers the self-test otherwise, 2 bad input, or
samna or the board is missing, 4 what nobody foresaw.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib
import importlib.util
import json
import math
import operator
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

try:
    import numpy as np
except ImportError:
    print("Error: numpy is not installed: pip install numpy", file=sys.stderr)
    raise SystemExit(2) from None

# Some boards' clocks run before all events are written: the first event is played so long behind the reset.
LEAD_US = 100_000
NUMBERS = {"weights": np.int8, "neurons_initial_value": np.int16, "biases": np.int16}
ENTRIES_MAX = 1 << 24
# Names of the fields of events, in any case of letters: a copy of those that mapper.events understands.
SYNONYMS = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps", "t_us", "timestamp_us"),
    "p": ("p", "feature", "features", "f", "polarity", "polarities", "pol", "channel", "c", "on"),
    "y": ("y", "ys", "row"),
    "x": ("x", "xs", "col", "column"),
}


class Numbers(NamedTuple):
    """A tensor: what each of its numbers may be, and which sizes it has, as `sizes` says."""

    allowed: range
    kind: str


def pair(allowed: Any) -> dict[str, Any]:
    """A pair of samna: x counts columns, y rows."""
    return {"x": allowed, "y": allowed}


# What a file says and what the family's chips hold, field by field: a copy of ranges.py, and of the models of
# config.py and interface.py, in mapper/emit/shared. A field that ends in "?" need not be there; a list holds
# entries of the form that it has; a pattern is that of a whole text.
BIT, POOLS, FEATURES, THRESHOLD = range(2), (1, 2, 4), range(1, 1025), range(32768)
WORD, COUNT, SIZE, CORE = range(-32768, 32768), range(65537), range(1, 65537), range(1_000_000)
PLACE = {"core": CORE, "start": COUNT, "stop": SIZE, "role": r"layer|piece|copy|relay"}
SHAPE = (SIZE, SIZE, SIZE)
CNN_LAYER = {
    "dimensions?": {
        "input_shape": {"feature_count": FEATURES, "size": pair(range(1, 129))},
        "output_shape": {"feature_count": FEATURES, "size": pair(range(1, 65))},
        "kernel_size": range(1, 17), "stride": pair((1, 2, 4, 8)), "padding": pair(range(8)),
    },
    "destinations": [{"layer": range(14), "enable": bool, "pooling": POOLS, "feature_shift": range(1024)}],
    "weights?": Numbers(range(-128, 128), "weights"), "biases?": Numbers(WORD, "biases"),
    "neurons_initial_value?": Numbers(WORD, "neurons"),
    # A lower bound of 0 misbehaves.
    "threshold_high?": range(1, 32768), "threshold_low?": range(-32768, 0),
    "return_to_zero": bool, "leak_enable": bool, "leak_internal_slow_clk_enable?": bool,
    "monitor_enable": bool, "input_congestion_balancer_enable?": bool, "output_decimator_enable?": bool,
    "output_decimator_interval?": range(8), "weights_kill_bit?": Numbers(BIT, "weights"),
    "biases_kill_bit?": Numbers(BIT, "biases"), "neurons_value_kill_bit?": Numbers(BIT, "neurons"),
}  # fmt: skip
DVS_LAYER = {
    "destinations": [{"layer": range(14), "enable": bool}], "pass_sensor_events": bool, "merge": bool,
    "on_channel": bool, "off_channel": bool, "pooling": pair(POOLS), "origin": pair(range(128)),
    "cut": pair(range(128)), "mirror": pair(BIT), "mirror_diagonal": bool, "monitor_enable": bool,
    "raw_monitor_enable": bool,
}  # fmt: skip
DVS_FILTER = {
    "enable": bool, "filter_size": pair(range(16)), "threshold": THRESHOLD, "hot_pixel_filter_enable": bool,
    "low_pass_mode_enable": bool, "internal_slow_clk?": bool,
}  # fmt: skip
READOUT = {
    "enable": bool, "readout_configuration_sel": range(4), "output_mode_sel": range(4),
    "threshold": THRESHOLD, "low_pass_filter_disable": bool, "low_pass_filter32_not16": bool,
    "monitor_enable": bool, "readout_pin_monitor_enable": bool, "internal_slow_clk?": bool,
}  # fmt: skip
INTERFACE = {
    "schema_version": (1,), "network": str,
    "inputs": [{
        "name": str, "shape": SHAPE, "source": "host|dvs",
        "entries": [{"core": CORE, "feature_shift": COUNT}], "relays": [PLACE], "readers": [str],
    }],
    "outputs": [{
        "name": str, "layer": str, "parts": [{"core": CORE, "start": COUNT, "stop": SIZE}],
        "host_pool": (SIZE, SIZE), "divisor": float,
    }],
    "layers": [{
        "name": str, "places": [PLACE], "spike_mode": "multi|single", "delays": [(CORE, CORE, COUNT)],
    }],
    "sensor_relays": [PLACE], "monitored": [str], "dt_us?": float, "slow_clock_hz?": float, "notes": [str],
    "readings": [str],
    "origins?": [{"name": str, "shape": SHAPE, "layer": str, "start": COUNT, "phases": (SIZE, SIZE)}],
}  # fmt: skip
CONFIG = {
    "schema_version": (1,), "chip": str, "chip_hash": str,
    # What is looked up in samna by the file's names is samna's own.
    "vendor": {
        "samna_module": r"samna\.\w+", "configuration_class": r"\w+Configuration",
        "source_node": r"BasicSourceNode_\w+", "sink_node": r"BasicSinkNode_\w+",
        "device_types": [(str, str)],
    },
    "hardware": {
        "cnn_layers": [CNN_LAYER], "dvs_layer?": DVS_LAYER, "dvs_filter?": DVS_FILTER, "readout?": READOUT,
        "factory_config?": {"*": range(-(1 << 31), 1 << 31)},
    },
    "interface?": INTERFACE,
}  # fmt: skip
STAGES = ("dvs_layer", "dvs_filter", "readout", "factory_config")


def tensor(entry: dict[str, Any]) -> Any:
    """An array of the file's text: numbers, or value*count for a run; or packed as base64."""
    if entry["values"].startswith("base64 "):
        _, kind, letters = entry["values"].split(" ")
        if kind not in ("i1", "i2", "i4", "i8"):
            raise ValueError(f"its numbers are of the kind {kind}, none of i1, i2, i4, i8")
        return np.frombuffer(base64.b64decode(letters, validate=True), f"<{kind}").reshape(entry["shape"])
    pairs = [token.partition("*")[::2] for token in entry["values"].split()]
    values = np.array([int(value) for value, _ in pairs], np.int64)
    counts = [int(count or 1) for _, count in pairs]
    if sum(counts) != math.prod(entry["shape"]) or min(counts, default=1) < 1:
        raise ValueError(f"a tensor of {entry['shape']} with {sum(counts)} numbers")
    return np.repeat(values, counts).reshape(entry["shape"])


def inert(text: str) -> str:
    """A line that steers no terminal, whatever names a file brings along."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def refused(text: str) -> SystemExit:
    """The end, with what is wrong."""
    return SystemExit(inert(text))


@contextmanager
def damage_is_of(path: Path) -> Iterator[None]:
    """Say of which file it is that what follows cannot be done with its content, in a line."""
    try:
        yield
    # What has another form ends in whatever it reaches raises: JSON, numpy, samna.
    except (Exception, SystemExit) as error:
        is_told = isinstance(error, OSError | ValueError | SystemExit)
        text = str(error) if is_told else f"its form is wrong: {error!r}"
        raise refused(f"{path}: {' '.join(text.split())[:300]}") from None


def table(path: Path) -> dict[str, Any]:
    """What a JSON file says."""
    if path.exists() and not path.is_file():
        raise ValueError("is no regular file")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    return content


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table of the file, in which no key may stand twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)}"[:200])
    return dict(pairs)


def sizes(kind: str, dimensions: dict[str, Any]) -> list[int]:
    """The shape of a tensor of a core, which follows from the core's dimensions."""
    read, out = dimensions["input_shape"]["feature_count"], dimensions["output_shape"]
    side = dimensions["kernel_size"]
    return {
        "weights": [out["feature_count"], read, side, side],
        "biases": [out["feature_count"]],
        "neurons": [out["feature_count"], out["size"]["x"], out["size"]["y"]],
    }[kind]


def held(value: Any, form: Any, where: str, dimensions: Any = None) -> None:
    """Refuse what has another form than the file's fields, and what the family's chips do not hold."""
    if isinstance(form, dict):
        value = typed(value, dict, where)
        optional = {name[:-1] for name in form if name.endswith("?")}
        inner = {name.rstrip("?"): inner for name, inner in form.items()}
        if inner.keys() == {"*"}:
            inner = dict.fromkeys(value, inner["*"])
        if strange := [name for name in value if name not in inner]:
            raise ValueError(f"{where}.{strange[0]}: there is no such field")
        if missing := [name for name in inner if name not in value and name not in optional]:
            raise ValueError(f"{where}.{missing[0]} is missing")
        for name, entry in value.items():
            held(entry, inner[name], f"{where}.{name}", value.get("dimensions"))
    elif isinstance(form, list):
        for n, entry in enumerate(typed(value, list, where)):
            held(entry, form[0], f"{where}[{n}]")
    elif isinstance(form, Numbers):
        held_tensor(value, form, where, dimensions)
    elif isinstance(form, tuple) and type(form[0]) is not int:
        if len(typed(value, list, where)) != len(form):
            raise ValueError(f"{where}: has {len(value)} entries, must have {len(form)}")
        for n, entry in enumerate(value):
            held(entry, form[n], f"{where}[{n}]")
    elif isinstance(form, range | tuple):
        if type(value) is not int or value not in form:
            told = f"{form[0]}..{form[-1]}" if isinstance(form, range) else form
            raise ValueError(f"{where}: the chip does not hold {value!r}, only whole numbers of {told}")
    elif isinstance(form, str):
        if not re.fullmatch(form, typed(value, str, where)):
            raise ValueError(f"{where}: {value!r} is none of {form}")
    elif form is float:
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise ValueError(f"{where}: {value!r} is no positive, finite number")
    else:
        typed(value, form, where)


def typed(value: Any, kind: type, where: str) -> Any:
    """The same value, which must be of this type."""
    if type(value) is not kind:
        names = {dict: "a table", list: "a list", str: "a text", bool: "true or false"}
        raise ValueError(f"{where}: {str(value)[:40]!r} must be {names[kind]}")
    return value


def held_tensor(value: Any, form: Numbers, where: str, dimensions: Any) -> None:
    """Refuse a tensor of other sizes than the core's dimensions say, or with numbers that no chip holds."""
    if type(dimensions) is not dict:
        raise ValueError(f"{where}: its core has no dimensions")
    held(value, {"shape": [range(ENTRIES_MAX + 1)], "values": str}, where)
    wanted = sizes(form.kind, dimensions)
    if value["shape"] != wanted or math.prod(wanted) > ENTRIES_MAX:
        told = f"its core's dimensions say {wanted}, and no chip holds more than {ENTRIES_MAX} numbers"
        raise ValueError(f"{where}: a tensor of {value['shape'][:8]}: {told}")
    try:
        array = tensor(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    for extreme in (array.min(), array.max()):
        if extreme not in form.allowed:
            told = f"{form.allowed[0]}..{form.allowed[-1]}"
            raise ValueError(f"{where}: the chip does not hold {extreme}, only {told}")


def read(path: Path) -> dict[str, Any]:
    """A configuration whose numbers the chips hold and whose layers are on cores that are there."""
    with damage_is_of(path):
        content = table(path)
        if content.get("schema_version") != 1 or not content.get("vendor"):
            raise ValueError("not a configuration of version 1 for a chip of samna")
        held(content, CONFIG, "config")
        require_complete(content["hardware"]["cnn_layers"], "readout" in content["hardware"])
        require_entered(content)
    return content


def require_complete(cores: list[dict[str, Any]], has_readout: bool) -> None:
    """Refuse cores with some of their fields, and destinations that are none or read something else."""
    needed = ("dimensions", "weights", "biases", "neurons_initial_value", "threshold_high", "threshold_low")
    for n, core in enumerate(cores):
        missing = [name for name in needed if name not in core]
        if missing and len(missing) < len(needed):
            raise ValueError(
                f"core {n}: {missing[0]} is missing, and other fields of a core in use are there"
            )
        if "dimensions" in core:
            require_map(f"core {n}", core["dimensions"])
        for entry in core["destinations"]:
            layer = entry["layer"]
            if entry["enable"] and layer < len(cores):
                sent = core["dimensions"]["output_shape"] if "dimensions" in core else None
                size = {axis: side // entry["pooling"] for axis, side in sent["size"].items()} if sent else {}
                features = sent["feature_count"] if sent else 0
                require_read(f"core {n}", cores, layer, features + entry["feature_shift"], size)
            elif entry["enable"] and not has_readout:
                raise ValueError(f"core {n} sends to {layer}, and there are {len(cores)} cores")


def require_map(where: str, shape: dict[str, Any]) -> None:
    """Refuse a core whose map does not follow from what it reads, its kernel, padding and stride."""
    for axis, reads in shape["input_shape"]["size"].items():
        room = reads + 2 * shape["padding"][axis] - shape["kernel_size"]
        made = room // shape["stride"][axis] + 1
        if made != (has := shape["output_shape"]["size"][axis]):
            raise ValueError(f"{where}: its output size along {axis} does not follow: {has}, not {made}")


def require_read(
    where: str, cores: list[dict[str, Any]], core: int, features: int, size: dict[str, int]
) -> None:
    """Refuse what is sent to a core that is not there, or that reads another map or fewer features."""
    if core >= len(cores) or "dimensions" not in cores[core]:
        raise ValueError(f"{where} sends to core {core}, which is not configured")
    reads = cores[core]["dimensions"]["input_shape"]
    if features > reads["feature_count"]:
        raise ValueError(f"{where} sends {features} features, and core {core} reads {reads['feature_count']}")
    if size != reads["size"]:
        raise ValueError(f"{where} sends a map of {size}, and core {core} reads one of {reads['size']}")


def require_entered(content: dict[str, Any]) -> None:
    """Refuse an interface of cores that are not configured, or whose events have no place on their core."""
    cores, interface = content["hardware"]["cnn_layers"], content.get("interface")
    for entry in interface["inputs"] if interface else ():
        features, height, width = entry["shape"]
        for core in entry["entries"]:
            last = features + core["feature_shift"]
            require_read(f"input {entry['name']}", cores, core["core"], last, {"x": width, "y": height})
    sensed = content["hardware"].get("dvs_layer", {"destinations": ()})["destinations"]
    named = {entry["layer"] for entry in sensed if entry["enable"]} | {*owners_of(interface)}
    used = {n for n, core in enumerate(cores) if "dimensions" in core}
    if lost := sorted(named - used):
        raise ValueError(f"its sensor or its interface names cores that are not configured: {lost}")


def require_played(events: Any, entry: dict[str, Any]) -> None:
    """Refuse events that an input of the board cannot be given."""
    if (events["t"][1:] < events["t"][:-1]).any():
        raise ValueError("time goes back: sort the events, or unwrap a clock that started again at 2^32")
    # The sensor stage crops what the sensor gives.
    shape = (2, 128, 128) if entry["source"] == "dvs" else entry["shape"]
    for field, size in zip(("p", "y", "x"), shape, strict=True):
        if len(events) and not 0 <= int(events[field].min()) <= int(events[field].max()) < size:
            raise ValueError(f"events lie outside the input's map: {field} must be 0..{size - 1}")
    if len(events) and int(events["t"][-1]) - int(events["t"][0]) >= 2**32 - LEAD_US:
        raise ValueError("it is longer than the board's clock of 32 bits, 71 minutes: cut it")


def recorded(path: Path, content: dict[str, Any], name: str | None) -> Any:
    """Events of a file for an input of this name, in the order of time."""
    with damage_is_of(path):
        entry = input_of(content, name)
        if path.exists() and not path.is_file():
            raise ValueError("is no regular file")
        with path.open("rb") as stream:
            # Of any other file numpy says that it might be loaded unsafely.
            is_array = stream.read(6) == b"\x93NUMPY"
            stream.seek(0)
            events = np.load(stream, allow_pickle=False) if is_array else None
        events = by_field(events) if is_array else read_by_the_package(path)
        require_played(events, entry)
    return events


def read_by_the_package(path: Path) -> Any:
    """Events of a file that is no .npy: by the reader of `mapper simulate`, where it is installed."""
    try:
        from mapper.errors import MapperError  # noqa: PLC0415
        from mapper.events import read_events  # noqa: PLC0415
    except ImportError:
        line = f'from mapper.events import *; write_events("events.npy", read_events("{path.name}"))'
        way = f"Where dynapcnn-mapper is installed, which reads others, say: python -c '{line}'"
        raise ValueError(f"is no .npy file of events, and this script alone reads no other. {way}") from None
    try:
        return read_events(path)
    except MapperError as error:
        raise ValueError(str(error)) from None


def by_field(events: Any) -> Any:
    """Events with the fields t, p, y and x, whichever names these have; other fields are left out."""
    known = {name: field for field, names in SYNONYMS.items() for name in names}
    given = [name for name in events.dtype.names or () if name.strip().lower() in known]
    named = {known[name.strip().lower()]: name for name in given}
    if events.ndim != 1 or len(named) < len(SYNONYMS):
        unnamed = [field for field in SYNONYMS if field not in named]
        lacking = "; ".join(f"{field}: {', '.join(SYNONYMS[field])}" for field in unnamed)
        raise ValueError(f"no structured array of t, p, y, x, by any of their names ({lacking})")
    if len(given) > len(named):
        double = [name for name in given if name not in named.values()]
        raise ValueError(f"fields that mean the same as others: {', '.join(double)}")
    if any(events[name].dtype.kind not in "iub" for name in given):
        raise ValueError("t, p, y and x must be whole numbers")
    read = np.empty(len(events), [(field, events[name].dtype) for field, name in named.items()])
    for field, name in named.items():
        read[field] = events[name]
    return read


def expected(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """A known answer of this configuration: events are arrays by input, rows whole numbers by core."""
    with damage_is_of(path):
        answer = table(path)
        text = json.dumps(content["hardware"], separators=(",", ":"), ensure_ascii=False)
        if hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() != answer["config_hash"]:
            raise ValueError("the self-test was made for another configuration")
        fields = [(name, np.int64) for name in ("t", "p", "y", "x")]
        asked = {e["name"]: np.array([tuple(row) for row in e["events"]], fields) for e in answer["inputs"]}
        for name, events in asked.items():
            require_played(events, input_of(content, name))
        counts = {
            int(core): [tuple(map(operator.index, row)) for row in rows]
            for core, rows in answer["counts"].items()
        }
        if any(len(row) != 5 for rows in counts.values() for row in rows):
            raise ValueError("a count is feature, row, column, fewest and most spikes")
        parallel = set(map(operator.index, answer["parallel_cores"]))
        return {"inputs": asked, "counts": counts, "parallel": parallel, "is_exact": answer["is_exact"]}


def write(target: Any, fields: dict[str, Any], where: str) -> None:
    """Assign fields to samna's object; nested objects are references and are written in place."""
    for name, value in fields.items():
        if not hasattr(target, name):
            if value not in (0, False, None):
                raise refused(f"this samna has no {where}.{name}, and the value {value} matters")
        elif isinstance(value, dict) and "values" in value:
            array = tensor(value)
            typed = array.astype(NUMBERS.get(name, bool))
            if not np.array_equal(typed, array):
                told = f"{array.min()}..{array.max()}"
                raise refused(f"{where}.{name}: the chip does not hold all of the values {told}")
            setattr(target, name, typed.tolist())
        elif isinstance(value, dict):
            write(getattr(target, name), value, f"{where}.{name}")
        elif isinstance(value, list):
            for n, entry in enumerate(value):
                write(getattr(target, name)[n], entry, f"{where}.{name}[{n}]")
        else:
            setattr(target, name, value)


def build(content: dict[str, Any], library: Any) -> Any:
    """Samna's object of the file's hardware."""
    made = getattr(library.configuration, content["vendor"]["configuration_class"])()
    for n, core in enumerate(content["hardware"]["cnn_layers"]):
        write(made.cnn_layers[n], core, f"cnn_layers[{n}]")
    for name in STAGES:
        if content["hardware"].get(name):
            write(getattr(made, name), content["hardware"][name], name)
    return made


def quiet(content: dict[str, Any], library: Any) -> Any:
    """Samna's object that switches everything off."""
    made = getattr(library.configuration, content["vendor"]["configuration_class"])()
    made.dvs_layer.pass_sensor_events = False
    for part in (*made.cnn_layers, made.dvs_layer):
        part.monitor_enable = False
        for entry in part.destinations:
            entry.enable = False
    return made


def asked_board(content: dict[str, Any], device: str) -> tuple[str, int]:
    """Samna's name of the type of the board "name:index", and the index."""
    name, _, index = device.lower().partition(":")
    types = dict(content["vendor"]["device_types"])
    if name not in types:
        raise refused(f"{device}: this configuration is for {', '.join(types) or 'no known board'}")
    if index and not (index.isascii() and index.isdecimal() and len(index) < 10):
        raise refused(f"{device}: the index must be a whole number, as in {name}:0")
    return types[name], int(index or 0)


def find(samna: Any, content: dict[str, Any], device: str) -> Any:
    """Samna's description of the board "name:index"."""
    kind, index = asked_board(content, device)
    present = [(entry.device_type_name, entry.serial_number) for entry in samna.device.get_all_devices()]
    boards = [entry for entry in samna.device.get_unopened_devices() if entry.device_type_name == kind]
    if index >= len(boards):
        raise refused(f"{device}: not found, or in use. Present: {present}")
    return boards[index]


def input_of(content: dict[str, Any], name: str | None) -> dict[str, Any]:
    """The input that events go to: the named one, or the only one."""
    inputs: list[dict[str, Any]] = content["interface"]["inputs"]
    chosen = [entry for entry in inputs if name in (None, entry["name"])]
    # The sensor stage sends the same events to all of its inputs: any of them stands for them.
    if len(chosen) != 1 and not (chosen and all(entry["source"] == "dvs" for entry in chosen)):
        known = ", ".join(entry["name"] for entry in inputs)
        problem = "there are several inputs" if name is None else f"there is no input {name}"
        raise refused(f"{problem}: give --input, one of {known}")
    return chosen[0]


def spikes(
    content: dict[str, Any], library: Any, events: Any, name: str | None = None, later_us: int = 0
) -> list[Any]:
    """Samna's objects for the events of an input: one per core that takes it, relays among them."""
    entry = input_of(content, name)
    made = []
    for event in events:
        if entry["source"] == "dvs":
            seen = library.event.DvsEvent()
            seen.p, seen.y, seen.x = bool(event["p"]), int(event["y"]), int(event["x"])
            seen.timestamp = int(event["t"]) + later_us
            made.append(seen)
            continue
        for core in entry["entries"]:
            spike = library.event.Spike()
            spike.layer, spike.feature = core["core"], int(event["p"]) + core["feature_shift"]
            spike.y, spike.x, spike.timestamp = int(event["y"]), int(event["x"]), int(event["t"]) + later_us
            made.append(spike)
    return made


def under_test(content: dict[str, Any]) -> dict[str, Any]:
    """The configuration for the self-test: sensor, filter, biases, decimators off; all monitors on."""
    made: dict[str, Any] = json.loads(json.dumps(content))
    for core in made["hardware"]["cnn_layers"]:
        if "weights" in core:
            count = int(np.prod(core["neurons_initial_value"]["shape"]))
            core["neurons_initial_value"]["values"] = f"0*{count}"
            core.update(leak_enable=False, monitor_enable=True)
            for name in ("output_decimator_enable", "input_congestion_balancer_enable"):
                if name in core:
                    core[name] = False
    for name, field in (("dvs_layer", "pass_sensor_events"), ("dvs_filter", "enable")):
        if name in made["hardware"]:
            made["hardware"][name][field] = False
    return made


def zero_potentials(source: Any, content: dict[str, Any], library: Any) -> None:
    """Set the potentials of all neurons in use to 0, and send an event that does nothing.

    Some boards are said to lose the first event behind such writes. A core that is not in use shows nothing
    and sends nothing on.
    """
    made = []
    unused = []
    for number, core in enumerate(content["hardware"]["cnn_layers"]):
        if "dimensions" in core:
            shape = core["dimensions"]["output_shape"]
            sides = [1 << (shape["size"][axis] - 1).bit_length() for axis in ("y", "x")]
            for address in range(shape["feature_count"] * sides[0] * sides[1]):
                event = library.event.WriteNeuronValue()
                event.layer, event.address, event.neuron_state = number, address, 0
                made.append(event)
        else:
            unused.append(number)
    if unused:
        spare = library.event.Spike()
        spare.layer, spare.feature, spare.y, spare.x, spare.timestamp = unused[-1], 0, 0, 0, 0
        made.append(spare)
    else:
        print("every core is in use: if the board loses the first event behind a reset, the test shows it")
    source.write(made)


def listen(sink: Any, last: float, quiet: float, limit: float) -> list[Any]:
    """What comes until the last input was played and the chip was quiet; times in seconds from now."""
    start = latest = time.monotonic()
    came: list[Any] = []
    while True:
        time.sleep(0.01)
        new = list(sink.get_events())
        now = time.monotonic()
        came += new
        latest = max(now if new else latest, start + last)
        if now - latest >= quiet:
            break
        if now - start - last >= max(limit, quiet):
            print(f"the chip still spikes {limit:g} s behind the last event: raise --at-most")
            break
    # What came while that was found out belongs to it.
    return [*came, *sink.get_events()]


def differences(answer: dict[str, Any], seen: Counter[tuple[int, int, int, int]]) -> list[str]:
    """Where the board's counts are outside the expected ones; of parallel cores only totals are compared."""
    told = []
    for core, rows in sorted(answer["counts"].items()):
        found = {key[1:]: count for key, count in seen.items() if key[0] == core}
        if core in answer["parallel"]:
            low, high = sum(row[3] for row in rows), sum(row[4] for row in rows)
            if not low <= sum(found.values()) <= high:
                told.append(f"core {core}: {sum(found.values())} spikes in all, expected {low}..{high}")
            continue
        wanted = {row[:3]: row[3:] for row in rows}
        for place in sorted(wanted.keys() | found.keys()):
            low, high = wanted.get(place, (0, 0))
            if not low <= found.get(place, 0) <= high:
                where = f"core {core}, feature {place[0]}, row {place[1]}, column {place[2]}"
                told.append(f"{where}: {found.get(place, 0)} spikes, expected {low}..{high}")
    return told


def self_test(
    kit: Any, samna: Any, content: dict[str, Any], answer: dict[str, Any], options: argparse.Namespace
) -> bool:
    """Ask the board the known question; whether its answer is right."""
    library = importlib.import_module(content["vendor"]["samna_module"])
    kit.get_model().apply_configuration(build(under_test(content), library))
    time.sleep(options.wait)
    seen = Counter(
        (e.layer, e.feature, e.y, e.x)
        for e in run(kit, samna, content, answer["inputs"], options, is_test=True)
    )
    told = differences(answer, seen)
    exact = "exactly" if answer["is_exact"] else "within what orders of spikes allow"
    print(f"self-test: differs in {len(told)} places" if told else f"self-test: the board answers {exact}")
    for line in told[:20]:
        print(f"  {line}")
    return not told


def owners_of(interface: dict[str, Any] | None) -> dict[int, str]:
    """By core, what it holds: a layer or features of it, a copy, or a relay."""
    if not interface:
        return {}
    places = [(entry["name"], place) for entry in interface["layers"] for place in entry["places"]]
    places += [(entry["name"], place) for entry in interface["inputs"] for place in entry.get("relays", ())]
    sensor = ", ".join(entry["name"] for entry in interface["inputs"] if entry["source"] == "dvs")
    places += [(sensor, place) for place in interface.get("sensor_relays", ())]
    told = {}
    for name, place in places:
        span = f"{name}, features {place['start']}..{place['stop'] - 1}"
        told[place["core"]] = name if place["role"] == "layer" else f"{place['role']} of {span}"
    return told


def start_clock(kit: Any) -> None:
    """Timestamps from 0."""
    watch = kit.get_stop_watch()
    for name in ("start", "stop", "reset", "start") if hasattr(watch, "start") else ():
        getattr(watch, name)()
    if not hasattr(watch, "start"):
        watch.set_enable_value(True)


def run(
    kit: Any,
    samna: Any,
    content: dict[str, Any],
    events: dict[str | None, Any],
    options: argparse.Namespace,
    *,
    is_test: bool = False,
) -> list[Any]:
    """Spikes that events cause; events by input, None where there is one."""
    library = importlib.import_module(content["vendor"]["samna_module"])
    source, sink = (getattr(samna, content["vendor"][key])() for key in ("source_node", "sink_node"))
    graphs = [samna.graph.EventFilterGraph() for _ in range(2)]
    graphs[0].sequential([source, kit.get_model_sink_node()])
    graphs[1].sequential([kit.get_model_source_node(), sink])
    for graph in graphs:
        graph.start()
    try:
        if is_test:
            zero_potentials(source, content, library)
            time.sleep(options.wait)
        later = LEAD_US - min((int(given["t"][0]) for given in events.values() if len(given)), default=0)
        made = [s for name, given in events.items() for s in spikes(content, library, given, name, later)]
        made.sort(key=lambda spike: spike.timestamp)
        # What is there already is of the time before: of other events, or of the clock before.
        sink.get_events()
        start_clock(kit)
        sink.get_events()
        source.write(made)
        last = made[-1].timestamp * 1e-6 if made else 0.0
        kind = type(library.event.Spike())
        came = listen(sink, last, options.quiet_for, options.at_most)
        return [event for event in came if type(event) is kind]
    finally:
        for graph in graphs:
            graph.stop()


def prepared(content: dict[str, Any], samna: Any) -> tuple[Any, Any]:
    """Samna's module for the chip, and its object of the configuration."""
    library = importlib.import_module(content["vendor"]["samna_module"])
    made = build(content, library)
    valid, reason = library.validate_configuration(made)
    if not valid:
        raise ValueError(f"samna refuses the configuration: {reason}")
    build(under_test(content), library)
    if lost := [name for name in ("source_node", "sink_node") if not hasattr(samna, content["vendor"][name])]:
        raise ValueError(f"this samna has no {', '.join(content['vendor'][name] for name in lost)}")
    return library, made


def rate_of(content: dict[str, Any], wanted: float | None) -> float | None:
    """Rate of the slow clock in Hz: the wanted one, or the configuration's."""
    rate: float | None = (content.get("interface") or {}).get("slow_clock_hz") if wanted is None else wanted
    if rate is not None and not 0 < rate < float("inf"):
        raise refused(f"a slow clock of {rate} Hz: the rate must be a positive, finite number")
    if rate is not None and not 10 <= rate <= 10_000:
        print(f"a slow clock of {rate:g} Hz: 10 Hz to 10 kHz is typical, and no limit")
    if rate is None and any(core["leak_enable"] for core in content["hardware"]["cnn_layers"]):
        raise refused("the configuration has biases: give --slow-clock HZ, once per time step")
    return rate


def vendor_library() -> Any:
    """Samna; the one of the package index is an installer that starts pip when it is imported."""
    if sys.modules.get("samna") is None:
        found = importlib.util.find_spec("samna")
        folder = Path(found.origin or "nowhere").parent if found else Path("nowhere")
        compiled = [path for end in ("so", "pyd", "dylib") for path in folder.glob(f"*.{end}")]
        if not compiled or (folder / "PYPI_SAMNA").exists():
            what = "only the installer stub of samna is here" if found else "samna is not installed"
            step = "install the vendor's library as SynSense describes"
            raise refused(f"{what}, and a board needs it: {step}. The files were checked: nothing is wrong")
    return importlib.import_module("samna")


def seconds(text: str) -> float:
    """A time in seconds of the command line."""
    value = float(text)
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is no time of 0..86400 s")
    return value


def main(arguments: list[str] | None = None, wait_for_user: Callable[[str], object] = input) -> int:
    """Check, open, apply, run; the board is quiet afterwards."""
    parser = argparse.ArgumentParser(description="Put a config.json on a board.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--device", required=True, help="name or name:index, such as speck2fmodule:0")
    parser.add_argument(
        "--events",
        type=Path,
        help=".npy: a structured array of t, p, y, x; with the package also what it reads",
    )
    parser.add_argument("--slow-clock", type=float, help="Hz; default: what the configuration says")
    parser.add_argument("--wait", type=seconds, default=1.0, help="seconds that a configuration settles")
    parser.add_argument(
        "--quiet-for", type=seconds, help="s; stop when no event came for so long (1 s, 2 ticks)"
    )
    parser.add_argument(
        "--at-most", type=seconds, help="s; stop so long behind the last event (10 times that)"
    )
    parser.add_argument("--self-test", type=Path, help="known_answer.json, written beside config.json")
    parser.add_argument("--input", help="input that takes the events, where there are several")
    options = parser.parse_args(arguments)
    content = read(options.config)
    events = recorded(options.events, content, options.input) if options.events else None
    answer = expected(options.self_test, content) if options.self_test else None
    asked_board(content, options.device)
    rate = rate_of(content, options.slow_clock)
    samna = vendor_library()
    with damage_is_of(options.config):
        library, made = prepared(content, samna)
    if options.quiet_for is None:
        # Ten ticks of the slowest clock that is typical, or two of a slower one.
        options.quiet_for = max(1.0, 2 / rate if rate else 0.0)
    options.at_most = 10 * options.quiet_for if options.at_most is None else options.at_most
    kit = samna.device.open_device(find(samna, content, options.device))
    is_right = True
    try:
        if answer is not None:
            is_right = self_test(kit, samna, content, answer, options)
        kit.get_model().apply_configuration(made)
        time.sleep(options.wait)
        start_clock(kit)
        if rate is not None:
            kit.get_io_module().set_slow_clk_rate(rate)
            kit.get_io_module().set_slow_clk(True)
        if events is None:
            wait_for_user("The network runs. Press Enter to stop. ")
            return 0 if is_right else 1
        seen = run(kit, samna, content, {options.input: events}, options)
        owners = owners_of(content.get("interface"))
        for core, count in sorted(Counter(event.layer for event in seen).items()):
            print(inert(f"core {core} ({owners.get(core, 'unused')}): {count} spikes"))
        print(f"{len(events)} events written")
        return 0 if is_right else 1
    finally:
        kit.get_model().apply_configuration(quiet(content, library))
        samna.device.close_device(kit)


def exit_status() -> int:
    """Run the script: 0 done, 1 the board answers otherwise, 2 what was given is wrong, 4 unforeseen."""
    try:
        return main()
    except SystemExit as end:
        if not isinstance(end.code, str):
            return end.code or 0
        print(f"Error: {end.code}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        return 4


if __name__ == "__main__":
    sys.exit(exit_status())
