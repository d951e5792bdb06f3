"""Differences between two networks or configurations, down to the first number that differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from mapper.arguments import checked
from mapper.emit.read.extract import extract
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.interface import Interface
from mapper.emit.shared.joined import joined
from mapper.emit.shared.tensor import Tensor
from mapper.errors import Finding, NetworkError
from mapper.network import Edge, Network
from mapper.normal_form import NormalLayer, NormalNetwork, normal_form
from mapper.wording import titled

__all__ = ["Difference", "diff"]

# A value in a row is cut to as many characters, of which so many stand before the first that differs.
_TEXT_MAX, _BEFORE = 60, 20
# Of an interface, sentences for a reader: they decide nothing about what a chip does.
_SENTENCES = ("notes", "readings")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same on both sides.

    Attributes
    ----------
    where
        Layer, edge, core or stage.
    what
        The field; for arrays with the index of the first difference, in the order (feature, input
        feature, row, column) for networks and as in the file for configurations.
    left, right
        The values there, as text; "-" where a side has none. Long ones are cut around where they differ.
    count
        How many entries differ, for arrays.
    """

    where: str
    what: str
    left: str
    right: str
    count: int = 1

    def __str__(self) -> str:
        more = f" ({self.count} entries differ)" if self.count > 1 else ""
        return f"{self.where}: {self.what}: {self.left} | {self.right}{more}"


@checked
def diff(
    left: ChipConfig | Network | Sequence[Network], right: ChipConfig | Network | Sequence[Network]
) -> tuple[Difference, ...]:
    """All differences, layer by layer; empty if both are the same.

    Two configurations are compared field by field, but for the sentences of the interface (notes, and what
    was taken for granted while reading), a configuration with a network by what is extracted from it.
    Several networks are those that share a chip. The order of edges does not count, nor whether no bias is
    written as zeros.

    Raises
    ------
    ConfigError, NetworkError
        A configuration that is compared with a network contradicts itself; a network is not in normal form,
        or there is none.
    """
    if isinstance(left, ChipConfig) and isinstance(right, ChipConfig):
        return tuple(_records("", left, right))
    return tuple(_networks(_network(left), _network(right)))


def _network(side: ChipConfig | Network | Sequence[Network]) -> NormalNetwork:
    if isinstance(side, ChipConfig):
        return extract(side)
    networks = [side] if isinstance(side, Network) else list(side)
    if not networks:
        raise NetworkError(Finding("left or right", "there are no networks", next_step="Name at least one"))
    return normal_form(networks[0]) if isinstance(side, Network) else joined(list(map(normal_form, networks)))


def _records(where: str, left: Any, right: Any) -> Iterator[Difference]:
    if left is right:
        return
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        head, _, field = where.rpartition(".")
        yield from _arrays(head, field, left.array, right.array)
    elif isinstance(left, BaseModel) and type(left) is type(right):
        skipped = _SENTENCES if isinstance(left, Interface) else ()
        for name in (name for name in type(left).model_fields if name not in skipped):
            place = f"{where}.{name}" if where else name
            yield from _records(place, getattr(left, name), getattr(right, name))
    elif isinstance(left, tuple) and isinstance(right, tuple) and len(left) == len(right):
        for n, (one, two) in enumerate(zip(left, right, strict=True)):
            yield from _records(f"{where}[{n}]", one, two)
    elif left != right:
        head, _, field = where.rpartition(".")
        yield Difference(head or "configuration", field, *_texts(left, right))


def _texts(*values: object) -> tuple[str, str]:
    """Both values as texts of a row, each cut to what stands about the place where they differ."""
    left, right = ("-" if value is None else str(value) for value in values)
    pairs = enumerate(zip(left, right, strict=False))
    alike = next((n for n, (one, two) in pairs if one != two), min(len(left), len(right)))
    return _cut(left, alike), _cut(right, alike)


def _cut(text: str, place: int) -> str:
    if len(text) <= _TEXT_MAX:
        return text
    start = 0 if place < _TEXT_MAX // 2 else place - _BEFORE
    shown = text[start : start + _TEXT_MAX]
    return f"{'...' if start else ''}{shown}{'...' if start + len(shown) < len(text) else ''}"


def _arrays(where: str, what: str, left: Any, right: Any) -> Iterator[Difference]:
    if left.shape != right.shape:
        yield Difference(where, f"shape of {what}", str(left.shape), str(right.shape))
        return
    differs = left != right
    if count := int(np.count_nonzero(differs)):
        first = np.unravel_index(int(np.argmax(differs)), differs.shape)
        index = ", ".join(map(str, first))
        yield Difference(where, f"{what}[{index}]", str(left[first]), str(right[first]), count)


def _networks(left: NormalNetwork, right: NormalNetwork) -> Iterator[Difference]:
    yield from _named("input", left.inputs, right.inputs)
    yield from _order(left, right)
    for name in [layer.name for layer in left.layers if layer.name in right.by_name]:
        yield from _layers(name, left.by_name[name], right.by_name[name])
    ours, theirs = (Counter(map(_edge_key, side.edges)) for side in (left, right))
    for key in sorted({*ours, *theirs}):
        where, (left_times, right_times) = (
            f"edge {titled(key[0])} -> {titled(key[1])}",
            (ours[key], theirs[key]),
        )
        if left_times != right_times:
            yield Difference(where, "exists", _times(key[2], left_times), _times(key[2], right_times))
    yield from _named("output", left.outputs, right.outputs)


def _edge_key(edge: Edge) -> tuple[str, str, str]:
    return edge.source, edge.target, _edge_text(edge)


def _times(text: str, count: int) -> str:
    return "-" if count == 0 else text if count == 1 else f"{count} times {text}"


def _edge_text(edge: Edge) -> str:
    pool = "" if edge.pool is None else f"pool {edge.pool.size[0]}x{edge.pool.size[1]}, "
    return f"{pool}shift {edge.feature_offset}, delay {edge.delay_steps}"


def _order(left: NormalNetwork, right: NormalNetwork) -> Iterator[Difference]:
    names = [[layer.name for layer in side.layers] for side in (left, right)]
    for name in names[0]:
        if name not in names[1]:
            yield Difference(f"layer {titled(name)}", "exists", "yes", "-")
    for name in names[1]:
        if name not in names[0]:
            yield Difference(f"layer {titled(name)}", "exists", "-", "yes")
    if sorted(names[0]) == sorted(names[1]) and names[0] != names[1]:
        yield Difference("layers", "order", ", ".join(names[0]), ", ".join(names[1]))


def _named(kind: str, left: Sequence[Any], right: Sequence[Any]) -> Iterator[Difference]:
    sides = [{entry.name: entry for entry in side} for side in (left, right)]
    for name in dict.fromkeys((*sides[0], *sides[1])):
        one, two = sides[0].get(name), sides[1].get(name)
        if one is None or two is None:
            yield Difference(f"{kind} {name}", "exists", "yes" if one else "-", "yes" if two else "-")
        else:
            yield from _fields(f"{kind} {name}", one, two)


def _fields(where: str, left: Any, right: Any, prefix: str = "") -> Iterator[Difference]:
    for entry in fields(left):
        one, two = getattr(left, entry.name), getattr(right, entry.name)
        if is_dataclass(one) and type(one) is type(two):
            yield from _fields(where, one, two, f"{prefix}{entry.name}.")
        elif one != two:
            yield Difference(where, f"{prefix}{entry.name}", *_texts(one, two))


def _layers(name: str, left: NormalLayer, right: NormalLayer) -> Iterator[Difference]:
    where = f"layer {titled(name)}"
    if left.input_shape != right.input_shape:
        yield Difference(where, "input shape", str(left.input_shape), str(right.input_shape))
    for field in ("out_features", "kernel", "stride", "padding"):
        one, two = getattr(left.operation, field), getattr(right.operation, field)
        if one != two:
            yield Difference(where, field, *_texts(one, two))
    yield from _arrays(where, "weight", *(_array(side.operation.weight) for side in (left, right)))
    if left.operation.out_features == right.operation.out_features:
        zeros = np.zeros(left.operation.out_features, np.int64)
        biases = [zeros if s.operation.bias is None else _array(s.operation.bias) for s in (left, right)]
        yield from _arrays(where, "bias", *biases)
    yield from _neurons(where, left, right)


def _array(value: object) -> Any:
    return np.asarray([] if value is None else value)


def _neurons(where: str, left: NormalLayer, right: NormalLayer) -> Iterator[Difference]:
    one, two = left.neuron, right.neuron
    for field in ("threshold", "minimum", "reset", "spike_mode"):
        a, b = getattr(one, field), getattr(two, field)
        if np.any(np.asarray(a) != np.asarray(b)):
            yield Difference(where, field, *_texts(a, b))
    if left.output_shape == right.output_shape:
        states = [
            np.zeros(left.output_shape, np.int64)
            if n.initial_potential is None
            else _array(n.initial_potential)
            for n in (one, two)
        ]
        yield from _arrays(where, "initial potential", *states)
