"""Repairs of the network: one size of a layer or input, least change first within a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush

from mapper.edits import Edit, following_edits, linked_layers, reads_whole_map
from mapper.errors import MapperError
from mapper.operations import Pair
from mapper.reasons import Repair, SizeChange
from mapper.repairs.search import Search, largest, last, roundest, size_changes
from mapper.wording import join_names
from mapper.work import layer_work

__all__ = [
    "largest_edit",
    "largest_size",
    "legal_first",
    "ratio",
    "repair_of",
    "retrained",
    "single_repairs",
    "smaller_map",
    "strides_of",
    "unfolded_repairs",
]


def repair_of(search: Search, kind: str, edits: Sequence[Edit], change: float, aside: str = "") -> Repair:
    """A repair of the network in words, with all sizes that follow."""
    changes = size_changes(search.network, edits)
    sentence = join_names([_change_text(search, entry) for entry in changes])
    # Layers whose features are added are named with them.
    following = [edit for edit in following_edits(search.network, edits) if edit.field == "kernel"]
    title = search.network.title
    kernels = [f"the kernel of {title(edit.name)} becomes {_times(edit.value)}" for edit in following]
    follows = f", and {join_names(kernels)}" if kernels else ""
    return Repair(
        sentence=f"{sentence}{aside}{follows}{retrained(search)}.",
        kind=kind,
        change=round(change, 4),
        sizes=(*changes, *size_changes(search.network, following)),
    )


def _times(value: int | Pair) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def retrained(search: Search) -> str:
    """What to add where the network has weights, which no change of sizes keeps."""
    return "" if search.question.is_by_shapes else " (by shapes: needs retraining)"


def _change_text(search: Search, entry: SizeChange) -> str:
    before, after, title = _times(entry.before), _times(entry.after), search.network.title
    if entry.field == "features":
        linked = join_names([*map(title, linked_layers(search.network, entry.name))])
        noun = "feature" if after == "1" else "features"
        return f"{linked}: {after} {noun} instead of {before}"
    if entry.field == "pooling":
        where = f" on the way to {title(entry.target)}" if entry.target else " behind it"
        old, new = (f"a pool of {size}" if size != "1x1" else "no pool" for size in (before, after))
        return f"{title(entry.name)}: {new}{where} instead of {old}"
    if entry.field == "input_size":
        return f"{title(entry.name)}: {after} pixels instead of {before}"
    return f"{title(entry.name)}: {entry.field} {after} instead of {before}"


def largest_edit(
    search: Search, low: int, high: int, edits: Callable[[int], Sequence[Edit]], first: int | None = None
) -> int | None:
    """The largest number whose edits make the network fit."""
    return largest(
        low, high, lambda n: search.fits_with(*edits(n)), first, may=lambda n: search.may_fit(*edits(n))
    )


def largest_size(search: Search, most: int, edits: Callable[[int], Sequence[Edit]]) -> int | None:
    """The largest size of a map, of those that are tried: what pools divide mostly fits, others need not."""
    return largest(
        1,
        most,
        lambda n: search.fits_with(*edits(n)),
        may=lambda n: search.may_fit(*edits(n)),
        middle_of=roundest,
    )


def single_repairs(search: Search, kind: str) -> Iterator[Repair]:
    """Repairs that change one thing of the network; those of output layers last."""
    if kind == "input_size":
        yield from _input_sizes(search)
        return
    find = {"features": _features, "kernel": _kernel, "stride": _stride, "padding": _padding}.get(
        kind, _pooling
    )
    waiting: list[tuple[bool, float, int, Repair | None, Iterator[float | Repair]]] = []
    for n, layer in enumerate(search.suspects):
        if not search.bounds.exclude_kind(kind, layer):
            is_last = kind == "features" and _answers(search, layer)
            heappush(waiting, (is_last, 0.0, n, None, find(search, layer)))
    while waiting:
        is_last, _, n, repair, steps = heappop(waiting)
        if repair is not None:
            yield repair
        elif (step := next(steps, None)) is not None:
            entry = (step.change, n, step) if isinstance(step, Repair) else (step, n, None)
            heappush(waiting, (is_last, *entry, steps))


def _answers(search: Search, layer: str) -> bool:
    """Whether an output changes with the features of a layer."""
    try:
        return bool(search.outputs & set(linked_layers(search.network, layer)))
    except MapperError:
        return False


# What `_features` and the others give, of one layer: how little a repair changes at least of what is left to
# try, before each that is tried, and in the end the repair.


def _features(search: Search, layer: str) -> Iterator[float | Repair]:
    try:
        linked_layers(search.network, layer)
    except MapperError:
        return
    before = search.convolution(layer).out_features

    def edits(count: int) -> tuple[Edit, ...]:
        return (Edit(layer, "features", count),)

    most = before - 1
    if most < 1 or not search.may_fit(*edits(1)):
        return
    most = last(1, most, lambda count: search.may_fit(*edits(count)))
    yield round(1 - most / before, 4)
    best = largest(1, most, lambda count: search.fits_with(*edits(count)), most)
    if best is not None:
        yield repair_of(search, "features", edits(best), 1 - best / before)


def _in_turn(
    search: Search, kind: str, ways: Sequence[tuple[Sequence[Edit], float]], aside: str = ""
) -> Iterator[float | Repair]:
    """The first of several edits that works; each with how much it changes."""
    for n, (edits, change) in enumerate(ways):
        yield min(round(other, 4) for _, other in ways[n:])
        if search.fits_with(*edits):
            yield repair_of(search, kind, edits, change, aside)
            return


def _kernel(search: Search, layer: str) -> Iterator[float | Repair]:
    conv, ways = search.convolution(layer), []
    if reads_whole_map(search.network.by_name[layer]):
        return
    for size in range(max(conv.kernel) - 1, 0, -1):
        kernel = (min(conv.kernel[0], size), min(conv.kernel[1], size))
        edits = [Edit(layer, "kernel", kernel)]
        # Padding follows so that the map stays, or grows no larger.
        lost = [before - after for before, after in zip(conv.kernel, kernel, strict=True)]
        padding = (
            max(0, conv.padding[0] - (lost[0] + 1) // 2),
            max(0, conv.padding[1] - (lost[1] + 1) // 2),
        )
        if padding != conv.padding:
            edits.append(Edit(layer, "padding", padding))
        ways.append((edits, 1 - kernel[0] * kernel[1] / (conv.kernel[0] * conv.kernel[1])))
    yield from _in_turn(search, "kernel", ways)


def ratio(before: Pair, after: Pair) -> float:
    """By which share areas differ, 0..1."""
    areas = sorted((before[0] * before[1], after[0] * after[1]))
    return 1 - areas[0] / areas[1]


def legal_first(before: Pair, allowed: Sequence[int]) -> list[Pair]:
    """Other values than an illegal one, nearest first; larger ones than a legal one, ascending."""
    legal = before[0] == before[1] and before[0] in allowed
    pairs: list[Pair] = [(n, n) for n in allowed if not legal or n > before[0]]
    return sorted((p for p in pairs if p != before), key=lambda pair: ratio(before, pair))


def strides_of(search: Search) -> list[int]:
    """Strides that some core has."""
    return sorted(
        {stride for kind in search.problem.chip.core_classes for stride in kind.core.limits.strides}
    )


def _stride(search: Search, layer: str) -> Iterator[float | Repair]:
    conv, shape = search.convolution(layer), search.network.by_name[layer].output_shape
    if shape[1:] == (1, 1):
        return
    strides = legal_first(conv.stride, strides_of(search))
    ways = [([Edit(layer, "stride", stride)], ratio(conv.stride, stride)) for stride in strides]
    yield from _in_turn(search, "stride", ways)


def _pooling(search: Search, layer: str) -> Iterator[float | Repair]:
    """One pool for all that follows a layer, or another pool on one of several ways."""
    edges = search.network.outgoing[layer]
    places = {(edge.pool.size if edge.pool else (1, 1), edge.target) for edge in edges}
    targets: list[tuple[Pair, str | None]] = [(size, target) for size, target in sorted(places)]
    if len({size for size, _ in places}) == 1:
        targets.insert(0, (targets[0][0], None))
    poolings = search.problem.chip.routing.poolings
    ways = [
        ([Edit(layer, "pooling", size, target)], ratio(before, size))
        for before, target in (targets if len(places) > 1 else targets[:1])
        for size in legal_first(before, poolings)
    ]
    yield from _in_turn(search, "pooling", ways)


def unfolded_repairs(search: Search) -> Iterator[Repair]:
    """Pools that destinations have, in place of overlapping ones whose folded weights leave their bits."""
    for entry in search.report.unmet:
        for edge in search.network.incoming.get(entry.layers[0], ()) if entry.unit == "weight" else ():
            pool = edge.pool
            if pool is None or pool.size == pool.stride or edge.source not in search.network.by_name:
                continue
            for size in legal_first(pool.size, search.problem.chip.routing.poolings):
                edit = Edit(edge.source, "pooling", size, edge.target)
                if search.fits_with(edit):
                    yield repair_of(search, "pooling", [edit], ratio(pool.size, size))
                    break


def _padding(search: Search, layer: str) -> Iterator[float | Repair]:
    conv, shape, ways = search.convolution(layer), search.network.by_name[layer].output_shape, []
    for lost in range(1, max(conv.padding) + 1):
        padding = (max(0, conv.padding[0] - lost), max(0, conv.padding[1] - lost))
        rows, columns = (shape[1 + n] - 2 * (conv.padding[n] - padding[n]) / conv.stride[n] for n in (0, 1))
        share = max(0.0, 1 - rows * columns / (shape.height * shape.width))
        ways.append(([Edit(layer, "padding", padding)], share))
    yield from _in_turn(search, "padding", ways, _rounding(search, (layer,)))


def smaller_map(height: int, width: int, pixels: int) -> Pair:
    """A map whose longer side has so many pixels, of about the same proportions."""
    longer = max(height, width)
    return max(1, round(height * pixels / longer)), max(1, round(width * pixels / longer))


def _input_sizes(search: Search) -> Iterator[Repair]:
    for entry in search.network.inputs:
        _, height, width = entry.shape
        if search.bounds.exclude_kind("input_size", entry.name):
            continue

        def edits(pixels: int, name: str = entry.name, size: Pair = (height, width)) -> tuple[Edit, ...]:
            return (Edit(name, "input_size", smaller_map(*size, pixels)),)

        best = largest_size(search, max(height, width) - 1, edits)
        if best is not None:
            size = smaller_map(height, width, best)
            aside = _rounding(search, search.named)
            yield repair_of(
                search,
                "input_size",
                [Edit(entry.name, "input_size", size)],
                ratio((height, width), size),
                aside,
            )


def _rounding(search: Search, layers: Sequence[str]) -> str:
    """Name a layer whose map takes far more words than it has neurons: addresses are rounded up."""
    for layer in layers:
        entry = search.network.by_name[layer]
        _, height, width = entry.output_shape
        words, neurons = layer_work(search.network, entry).narrowed(1).neuron_words, height * width
        if words >= 2 * neurons:
            map_text = f"{entry.title}'s map of {height}x{width}"
            return f" ({map_text} takes {words} words a feature, for {neurons} neurons)"
    return ""
