"""Weights, biases, thresholds and initial potentials as integers, in single precision throughout.

For b bits let H = 2^(b-1), mx and mn the largest and smallest value of a tensor, signed. If
``|mn| <= |mx| * fl32(H / (H-1))`` the scale is ``fl32(fl32(1 / |mx|) * (H-1))``, else
``fl32(fl32(1 / |mn|) * H)``: so does torch divide a number by a tensor, and sinabs with it. A layer has one
scale: the least over weights and biases (H = 128), the pair of lower bound and threshold, and initial
potentials (H = 32768). Values become ``round-half-even(fl32(value * scale))``.

Weights that a framework's quantiser made (`mapper.operations.Integers`) are whole multiples of one step: the
scale is then ``fl32(1 / step)``, which keeps these integers, wherever they, the biases and the potentials are
numbers that a core holds. Ordinary weights that happen to be such multiples are not looked at.

Of integers, above a threshold is at the next one: reset to zero takes the threshold plus 1, exact for the
first spike of a step; subtraction takes potentials that are less by 1 from the start, so that what a spike
subtracts stays, which is exact for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from mapper.asking import FIRES_AT
from mapper.errors import Finding, NetworkError
from mapper.integers import narrowed, widened
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Neuron

__all__ = [
    "STATE_HALF", "WEIGHT_HALF", "declared_note", "declared_scale", "in_floats", "layer_scale",
    "quantize", "rounded", "scale_takers", "tensor_scale",
]  # fmt: skip

WEIGHT_HALF, STATE_HALF = 128, 32768
"""Halves of what 8 bits of weights and 16 bits of potentials span: -half .. half - 1."""
_F = np.float32
# Beside a whole number of steps: more than what single precision leaves of some hundred of them.
_WHOLE = 1e-3
# Numbers of single precision go to 3e38, and 65,536 steps of this size are still some.
_SMALLEST = 1e-30


def tensor_scale(values: Any, half: int) -> np.float32:
    """Scale that brings a tensor into -half .. half - 1; infinite for a tensor of zeros."""
    array = np.asarray(values, _F)
    largest, smallest = np.abs(array.max()), np.abs(array.min())
    with np.errstate(divide="ignore", over="ignore"):
        if smallest <= largest * _F(half / (half - 1)):
            return _F(_F(1) / largest) * _F(half - 1)
        return _F(_F(1) / smallest) * _F(half)


def in_floats(network: NormalNetwork) -> NormalNetwork:
    """The same weights as floats, which no pass holds to a number of bits."""
    layers = []
    for layer in network.layers:
        weight = np.asarray(layer.operation.weight, np.float64)
        layers.append(replace(layer, operation=replace(layer.operation, weight=weight)))
    return network.replacing(layers=tuple(layers))


def quantize(network: NormalNetwork) -> NormalNetwork:
    """The integer network; no lower bound becomes -32768 after scaling.

    Raises
    ------
    NetworkError
        NaN or infinite numbers, weights that would all round to zero, thresholds that would round
        below 1: everything at once.
    """
    findings = [finding for layer in network.layers for finding in _unsound(layer)]
    if findings:
        raise NetworkError(*findings)
    layers, findings = [], []
    for layer in network.layers:
        whole = rounded(layer)
        findings += _ruined(layer, whole)
        layers.append(whole)
    if findings:
        raise NetworkError(*findings)
    told = (declared_note(layer, whole) for layer, whole in zip(network.layers, layers, strict=True))
    return network.replacing(layers=tuple(layers), notes=(*network.notes, *filter(None, told)))


def _numbers(layer: NormalLayer) -> Iterator[tuple[str, Any]]:
    neuron = layer.neuron
    yield "weights", layer.operation.weight
    yield "biases", layer.operation.bias
    yield "threshold", neuron.threshold
    yield "lower bound", neuron.minimum
    yield "initial potentials", neuron.initial_potential


def _unsound(layer: NormalLayer) -> Iterator[Finding]:
    where = f"layer {layer.title}"
    for name, value in _numbers(layer):
        if value is not None:
            with np.errstate(over="ignore"):
                single = np.asarray(value).astype(_F)
            if not np.all(np.isfinite(single)):
                bad = int(np.count_nonzero(~np.isfinite(single)))
                yield Finding(where, f"{name} that are NaN or infinite in single precision", bad, 0, "values")
    if not np.all(np.asarray(layer.neuron.threshold) > 0):
        yield Finding(where, "the threshold must be positive", layer.neuron.threshold, "> 0")


def declared_scale(layer: NormalLayer) -> tuple[np.float32 | None, str]:
    """The scale that keeps a layer's declared integers, or None and why they cannot be kept.

    The reason is empty where none are declared.
    """
    declared = layer.operation.declared
    if declared is None or layer.operation.weight is None:
        return None, ""
    if declared.step is None:
        return None, declared.why_not
    step, neuron, bias = declared.step, layer.neuron, layer.operation.bias
    if not _SMALLEST < step < 1 / _SMALLEST:
        return None, f"{step:g} is no step that single precision can divide by"
    steps = np.asarray(layer.operation.weight, np.float64) / step
    if np.any(np.abs(steps - np.rint(steps)) > _WHOLE):
        return None, f"its weights are no whole multiples of {step:.6g} any more"
    state = 0.0 if neuron.initial_potential is None else neuron.initial_potential
    minimum = 0.0 if neuron.minimum is None else neuron.minimum
    for name, values, half in (
        ("weights", steps, WEIGHT_HALF),
        ("biases", np.asarray(0.0 if bias is None else bias, np.float64) / step, WEIGHT_HALF),
        ("the threshold", np.asarray(neuron.threshold, np.float64) / step, STATE_HALF),
        ("the lower bound", np.asarray(minimum, np.float64) / step, STATE_HALF),
        ("potentials at the start", np.asarray(state, np.float64) / step, STATE_HALF),
    ):
        low, high = float(np.rint(values.min())), float(np.rint(values.max()))
        if low < -half or high > half - 1:
            span = f"{low:g}" if low == high else f"{low:g}..{high:g}"
            return None, f"in its own steps {name} would be {span}, and a core holds {-half}..{half - 1}"
    if np.any(np.rint(np.asarray(neuron.threshold, np.float64) / step) < 1):
        return None, "in its own steps the threshold would round to 0"
    return _F(1 / step), ""


_KEEPS, _ANEW = "keeps the integers that are declared", "the integers that are declared are rounded anew"


def without_declared_notes(notes: Iterable[str]) -> tuple[str, ...]:
    """Notes but for what became of declared integers: of a network that was changed they say nothing."""
    return tuple(note for note in notes if f": {_KEEPS}" not in note and f": {_ANEW}" not in note)


def declared_note(layer: NormalLayer, whole: NormalLayer) -> str:
    """What became of the integers that a framework declared; empty where it declared none."""
    scale, why_not = declared_scale(layer)
    if scale is None:
        return why_not and f"{layer.title}: {_ANEW}, since {why_not}"
    weight: Any = whole.operation.weight
    told = f"{layer.title}: {_KEEPS}, {weight.min()}..{weight.max()}"
    for name, before, after in (
        ("threshold", layer.neuron.threshold, whole.neuron.threshold),
        ("lower bound", layer.neuron.minimum, whole.neuron.minimum),
    ):
        if before is not None:
            exact = float(np.max(np.asarray(before))) * float(scale)
            told += f"; {name} {exact:.6g} became {int(np.max(np.asarray(after)))}"
    bias: Any = layer.operation.bias
    if bias is not None and np.any(bias):
        units: Any = whole.operation.bias
        moved = np.abs(np.asarray(bias, np.float64) * float(scale) - units).max()
        told += f"; biases moved by {moved:.2g} at most"
    return told


def layer_scale(layer: NormalLayer) -> np.float32:
    """The one scale of a layer's numbers."""
    kept, _ = declared_scale(layer)
    if kept is not None:
        return kept
    operation, neuron = layer.operation, layer.neuron
    scales = [tensor_scale(operation.weight, WEIGHT_HALF)]
    if operation.bias is not None:
        scales.append(tensor_scale(operation.bias, WEIGHT_HALF))
    bounds = [neuron.threshold] if neuron.minimum is None else [neuron.minimum, neuron.threshold]
    scales.append(tensor_scale(bounds, STATE_HALF))
    if neuron.initial_potential is not None:
        scales.append(tensor_scale(neuron.initial_potential, STATE_HALF))
    return min(scales)


def scale_takers(layer: NormalLayer, value: float) -> str:
    """What takes so much of a layer's scale that a value becomes zero, and how small it would have to be.

    Parameters
    ----------
    value
        A weight or bias, > 0, which rounds to zero.
    """
    if declared_scale(layer)[0] is not None and layer.operation.declared is not None:
        step = f"{layer.operation.declared.step:.3g}"
        return f"Train with a smaller step of its weights' quantiser than {step}, which decides the scale"
    taken = []
    for name, held in _numbers(layer):
        if held is None:
            continue
        half = WEIGHT_HALF if name in ("weights", "biases") else STATE_HALF
        # More than half a unit of the scale: a little less than twice as many units.
        size, most = float(np.abs(np.asarray(held, np.float64)).max()), 1.99 * value * (half - 1)
        if size > most:
            taken.append(f"{name} of up to {size:.3g} (at most {most:.3g} would keep it)")
    return f"Train with smaller {' and '.join(taken)}, or rescale the features alike"


def _round(values: Any, scale: np.float32) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.rint(np.asarray(values, _F) * scale).astype(np.int64)


def _round_weights(weight: Any, scale: np.float32) -> Any:
    """In narrow integers, feature by feature: nothing of 64 bits for the whole layer."""
    if not len(weight):
        return _round(weight, scale)
    # The scale leaves 8 bits of the largest weight; a scale in common with others may leave fewer.
    whole = np.empty(weight.shape, np.int16)
    for feature, values in enumerate(weight):
        found = _round(values, scale)
        if found.size and (found.min() < -WEIGHT_HALF or found.max() >= WEIGHT_HALF):
            whole = narrowed(_round(weight, scale))
            break
        whole[feature] = found
    whole.flags.writeable = False
    return whole


def rounded(layer: NormalLayer, scale: np.float32 | None = None) -> NormalLayer:
    """The layer of integers; that its numbers are sound and survive the rounding, `quantize` sees to.

    Parameters
    ----------
    scale
        One of several layers that share a core; None for its own.
    """
    operation, neuron, scale = layer.operation, layer.neuron, scale or layer_scale(layer)
    bias = None if operation.bias is None else _round(operation.bias, scale)
    has_bias = bias is not None and bool(np.any(bias))
    minimum = -STATE_HALF if neuron.minimum is None else int(_round(neuron.minimum, scale))
    state = None if neuron.initial_potential is None else _round(neuron.initial_potential, scale)
    threshold = int(_round(neuron.threshold, scale))
    whole = replace(neuron, threshold=threshold, minimum=minimum, initial_potential=state)
    return replace(
        layer,
        operation=replace(
            operation,
            weight=_round_weights(operation.weight, scale),
            bias=bias,
            has_bias=has_bias,
            declared=None,
        ),
        neuron=_fires_when_reached(whole, layer) if neuron.fires_at == "above" else whole,
        unrounded=layer,
    )


def _fires_when_reached(neuron: Neuron, layer: NormalLayer) -> Neuron:
    """The integer neuron that fires at a threshold as this one does above its own."""
    if neuron.reset == "zero":
        return replace(neuron, threshold=neuron.threshold + 1, fires_at="reached")
    state = (
        np.zeros(layer.output_shape, np.int64)
        if neuron.initial_potential is None
        else neuron.initial_potential
    )
    minimum = -STATE_HALF if neuron.minimum is None else max(-STATE_HALF, int(neuron.minimum) - 1)
    return replace(neuron, minimum=minimum, initial_potential=state - 1, fires_at="reached")


def _ruined(layer: NormalLayer, whole: NormalLayer) -> Iterator[Finding]:
    where, neuron = f"layer {layer.title}", whole.neuron
    before: Any = layer.operation.weight
    after: Any = whole.operation.weight
    if np.any(before) and not np.any(after):
        largest = float(np.abs(widened(before)).max())
        step = scale_takers(layer, largest)
        yield Finding(where, "all weights would round to zero", f"largest {largest:g}", next_step=step)
    if np.any(np.asarray(neuron.threshold) < 1):
        step = "Rescale the layer: the threshold is too small beside its weights"
        yield Finding(where, "the threshold would round below 1", neuron.threshold, ">= 1", next_step=step)
    if np.any(np.asarray(neuron.threshold) >= STATE_HALF):
        step = f"Use {FIRES_AT.to('reached')}, or scale weights and threshold down alike"
        problem = "fires above its threshold, and the next number has no 16 bits"
        yield Finding(where, problem, neuron.threshold, STATE_HALF - 1, next_step=step)
