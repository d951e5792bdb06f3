"""Repairs of the network that change several layers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice, product

from mapper.demand import is_pool
from mapper.edits import Edit, linked_layers, reads_whole_map
from mapper.errors import MapperError
from mapper.operations import Pair
from mapper.reasons import Repair
from mapper.repairs.network import (
    largest_edit,
    largest_size,
    legal_first,
    ratio,
    repair_of,
    retrained,
    smaller_map,
    strides_of,
)
from mapper.repairs.search import Search, last, size_changes
from mapper.rules import Rule
from mapper.wording import join_names
from mapper.work import HOLDING, CoreWork, largest, layer_work

__all__ = ["combined_repairs"]

# Widths are tried in steps of one 64th of a layer's features.
_WIDTH_STEPS = 64
# Sizes of more layers than these are told by their share alone.
_LISTED_MAX = 8

# Combinations of legal values that are tried when several values are illegal.
_COMBINATIONS_MAX = 243

_KERNEL_RULES = (Rule.KERNEL_SIZE, Rule.KERNEL_SQUARE)


def _scaled(search: Search, layers: Sequence[str], steps: int) -> tuple[Edit, ...]:
    edits = []
    for layer in layers:
        before = search.convolution(layer).out_features
        after = max(1, before * steps // _WIDTH_STEPS)
        if after < before:
            edits.append(Edit(layer, "features", after))
    return tuple(edits)


def _hidden(search: Search, layers: Sequence[str]) -> tuple[str, ...]:
    """Layers whose features may change freely: no output is added to them."""
    repairs = []
    for layer in layers:
        try:
            linked = linked_layers(search.network, layer)
        except MapperError:
            continue
        if not search.outputs & set(linked):
            repairs.append(layer)
    return tuple(repairs)


def combined_repairs(search: Search, kind: str) -> Iterator[Repair]:
    """Repairs that change several layers at once: all to legal values, the named ones, or all narrower."""
    if kind == "legal_values":
        yield from _legal_values(search)
        return
    everything = tuple(layer.name for layer in search.network.layers)
    layers = _hidden(search, everything if kind == "width" else search.named)
    if not layers or (kind == "several" and len(layers) < 2):
        return
    best = largest_edit(search, 1, _WIDTH_STEPS - 1, lambda steps: _scaled(search, layers, steps), 1)
    if best is None:
        return
    edits = _scaled(search, layers, best)
    if kind == "several":
        edits = _widened(search, edits)
        yield repair_of(search, kind, edits, _share(search, edits))
        return
    share = Fraction(best, _WIDTH_STEPS)
    sizes = [f"{edit.value} of {search.network.title(edit.name)}" for edit in edits]
    listed = f": {join_names(sizes)}" if len(sizes) <= _LISTED_MAX else ""
    sentence = f"Every hidden layer with {share} of its features, rounded down{listed}"
    repair = repair_of(search, kind, edits, 1 - best / _WIDTH_STEPS)
    yield repair.model_copy(update={"sentence": f"{sentence}{retrained(search)}."})


def _widened(search: Search, edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """Give each layer in turn as many features back as still fit, until none can have more."""

    def may(low: int, high: int, more: Callable[[int], Sequence[Edit]]) -> int | None:
        """As many as may, which mostly fit: then all that leads there fits too."""
        return last(low, high, lambda n: search.may_fit(*more(n))) if search.may_fit(*more(low)) else None

    ready = _given_back(search, edits, may)
    if not search.fits_with(*ready):
        ready = _given_back(
            search, edits, lambda low, high, more: largest_edit(search, low, high, more, high)
        )
    return tuple(edit for edit in ready if edit.value != search.convolution(edit.name).out_features)


def _given_back(
    search: Search,
    edits: tuple[Edit, ...],
    most: Callable[[int, int, Callable[[int], Sequence[Edit]]], int | None],
) -> list[Edit]:
    ready = list(edits)
    for n, edit in enumerate(edits):
        before = search.convolution(edit.name).out_features

        def more(count: int, n: int = n, name: str = edit.name) -> tuple[Edit, ...]:
            return (*ready[:n], Edit(name, "features", count), *ready[n + 1 :])

        if isinstance(edit.value, int) and edit.value < before:
            best = most(edit.value + 1, before, more)
            ready[n] = edit if best is None else Edit(edit.name, "features", best)
    return ready


def _legal_values(search: Search) -> Iterator[Repair]:
    """All values that the chip cannot express changed to ones it can, those together that change least."""
    structural = {rule.name.lower() for rule in Rule if rule.nature == "structural"}
    named = {layer for entry in search.report.unmet if entry.rule in structural for layer in entry.layers}
    # Of an overlapping pool of the largest size there is no choice: as a rule it is folded.
    choices = [choice for layer in sorted(named) for choice in _legal_choices(search, layer) if choice]
    if not choices:
        return
    combinations = sorted(
        islice(product(*choices), _COMBINATIONS_MAX), key=lambda edits: _share(search, edits)
    )
    for edits in combinations:
        if search.fits_with(*edits):
            yield repair_of(search, "legal_values", edits, _share(search, edits))
            return
    # The rest may be a matter of the map's size.
    for entry in search.network.inputs:
        size = (entry.shape.height, entry.shape.width)

        def smaller(pixels: int, name: str = entry.name, size: Pair = size) -> tuple[Edit, ...]:
            return (*combinations[0], Edit(name, "input_size", smaller_map(*size, pixels)))

        best = largest_size(search, max(size) - 1, smaller)
        if best is not None:
            edits = smaller(best)
            yield repair_of(search, "legal_values", edits, _share(search, edits))


def _share(search: Search, edits: Sequence[Edit]) -> float:
    """The largest single change."""
    shares = [0.0]
    for change in size_changes(search.network, edits):
        one, two = change.before, change.after
        if isinstance(one, int) and isinstance(two, int):
            shares.append(1 - two / one)
        elif isinstance(one, tuple) and isinstance(two, tuple) and min(*one, *two) > 0:
            shares.append(ratio(one, two))
    return max(shares)


def _legal_choices(search: Search, layer: str) -> Iterator[list[Edit]]:
    """For each illegal value of a layer the edits that make it legal, nearest first."""
    conv, chip, entry = search.convolution(layer), search.problem.chip, search.network.by_name[layer]
    work, cores = layer_work(search.network, entry), [kind.core for kind in chip.core_classes]

    def breaks(changed: CoreWork, *rules: Rule) -> bool:
        return all(any(HOLDING[rule](changed, core) for rule in rules) for core in cores)

    alone = work._replace(input_shape=work.input_shape._replace(features=1))
    most = max(largest(Rule.FEATURES, alone, core) for core in cores)
    if most < conv.out_features:
        yield [Edit(layer, "features", most)]
    if breaks(work, *_KERNEL_RULES) and not reads_whole_map(entry):
        smaller = (_at_most(conv.kernel, side) for side in range(max(conv.kernel), 0, -1))
        legal = (pair for pair in smaller if not breaks(work._replace(kernel=pair), *_KERNEL_RULES))
        yield from ([Edit(layer, "kernel", pair)] for pair in islice(legal, 1))
    if breaks(work, Rule.STRIDE):
        yield [Edit(layer, "stride", pair) for pair in legal_first(conv.stride, strides_of(search))]
    if breaks(work, Rule.PADDING):
        smaller = (_at_most(conv.padding, side) for side in range(max(conv.padding), -1, -1))
        legal = (pair for pair in smaller if not breaks(work._replace(padding=pair), Rule.PADDING))
        yield from ([Edit(layer, "padding", pair)] for pair in islice(legal, 1))
    for edge in search.network.outgoing[layer]:
        if edge.pool and not is_pool(edge.pool.size, edge.pool.stride, chip):
            pairs = legal_first(edge.pool.size, chip.routing.poolings)
            yield [Edit(layer, "pooling", pair, edge.target) for pair in pairs]


def _at_most(pair: Pair, side: int) -> Pair:
    return min(pair[0], side), min(pair[1], side)
