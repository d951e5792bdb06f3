"""Layers from the cores that hold them: pieces put together, copies held against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from mapper.by_value import same
from mapper.emit.shared.config import CnnLayer
from mapper.emit.shared.interface import InterfaceLayer, LayerPlace
from mapper.emit.shared.tensor import alive
from mapper.errors import Finding
from mapper.integers import widened
from mapper.normal_form import NormalLayer
from mapper.operations import Convolution, Neuron, Shape
from mapper.wording import titled

__all__ = ["assembled"]


def assembled(
    entry: InterfaceLayer, cores: Mapping[int, CnnLayer], findings: list[Finding]
) -> NormalLayer | None:
    """The layer of an interface's entry; None if that cannot be told.

    Parameters
    ----------
    findings
        What contradicts itself is added: missing cores, pieces that do not fit together, unequal copies.
    """
    first, *others = entry.standing
    own = _joined(entry, first, cores, findings)
    for places in others:
        copy = _joined(entry, places, cores, findings)
        if own is not None and copy is not None and not same(own, copy):
            where = f"layer {titled(entry.name)}, copy on {_cores(places)}"
            findings.append(Finding(where, f"is not equal: {_first_difference(own, copy)}"))
    return own


def _cores(places: Sequence[LayerPlace]) -> str:
    return ", ".join(f"core {place.core}" for place in places)


def _joined(
    entry: InterfaceLayer,
    places: Sequence[LayerPlace],
    cores: Mapping[int, CnnLayer],
    findings: list[Finding],
) -> NormalLayer | None:
    """One layer of its pieces, features ascending."""
    ordered = sorted(places, key=lambda place: place.start)
    before = len(findings)
    end = 0
    for place in ordered:
        where = f"layer {titled(entry.name)}, core {place.core}"
        core = cores.get(place.core)
        if core is None or core.dimensions is None:
            findings.append(Finding(f"layer {titled(entry.name)}", "its core is not configured", place.core))
            continue
        feature_count = core.dimensions.output_shape.feature_count
        if place.start != end or place.stop - place.start != feature_count:
            span, limit = f"{place.start}..{place.stop - 1}", f"{end}..{end + feature_count - 1}"
            findings.append(Finding(where, "its features do not follow", span, limit))
        end = place.stop
    if not ordered:
        findings.append(Finding(f"layer {titled(entry.name)}", "is on no core"))
    if len(findings) > before:
        return None
    first = cores[ordered[0].core]
    for place in ordered[1:]:
        for what, value, expected in _mismatches(cores[place.core], first):
            where = f"layer {titled(entry.name)}, core {place.core}"
            findings.append(
                Finding(where, f"its {what} is not that of core {ordered[0].core}", value, expected)
            )
    if len(findings) > before:
        return None
    return _layer(entry, [cores[place.core] for place in ordered])


def _mismatches(core: CnnLayer, other: CnnLayer) -> list[tuple[str, object, object]]:
    """What pieces of one layer must share and do not."""
    if core.dimensions is None or other.dimensions is None:
        return []
    pairs = [
        (name, getattr(core.dimensions, name), getattr(other.dimensions, name))
        for name in ("input_shape", "kernel_size", "stride", "padding")
    ]
    pairs += [
        (name, getattr(core, name), getattr(other, name))
        for name in ("threshold_high", "threshold_low", "return_to_zero", "leak_enable")
    ]
    return [(name, value, other_value) for name, value, other_value in pairs if value != other_value]


def _layer(entry: InterfaceLayer, pieces: Sequence[CnnLayer]) -> NormalLayer:
    """A layer of pieces that fit together; tensors and shapes are known to be there."""
    first: Any = pieces[0]
    shape, size = first.dimensions, first.dimensions.input_shape.size
    weights = np.concatenate([_values(core, "weights", "weights_kill_bit") for core in pieces])
    # Without leak a core's biases are never added.
    biases = np.concatenate(
        [widened(_values(core, "biases", "biases_kill_bit")) * int(core.leak_enable) for core in pieces]
    )
    initial = np.concatenate(
        [widened(_values(core, "neurons_initial_value", "neurons_value_kill_bit")) for core in pieces]
    )
    has_bias = bool(np.any(biases))
    operation = Convolution(
        out_features=len(weights),
        kernel=(shape.kernel_size, shape.kernel_size),
        stride=(shape.stride.y, shape.stride.x),
        padding=(shape.padding.y, shape.padding.x),
        has_bias=has_bias,
        weight=weights.transpose(0, 1, 3, 2).copy(),
        bias=biases if has_bias else None,
    )
    neuron = Neuron(
        threshold=first.threshold_high or 0,
        minimum=first.threshold_low,
        reset="zero" if first.return_to_zero else "subtract",
        spike_mode=entry.spike_mode,
        initial_potential=initial.transpose(0, 2, 1).copy() if np.any(initial) else None,
    )
    input_shape = Shape(shape.input_shape.feature_count, size.y, size.x)
    return NormalLayer(entry.name, input_shape, operation, (), neuron)


def _values(core: CnnLayer, field: str, killed: str) -> Any:
    return alive(getattr(core, field), getattr(core, killed))


def _first_difference(left: NormalLayer, right: NormalLayer) -> str:
    if left.input_shape != right.input_shape:
        return f"input shape {right.input_shape}, not {left.input_shape}"
    pairs: list[tuple[Any, Any]] = [(left.operation, right.operation), (left.neuron, right.neuron)]
    for one, two in pairs:
        for entry in fields(one):
            a, b = getattr(one, entry.name), getattr(two, entry.name)
            if not same(a, b):
                return _difference(entry.name, a, b)
    return "features"


def _difference(name: str, one: Any, two: Any) -> str:
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray) and one.shape == two.shape:
        place = tuple(int(n) for n in np.argwhere(one != two)[0])
        return f"{name}[{', '.join(map(str, place))}] is {two[place]}, not {one[place]}"
    texts = ["an array" if isinstance(value, np.ndarray) else str(value) for value in (one, two)]
    return f"{name} is {texts[1]}, not {texts[0]}"
