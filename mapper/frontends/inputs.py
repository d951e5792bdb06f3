"""Where the events of a network's inputs come from, where the user says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

from mapper.errors import Finding, OptionsError
from mapper.network import DvsSettings, Input, Network
from mapper.reading import Reading

__all__ = ["InputFrom", "fed"]

InputFrom: TypeAlias = Literal["sensor", "host"] | Mapping[str, Literal["sensor", "host"]]

_PLACES = ("sensor", "host")
# Merged polarities, or both.
_SENSOR_FEATURES = (1, 2)


def fed(network: Network, input_from: InputFrom | None) -> Network:
    """The network with its inputs from the sensor stage or from the host.

    An input that becomes the sensor's has the stage's default settings, and a `Reading` says what they are;
    one that was the sensor's keeps its own.

    Parameters
    ----------
    input_from
        "sensor" or "host" for all inputs, or by input name; None changes nothing.

    Raises
    ------
    OptionsError
        Another word, a name of no input, or the sensor for an input with other than 1 or 2 features:
        everything at once.
    """
    if input_from is None:
        return network
    names = [entry.name for entry in network.inputs]
    asked = dict(input_from) if isinstance(input_from, Mapping) else dict.fromkeys(names, input_from)
    findings = [
        Finding(f"input {name}", "there is no such input", None, ", ".join(names))
        for name in asked
        if name not in names
    ]
    for entry in network.inputs:
        place, features = asked.get(entry.name, "host"), entry.shape.features
        if place not in _PLACES:
            findings.append(Finding(f"input {entry.name}", "comes from no such place", place, "sensor, host"))
        elif place == "sensor" and features not in _SENSOR_FEATURES:
            step = f"Leave {entry.name} to the host, or give the network an input of 1 or 2 features"
            problem = "cannot come from the sensor, which has two polarities, or one if they are merged"
            findings.append(Finding(f"input {entry.name}", problem, features, "1, 2", "features", step))
    if findings:
        raise OptionsError(*findings)
    pairs = [(entry, _from(entry, asked.get(entry.name))) for entry in network.inputs]
    readings = [reading for entry, new in pairs if new is not entry for reading in _readings(entry, new)]
    inputs = tuple(new for _, new in pairs)
    return network.replacing(inputs=inputs, readings=(*network.readings, *readings))


def _from(entry: Input, place: str | None) -> Input:
    if place is None or (place == "sensor") == (entry.dvs is not None):
        return entry
    return replace(entry, dvs=DvsSettings() if place == "sensor" else None)


def _readings(before: Input, after: Input) -> list[Reading]:
    """What the settings of an input that changed its source come to, where nobody stated them."""
    shape, step = after.shape, "a sinabs DVSLayer, or dvs in a shape file, states other settings"
    if after.dvs is not None:
        features = "both polarities merged" if shape.features == 1 else "both polarities"
        taken = f"the sensor's rows 0..{shape.height - 1} and columns 0..{shape.width - 1}, {features}"
        return [Reading(f"input {after.name}", f"{taken}, not mirrored", "the default of the stage", step)]
    if before.dvs in (None, DvsSettings()):
        return []
    taken = "events from the host as the first layer reads them: cut out, mirrored and swapped already"
    return [Reading(f"input {after.name}", taken, "the source's own sensor stage is left out")]
