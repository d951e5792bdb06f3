"""What the texts of options mean, each turned into the package's own kind."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hwspec.inert import quoted
from mapper.errors import Finding, MapperWarning, OptionsError
from mapper.references import Typed
from mapper.wording import channels_last

__all__ = ["READERS", "read_number", "read_rates"]

_PER_SECOND = {"us": 1_000_000, "µs": 1_000_000, "ms": 1000, "s": 1}
_SECONDS = {"min": 60, "h": 3600}
# By an option's unit, how many of it what people write behind a number is, or what part of it.
_TIMES: dict[str, dict[str, int]] = {
    "SECONDS": {"s": 1, **_SECONDS},
    "MICROSECONDS": {unit: 1_000_000 // per for unit, per in _PER_SECOND.items()},
    "HZ": {"hz": 1, "khz": 1000},
}
_PARTS: dict[str, dict[str, int]] = {
    "SECONDS": {"ms": 1000, "us": 1_000_000, "µs": 1_000_000},
    "RATE": {"%": 100},
}


def read_number(text: str, unit: str, *, is_whole: bool) -> float:
    """A number as Python writes it, or with a unit that says how many of the option's own it means.

    Parameters
    ----------
    unit
        Of the option, as its help has it.
    """
    found = re.fullmatch(r"(.*[0-9.]) ?([a-zA-Zµ]+|%)", text)
    written = found[2].lower() if found else ""
    times, parts = _TIMES.get(unit, {}).get(written), _PARTS.get(unit, {}).get(written)
    kind = "whole number" if is_whole else "number"
    try:
        if found is None or (times is None and parts is None):
            return int(text) if is_whole else float(text)
        value = float(found[1]) * (times or 1) / (parts or 1)
        if not is_whole:
            return value
        if value.is_integer():
            return int(value)
    except ValueError:
        pass
    raise ValueError(f'"{text}" is no {kind}{f" of {unit.lower()}" if unit in _TIMES else ""}')


def _pins(texts: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    parts = [(text, *text.rpartition("=")) for text in texts]
    step = "Example: --pin conv2=5"
    wrong = [
        Finding(f"--pin {text}", "not of the form LAYER=CORE", next_step=step)
        for text, layer, _, core in parts
        if not layer or not re.fullmatch(r"\s*[0-9]{1,9}\s*", core)
    ]
    if wrong:
        raise OptionsError(*wrong)
    return tuple((Typed(layer.strip()), int(core)) for _, layer, _, core in parts)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\s*[0-9]{1,9}(\s*,\s*[0-9]{1,9})*\s*", text):
        raise OptionsError(
            Finding(option, "wants whole numbers separated by commas, as in 2,16,16", quoted(text))
        )
    return tuple(int(part) for part in text.split(","))


def _forbidden(text: str) -> tuple[int, ...]:
    from hwspec.document import id_range  # noqa: PLC0415

    ranges = [id_range(part.strip()) for part in text.split(",")]
    if None in ranges:
        step = "A range is written 0..5, its first core first"
        problem = "wants core numbers and ranges of them, separated by commas"
        raise OptionsError(Finding("--forbid", problem, quoted(text), next_step=step))
    return tuple(dict.fromkeys(core for cores in ranges if cores for core in cores))


def _shape(text: str) -> tuple[int, ...]:
    is_product = re.fullmatch(r"\s*[0-9]{1,9}(\s*[xX×]\s*[0-9]{1,9}){2}\s*", text)
    # As Python prints a shape.
    bare = re.sub(r"^\s*[(\[](.*?),?\s*[)\]]\s*$", r"\1", text)
    shape = _numbers("--input-shape", re.sub("[xX×]", ",", text) if is_product else bare)
    if len(shape) == 4 and min(shape) >= 1:
        step = f"Leave the batch out: --input-shape {','.join(map(str, shape[1:]))}"
        raise OptionsError(Finding("--input-shape", "wants three positive numbers", shape, "C,H,W", "", step))
    if len(shape) != 3 or min(shape) < 1:
        raise OptionsError(Finding("--input-shape", "wants three positive numbers", shape, "C,H,W"))
    if (meant := channels_last(shape)) is not None:
        last = ",".join(map(str, meant))
        text = (
            f"--input-shape {','.join(map(str, shape))}: features come first; channels last would be {last}"
        )
        warnings.warn(text, MapperWarning, stacklevel=2)
    return shape


def _places(texts: tuple[str, ...]) -> str | dict[str, str]:
    """One word for all inputs, or a word by name."""
    if len(texts) == 1 and texts[0] in ("sensor", "host"):
        return texts[0]
    pairs = [text.rpartition("=") for text in texts]
    step = "Example: --input sensor, or --input left=sensor --input right=host"
    wrong = [
        Finding(f"--input {text}", "is neither sensor nor host, nor NAME=sensor or NAME=host", next_step=step)
        for text, (name, _, place) in zip(texts, pairs, strict=True)
        if not name or place not in ("sensor", "host")
    ]
    names = [name for name, _, _ in pairs]
    wrong += [
        Finding(f"--input {name}", "is given twice", next_step=step)
        for name in sorted(set(names))
        if name and names.count(name) > 1
    ]
    if wrong:
        raise OptionsError(*wrong)
    return {name: place for name, _, place in pairs}


def _lowest(text: str) -> float | str:
    try:
        return text if text in ("threshold", "none") else float(text)
    except ValueError:
        raise OptionsError(Finding("--v-min", "wants a number, threshold or none", quoted(text))) from None


def _threshold(value: float) -> float:
    if not 0 < value < float("inf"):
        raise OptionsError(Finding("--add-output-neuron", "a threshold must be positive", value, "> 0"))
    return value


def _relu(text: str) -> float | str:
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise OptionsError(Finding("--relu-as-if", "wants a threshold, or auto", quoted(text))) from None


def _kept(path: Path) -> tuple[tuple[str, int], ...]:
    from mapper.record import kept_cores, read_placement  # noqa: PLC0415

    return kept_cores(read_placement(path))


def read_rates(path: Path) -> tuple[tuple[str, int], ...]:
    """Spikes per second by signal, of a traffic file."""
    from mapper.events.traffic import read_traffic  # noqa: PLC0415

    return read_traffic(path)


# By field, what turns an option's value into the package's.
READERS: dict[str, Callable[[Any], Any]] = {
    "input_shape": _shape,
    "add_output_neuron": _threshold,
    "v_min": _lowest,
    "inputs": _places,
    "relu_as_if": _relu,
    "pins": _pins,
    "monitors": lambda texts: tuple(map(Typed, texts)),
    "readout": Typed,
    "forbidden_cores": _forbidden,
    "traffic": read_rates,
    "keep": _kept,
}
