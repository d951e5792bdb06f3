"""A placement as a picture: its networks as graphs, and beside them the chip's cores.

Cores are drawn to their memory and filled to their use, destinations are arrows. Inputs enter from a bar on
top, the readout stage is a bar at the bottom. Between rows and columns of cores run channels; every arrow has
a track of its own there, leaves a core at its lower edge and enters at the upper one, so no two arrows lie on
each other and none crosses a core. What a core sends has the core's colour, and a name at both ends and
wherever it passes cores. The picture is a tree of elements: markup in a notebook, JSON in the report's page.
"""

from __future__ import annotations

from collections.abc import Iterator

from hwspec.inert import inert
from hwspec.schema import BIAS_WORD_BITS, KERNEL_WORD_BITS, NEURON_WORD_BITS
from mapper.record import CoreUse, PlacementRecord
from mapper.report.drawing import HEAD_SIZE, Element, element, fitted, markup, text, text_width
from mapper.report.graph import graphs, hue
from mapper.report.signals import Signals, signals, wires_of
from mapper.report.wiring import (
    ARROW,
    BUS_HEIGHT,
    EDGE,
    HEAD_HEIGHT,
    LABEL_SIZE,
    LANE_SIZE,
    TILE_HEIGHT,
    TILE_WIDTH,
    Names,
    Plan,
    Wire,
)  # fmt: skip
from mapper.report.words import destination, share_text
from mapper.wording import counted

__all__ = ["floorplan", "floorplan_svg"]

BAR_LEFT, BAR_LENGTH, BAR_HEIGHT = 54, 92, 9
_GRAPH_GAP, _NOTE_HEIGHT = 28, 20
_NAME_SIZE, _LABEL_WIDTH = 12, 150
# From this width on a picture grows and shrinks with its page.
_WIDE = 760
_LEGEND = (
    "Bars: memory by bits, one scale for all cores, filled as far as used. Beside a wire: /2 pools by 2, "
    "+16 shifts features by 16."
)
MEMORIES = (("kernel", KERNEL_WORD_BITS), ("neuron", NEURON_WORD_BITS), ("bias", BIAS_WORD_BITS))


def floorplan_svg(record: PlacementRecord, style: str = "") -> str:
    """The `floorplan` as one SVG element that can stand in HTML, or alone with a style in it.

    Parameters
    ----------
    style
        Of a picture that stands alone; in a page the page's own holds.
    """
    name, attributes, children = floorplan(record)
    own: list[Element | str] = [element("style", {}, [style])] if style else []
    return markup((name, {"xmlns": "http://www.w3.org/2000/svg", **attributes}, [*own, *children]))


def floorplan(record: PlacementRecord) -> Element:
    """The placement as an SVG element, without style: `templates/floorplan.css` gives it.

    Parameters
    ----------
    record
        Its cores give the memories, in words; a bar's length is proportional to a memory's bits, on one
        scale for the whole chip, and filled to what is used.
    """
    wires = wires_of(record)
    sent = signals(record, wires)
    plan = Plan(len(record.cores), wires, [_names(record, wire) for wire in wires])
    scale = max((bits for use in record.cores for _, _, bits in _memories(use)), default=0)
    name = inert(f"{', '.join(record.networks)} on {record.chip}")
    graph, graph_width, graph_height = graphs(record, sent, plan.height)
    left = EDGE + graph_width + _GRAPH_GAP if graph else 0
    chip = [
        text("head-line", EDGE, 13, _chip_title(record, plan.width - 2 * EDGE)),
        *_buses(record, plan),
        *(_wire(record, sent, plan, n) for n in range(len(wires))),
        *(_tile(record, sent, plan, n, scale) for n in range(len(record.cores))),
    ]
    width = left + max(plan.width, text_width(_LEGEND, LABEL_SIZE) + EDGE)
    height = EDGE + max(graph_height + EDGE, plan.height + _NOTE_HEIGHT)
    parts = [
        element("title", {}, [f"Floorplan: {name}"]),
        element("desc", {}, [_description(record)]),
        element("rect", {"class": "mfp-ground", "width": width, "height": height}),
        element("g", {"transform": f"translate({EDGE} {EDGE})"}, graph),
        element("g", {"transform": f"translate({left} {EDGE})"}, chip),
        text("note", left + EDGE, EDGE + plan.height + _NOTE_HEIGHT - EDGE, _LEGEND),
    ]
    kind = "mfp mfp-wide" if width >= _WIDE else "mfp"
    size: dict[str, str | int] = {"width": width, "height": height, "viewBox": f"0 0 {width} {height}"}
    about = {"class": kind, "role": "img", "aria-label": f"Floorplan: {name}"}
    return element("svg", {**about, **size}, parts)


def _chip_title(record: PlacementRecord, room: int) -> str:
    used = sum(use.role != "empty" for use in record.cores)
    told = f": {used} of {counted(len(record.cores), 'core')} used"
    return fitted(inert(record.chip), room - text_width(told, HEAD_SIZE), HEAD_SIZE) + told


def _names(record: PlacementRecord, wire: Wire) -> Names:
    """Where it goes, whence it comes; between its ends a word for each."""
    here = "readout" if wire.target is None else str(record.cores[wire.target].core)
    if wire.source is None:
        there = fitted(inert(wire.input), _LABEL_WIDTH, LABEL_SIZE)
    else:
        there = str(record.cores[wire.source].core)
    ways = destination("", wire.pooling, wire.shift)
    tail = destination(there if wire.source is None else f"from {there}", wire.pooling, wire.shift)
    lane = f"→{here}"
    return Names(
        f"to {here} {ways}".strip(),
        tail,
        fitted(there, TILE_HEIGHT - text_width(lane, LANE_SIZE), LANE_SIZE) + lane,
    )


def _memories(use: CoreUse) -> list[tuple[int, int, int]]:
    """(used words, offered words, offered bits) of kernel, neuron and bias memory."""
    words = (use.kernel_words, use.neuron_words, use.bias_words)
    return [(*pair, pair[1] * memory[1]) for pair, memory in zip(words, MEMORIES, strict=True)]


def _targets(record: PlacementRecord, use: CoreUse) -> str:
    return ", ".join(
        destination(str(route.target), route.pooling, route.feature_shift)
        for route in record.solution.routes
        if route.source == use.core
    )


def _marks(record: PlacementRecord, use: CoreUse) -> str:
    """Role and monitor of a core, in words."""
    is_read = any(monitor.source == use.core for monitor in record.solution.monitors)
    return ", ".join([use.role] * (use.role != "layer") + ["monitor"] * is_read)


def _sentence(record: PlacementRecord, use: CoreUse) -> str:
    """A core in one sentence, nothing cut off."""
    marks, targets = _marks(record, use), _targets(record, use)
    words = ", ".join(
        f"{name} {used} of {offered} words"
        for (name, _), (used, offered, _) in zip(MEMORIES, _memories(use), strict=True)
    )
    title = f"core {use.core}: {inert(use.label)}" + (f" ({marks})" if marks else "")
    return f"{title}; {words}" + (f"; sends to {targets}" if targets else "") + "."


def _description(record: PlacementRecord) -> str:
    solution = record.solution
    sentences = [f"{inert(entry.input)} enters at core {entry.core}." for entry in solution.host_entries]
    sentences += [f"The sensor feeds core {r.target}." for r in solution.routes if r.source == "dvs"]
    sentences += [_sentence(record, use) for use in record.cores if use.layer is not None]
    return " ".join(sentences)


def _buses(record: PlacementRecord, plan: Plan) -> Iterator[Element]:
    names = [f"host: {inert(entry.input)}" for entry in record.solution.host_entries]
    if record.solution.dvs_stage is not None:
        pooling = "x".join(map(str, record.solution.dvs_stage.pooling))
        watched = any(monitor.source == "dvs" for monitor in record.solution.monitors)
        names.append(f"sensor, pooled {pooling}" + (", monitor" if watched else ""))
    yield from _bus(plan, HEAD_HEIGHT, f"inputs ({'; '.join(dict.fromkeys(names))})")
    if plan.has_readout:
        yield from _bus(plan, plan.bottom, "readout")


def _bus(plan: Plan, y: int, words: str) -> Iterator[Element]:
    width = plan.width - 2 * EDGE
    box: dict[str, str | int] = {"class": "mfp-bus", "x": EDGE, "y": y, "width": width, "height": BUS_HEIGHT}
    yield element("rect", box)
    yield text("name", EDGE + 8, y + 17, fitted(words, width - 16, _NAME_SIZE))


def _wire(record: PlacementRecord, sent: Signals, plan: Plan, n: int) -> Element:
    wire, (out, into, between) = plan.wires[n], plan.ways[n]
    start = plan.leave.get(n, plan.lane.get(n, plan.enter.get(n, 0)))
    stop = plan.enter.get(n, plan.lane.get(n, start))
    top = HEAD_HEIGHT + BUS_HEIGHT if wire.source is None else plan.corner(wire.source)[1] + TILE_HEIGHT
    end = plan.bottom if wire.target is None else plan.corner(wire.target)[1]
    way = f"M{start} {top}"
    if between is None or wire.source is not None:
        way += f"V{plan.level[n, out]}H{stop if between is None else plan.lane[n]}"
    if between is not None and wire.target is not None:
        way += f"V{plan.level[n, into]}H{stop}"
    way += f"V{end - ARROW}"
    links = " ".join(str(k) for k, link in enumerate(sent.links) if n in link.wires)
    data = {"data-source": _end(wire.source), "data-target": _end(wire.target), "data-links": links}
    kind = "mfp-h" if wire.source is None else hue(record, wire.source)
    parts = [
        element("title", {}, [_wire_words(record, wire)]),
        element("path", {"class": "mfp-line", "d": way}),
        element("path", {"class": "mfp-head", "d": f"M{stop} {end}l-4 -{ARROW}h8z"}),
        *_wire_labels(plan, n),
    ]
    return element("g", {"class": f"mfp-wire {kind}", **data}, parts)


def _wire_words(record: PlacementRecord, wire: Wire) -> str:
    one = inert(wire.input) if wire.source is None else _holder(record.cores[wire.source])
    other = "the readout stage" if wire.target is None else _holder(record.cores[wire.target])
    steps = [f"pooled by {wire.pooling}"] * (wire.pooling > 1) + [f"features + {wire.shift}"] * (
        wire.shift > 0
    )
    return ", ".join([f"{one} to {other}", *steps])


def _holder(use: CoreUse) -> str:
    return f"{inert(use.label)} on core {use.core}"


def _end(place: int | None) -> str:
    return "" if place is None else str(place)


def _wire_labels(plan: Plan, n: int) -> Iterator[Element]:
    for label in plan.labels(n):
        if label.is_upright:
            more = {"text-anchor": label.anchor, "transform": f"rotate(-90 {label.x} {label.y})"}
            yield text("lane", label.x, label.y + 3, label.words, **more)
        else:
            yield text("label", label.x, label.y, label.words, **{"text-anchor": label.anchor})


def _tile(record: PlacementRecord, sent: Signals, plan: Plan, n: int, scale: int) -> Element:
    use = record.cores[n]
    x, y = plan.corner(n)
    right = x + TILE_WIDTH - 8
    title, marks = f"core {use.core}", _marks(record, use)
    box: dict[str, str | int] = {"x": x, "y": y, "height": TILE_HEIGHT, "rx": 4}
    parts = [
        element("title", {}, [_sentence(record, use)]),
        element("rect", {"class": "mfp-box", **box, "width": TILE_WIDTH}),
    ]
    if use.role != "empty":
        square: dict[str, str | int] = {"x": x + 10, "y": y + 9, "width": 9, "height": 9}
        parts.append(element("rect", {"class": "mfp-square", **square}))
    parts += [
        text("id", x + (10 if use.role == "empty" else 24), y + 17, title),
        text("mark", right, y + 17, marks, **{"text-anchor": "end"}),
        text("name", x + 10, y + 34, fitted(inert(use.label), TILE_WIDTH - 20, _NAME_SIZE)),
        *_bars(use, x, y, scale),
    ]
    about: dict[str, str | int] = {"class": f"mfp-core mfp-{use.role} {hue(record, n)}", "data-core": n}
    if (node := sent.node_at(n)) is not None:
        about["data-node"] = node
    return element("g", about, parts)


def _bars(use: CoreUse, x: int, y: int, scale: int) -> Iterator[Element]:
    right = x + TILE_WIDTH - 8
    for k, (used, offered, bits) in enumerate(_memories(use)):
        top = y + 42 + 14 * k
        length = max(BAR_LENGTH * bits // scale, 1) if bits else 0
        fill = -(-length * used // offered) if offered else 0
        bar = {"x": x + BAR_LEFT, "y": top, "height": BAR_HEIGHT}
        yield text("unit", x + 10, top + 8, MEMORIES[k][0])
        yield element("rect", {"class": "mfp-have", **bar, "width": length})
        yield element("rect", {"class": "mfp-used", **bar, "width": fill})
        yield text("unit", right, top + 8, share_text(used, offered), **{"text-anchor": "end"})
