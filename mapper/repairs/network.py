"""Repairs of the network: sizes of layers and inputs, least change first within a kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product

from mapper.demand import is_pool
from mapper.edits import Edit, following_edits, linked_layers, reads_whole_map
from mapper.errors import MapperError
from mapper.operations import Pair
from mapper.repairs.search import Search, largest, size_changes
from mapper.result import Repair, SizeChange
from mapper.rules import Rule
from mapper.wording import join_names
from mapper.work import HOLDING, CoreWork, layer_work
from mapper.work import largest as largest_features

__all__ = ["combined_repairs", "single_repairs", "unfolded_repairs"]

# Widths are tried in steps of one 64th of a layer's features.
_WIDTH_STEPS = 64

# Combinations of legal values that are tried when several values are illegal.
_COMBINATIONS_MAX = 243

_KERNEL_RULES = (Rule.KERNEL_SIZE, Rule.KERNEL_SQUARE)


def _repair(search: Search, kind: str, edits: Sequence[Edit], change: float, aside: str = "") -> Repair:
    changes = size_changes(search.network, edits)
    sentence = join_names([_change_text(search, entry) for entry in changes])
    # Layers whose features are added are named with them.
    following = [edit for edit in following_edits(search.network, edits) if edit.field == "kernel"]
    title = search.network.title
    kernels = [f"the kernel of {title(edit.name)} becomes {_times(edit.value)}" for edit in following]
    follows = f", and {join_names(kernels)}" if kernels else ""
    return Repair(
        sentence=f"{sentence}{aside}{follows}{_retrained(search)}.",
        kind=kind,
        change=round(change, 4),
        sizes=(*changes, *size_changes(search.network, following)),
    )


def _times(value: int | Pair) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _retrained(search: Search) -> str:
    """What to add where the network has weights, which no change of sizes keeps."""
    return "" if search.question.is_by_shapes else " (by shapes: needs retraining)"


def _change_text(search: Search, entry: SizeChange) -> str:
    before, after, title = _times(entry.before), _times(entry.after), search.network.title
    if entry.field == "features":
        linked = join_names([*map(title, linked_layers(search.network, entry.name))])
        return f"{linked}: {after} features instead of {before}"
    if entry.field == "pooling":
        where = f" on the way to {title(entry.target)}" if entry.target else " behind it"
        old, new = (f"a pool of {size}" if size != "1x1" else "no pool" for size in (before, after))
        return f"{title(entry.name)}: {new}{where} instead of {old}"
    if entry.field == "input_size":
        return f"{title(entry.name)}: {after} pixels instead of {before}"
    return f"{title(entry.name)}: {entry.field} {after} instead of {before}"


def single_repairs(search: Search, kind: str) -> Iterator[Repair]:
    """Repairs that change one thing of the network; those of output layers last."""
    if kind == "input_size":
        yield from _input_sizes(search)
        return
    find = {"features": _features, "kernel": _kernel, "stride": _stride, "padding": _padding}.get(
        kind, _pooling
    )
    repairs = [repair for layer in search.suspects for repair in find(search, layer)]
    yield from sorted(repairs, key=lambda r: (r.kind == "features" and _answers(search, r), r.change))


def _answers(search: Search, repair: Repair) -> bool:
    return any(search.outputs & set(linked_layers(search.network, entry.name)) for entry in repair.sizes)


def _features(search: Search, layer: str) -> Iterator[Repair]:
    try:
        linked_layers(search.network, layer)
    except MapperError:
        return
    before = search.convolution(layer).out_features
    best = largest(1, before - 1, lambda count: search.fits_with(Edit(layer, "features", count)), 1)
    if best is not None:
        yield _repair(search, "features", [Edit(layer, "features", best)], 1 - best / before)


def _kernel(search: Search, layer: str) -> Iterator[Repair]:
    conv = search.convolution(layer)
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
        if search.fits_with(*edits):
            taps = kernel[0] * kernel[1] / (conv.kernel[0] * conv.kernel[1])
            yield _repair(search, "kernel", edits, 1 - taps)
            return


def _ratio(before: Pair, after: Pair) -> float:
    areas = sorted((before[0] * before[1], after[0] * after[1]))
    return 1 - areas[0] / areas[1]


def _legal_first(before: Pair, allowed: Sequence[int]) -> list[Pair]:
    """Other values than an illegal one, nearest first; larger ones than a legal one, ascending."""
    legal = before[0] == before[1] and before[0] in allowed
    pairs: list[Pair] = [(n, n) for n in allowed if not legal or n > before[0]]
    return sorted((p for p in pairs if p != before), key=lambda pair: _ratio(before, pair))


def _strides(search: Search) -> list[int]:
    """Strides that some core has."""
    return sorted(
        {stride for kind in search.problem.chip.core_classes for stride in kind.core.limits.strides}
    )


def _stride(search: Search, layer: str) -> Iterator[Repair]:
    conv, shape = search.convolution(layer), search.network.by_name[layer].output_shape
    if shape[1:] == (1, 1):
        return
    for stride in _legal_first(conv.stride, _strides(search)):
        if search.fits_with(Edit(layer, "stride", stride)):
            yield _repair(search, "stride", [Edit(layer, "stride", stride)], _ratio(conv.stride, stride))
            return


def _pooling(search: Search, layer: str) -> Iterator[Repair]:
    """One pool for all that follows a layer, or another pool on one of several ways."""
    edges = search.network.outgoing[layer]
    places = {(edge.pool.size if edge.pool else (1, 1), edge.target) for edge in edges}
    targets: list[tuple[Pair, str | None]] = [(size, target) for size, target in sorted(places)]
    if len({size for size, _ in places}) == 1:
        targets.insert(0, (targets[0][0], None))
    for before, target in targets if len(places) > 1 else targets[:1]:
        for size in _legal_first(before, search.problem.chip.routing.poolings):
            edit = Edit(layer, "pooling", size, target)
            if search.fits_with(edit):
                yield _repair(search, "pooling", [edit], _ratio(before, size))
                return


def unfolded_repairs(search: Search) -> Iterator[Repair]:
    """Pools that destinations have, in place of overlapping ones whose folded weights leave their bits."""
    for entry in search.report.unmet:
        for edge in search.network.incoming.get(entry.layers[0], ()) if entry.unit == "weight" else ():
            pool = edge.pool
            if pool is None or pool.size == pool.stride or edge.source not in search.network.by_name:
                continue
            for size in _legal_first(pool.size, search.problem.chip.routing.poolings):
                edit = Edit(edge.source, "pooling", size, edge.target)
                if search.fits_with(edit):
                    yield _repair(search, "pooling", [edit], _ratio(pool.size, size))
                    break


def _padding(search: Search, layer: str) -> Iterator[Repair]:
    conv, shape = search.convolution(layer), search.network.by_name[layer].output_shape
    for lost in range(1, max(conv.padding) + 1):
        padding = (max(0, conv.padding[0] - lost), max(0, conv.padding[1] - lost))
        if search.fits_with(Edit(layer, "padding", padding)):
            rows, columns = (
                shape[1 + n] - 2 * (conv.padding[n] - padding[n]) / conv.stride[n] for n in (0, 1)
            )
            share = max(0.0, 1 - rows * columns / (shape.height * shape.width))
            aside = _rounding(search, (layer,))
            yield _repair(search, "padding", [Edit(layer, "padding", padding)], share, aside)
            return


def _smaller(height: int, width: int, pixels: int) -> Pair:
    """A map whose longer side has so many pixels, of about the same proportions."""
    longer = max(height, width)
    return max(1, round(height * pixels / longer)), max(1, round(width * pixels / longer))


def _input_sizes(search: Search) -> Iterator[Repair]:
    for entry in search.network.inputs:
        _, height, width = entry.shape

        def works(pixels: int, name: str = entry.name, size: Pair = (height, width)) -> bool | None:
            return search.fits_with(Edit(name, "input_size", _smaller(*size, pixels)))

        best = largest(1, max(height, width) - 1, works)
        if best is not None:
            size = _smaller(height, width, best)
            aside = _rounding(search, search.named)
            yield _repair(
                search,
                "input_size",
                [Edit(entry.name, "input_size", size)],
                _ratio((height, width), size),
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
    best = largest(1, _WIDTH_STEPS - 1, lambda steps: search.fits_with(*_scaled(search, layers, steps)), 1)
    if best is None:
        return
    edits = _scaled(search, layers, best)
    if kind == "several":
        edits = _widened(search, edits)
        yield _repair(search, kind, edits, _share(search, edits))
        return
    sentence = f"Every hidden layer with {100 * best / _WIDTH_STEPS:.0f} % of its features"
    repair = _repair(search, kind, edits, 1 - best / _WIDTH_STEPS)
    yield repair.model_copy(update={"sentence": f"{sentence}{_retrained(search)}."})


def _widened(search: Search, edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """Give each layer in turn as many features back as still fit, until none can have more."""
    ready = list(edits)
    for n, edit in enumerate(edits):
        before = search.convolution(edit.name).out_features

        def more(count: int, n: int = n, name: str = edit.name) -> bool | None:
            return search.fits_with(*ready[:n], Edit(name, "features", count), *ready[n + 1 :])

        best = largest(edit.value + 1, before, more, before) if isinstance(edit.value, int) else None
        if best is not None:
            ready[n] = Edit(edit.name, "features", best)
    return tuple(edit for edit in ready if edit.value != search.convolution(edit.name).out_features)


def _legal_values(search: Search) -> Iterator[Repair]:
    """All values that the chip cannot express changed to ones it can, those together that change least."""
    structural = {rule.name.lower() for rule in Rule if rule.nature == "structural"}
    named = {layer for entry in search.report.unmet if entry.rule in structural for layer in entry.layers}
    choices = [choice for layer in sorted(named) for choice in _legal_choices(search, layer)]
    if not choices:
        return
    combinations = sorted(
        islice(product(*choices), _COMBINATIONS_MAX), key=lambda edits: _share(search, edits)
    )
    for edits in combinations:
        if search.fits_with(*edits):
            yield _repair(search, "legal_values", edits, _share(search, edits))
            return
    # The rest may be a matter of the map's size.
    for entry in search.network.inputs:
        size = (entry.shape.height, entry.shape.width)

        def smaller(pixels: int, name: str = entry.name, size: Pair = size) -> tuple[Edit, ...]:
            return (*combinations[0], Edit(name, "input_size", _smaller(*size, pixels)))

        best = largest(1, max(size) - 1, lambda pixels: search.fits_with(*smaller(pixels)))
        if best is not None:
            edits = smaller(best)
            yield _repair(search, "legal_values", edits, _share(search, edits))


def _share(search: Search, edits: Sequence[Edit]) -> float:
    """The largest single change."""
    shares = [0.0]
    for change in size_changes(search.network, edits):
        one, two = change.before, change.after
        if isinstance(one, int) and isinstance(two, int):
            shares.append(1 - two / one)
        elif isinstance(one, tuple) and isinstance(two, tuple) and min(*one, *two) > 0:
            shares.append(_ratio(one, two))
    return max(shares)


def _legal_choices(search: Search, layer: str) -> Iterator[list[Edit]]:
    """For each illegal value of a layer the edits that make it legal, nearest first."""
    conv, chip, entry = search.convolution(layer), search.problem.chip, search.network.by_name[layer]
    work, cores = layer_work(search.network, entry), [kind.core for kind in chip.core_classes]

    def breaks(changed: CoreWork, *rules: Rule) -> bool:
        return all(any(HOLDING[rule](changed, core) for rule in rules) for core in cores)

    alone = work._replace(input_shape=work.input_shape._replace(features=1))
    most = max(largest_features(Rule.FEATURES, alone, core) for core in cores)
    if most < conv.out_features:
        yield [Edit(layer, "features", most)]
    if breaks(work, *_KERNEL_RULES) and not reads_whole_map(entry):
        smaller = (_at_most(conv.kernel, side) for side in range(max(conv.kernel), 0, -1))
        legal = (pair for pair in smaller if not breaks(work._replace(kernel=pair), *_KERNEL_RULES))
        yield from ([Edit(layer, "kernel", pair)] for pair in islice(legal, 1))
    if breaks(work, Rule.STRIDE):
        yield [Edit(layer, "stride", pair) for pair in _legal_first(conv.stride, _strides(search))]
    if breaks(work, Rule.PADDING):
        smaller = (_at_most(conv.padding, side) for side in range(max(conv.padding), -1, -1))
        legal = (pair for pair in smaller if not breaks(work._replace(padding=pair), Rule.PADDING))
        yield from ([Edit(layer, "padding", pair)] for pair in islice(legal, 1))
    for edge in search.network.outgoing[layer]:
        if edge.pool and not is_pool(edge.pool.size, edge.pool.stride, chip):
            pairs = _legal_first(edge.pool.size, chip.routing.poolings)
            yield [Edit(layer, "pooling", pair, edge.target) for pair in pairs]


def _at_most(pair: Pair, side: int) -> Pair:
    return min(pair[0], side), min(pair[1], side)
