"""A placement as a picture: cores drawn to their memory, filled to their use, destinations as arrows.

Inputs enter from a bar on top, the readout stage is a bar at the bottom. Between rows and columns of cores
run channels; every arrow has a track of its own there, leaves a core at its lower edge and enters at the
upper one, so no two arrows lie on each other and none crosses a core. The picture is a tree of elements:
markup in a notebook, JSON in the report's page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import TypeAlias

from hwspec.inert import inert
from hwspec.schema import BIAS_WORD_BITS, KERNEL_WORD_BITS, NEURON_WORD_BITS
from mapper.record import CoreUse, PlacementRecord
from mapper.report.wiring import ARROW, BUS_HEIGHT, EDGE, LETTER_WIDTH, TILE_HEIGHT, TILE_WIDTH, Plan, Wire
from mapper.report.words import destination, share_text

__all__ = ["Element", "floorplan", "floorplan_svg"]

# Tag, attributes, children.
Element: TypeAlias = tuple[str, dict[str, str | int], list["Element | str"]]

BAR_LEFT, BAR_LENGTH, BAR_HEIGHT = 24, 104, 10
NAME_LETTERS, TARGET_LETTERS = 25, 29
_LEGEND = "K kernel, N neuron, B bias memory: length by bits, one scale for all; filled as far as used"
MEMORIES = (
    ("K", "kernel", KERNEL_WORD_BITS),
    ("N", "neuron", NEURON_WORD_BITS),
    ("B", "bias", BIAS_WORD_BITS),
)


def _short(text: str, letters: int) -> str:
    """The first letters; counted in code points, as everywhere here."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _wires(record: PlacementRecord) -> list[Wire]:
    position = {use.core: n for n, use in enumerate(record.cores)}
    wires = []
    for entry in record.solution.host_entries:
        label = destination(inert(entry.input), 1, entry.feature_shift)
        wires.append(Wire(None, position[entry.core], _short(label, NAME_LETTERS)))
    for route in record.solution.routes:
        source = None if route.source == "dvs" else position[route.source]
        target = None if route.target == "readout" else position[route.target]
        name = "sensor" if source is None else ""
        wires.append(Wire(source, target, destination(name, route.pooling, route.feature_shift)))
    return wires


def _element(name: str, attributes: dict[str, str | int], children: Iterable[Element | str] = ()) -> Element:
    return name, attributes, list(children)


def _text(kind: str, x: int, y: int, text: str, **more: str) -> Element:
    return _element("text", {"class": f"mfp-{kind}", "x": x, "y": y, **more}, [text])


def floorplan_svg(record: PlacementRecord) -> str:
    """The `floorplan` as one SVG element that can stand in HTML or alone."""
    name, attributes, children = floorplan(record)
    return _markup((name, {"xmlns": "http://www.w3.org/2000/svg", **attributes}, children))


def _markup(element: Element | str) -> str:
    if isinstance(element, str):
        return escape(element)
    name, attributes, children = element
    head = "".join(f' {key}="{escape(str(value))}"' for key, value in attributes.items())
    return f"<{name}{head}>{''.join(map(_markup, children))}</{name}>"


def floorplan(record: PlacementRecord) -> Element:
    """The placement as an SVG element, without style: `templates/floorplan.css` gives it.

    Parameters
    ----------
    record
        Its cores give the memories, in words; a bar's length is proportional to a memory's bits, on one
        scale for the whole chip, and filled to what is used.
    """
    plan = Plan(len(record.cores), _wires(record))
    scale = max((bits for use in record.cores for _, _, bits in _memories(use)), default=0)
    name = inert(f"{', '.join(record.networks)} on {record.chip}")
    parts = [
        _element("title", {}, [f"Floorplan: {name}"]),
        _element("desc", {}, [_description(record)]),
        *_buses(record, plan),
        *(_wire(plan, n) for n in range(len(plan.wires))),
        *(_tile(record, plan, n, scale) for n in range(len(record.cores))),
        _text("note", EDGE, plan.height - EDGE, _LEGEND),
    ]
    about = {"class": "mfp", "role": "img", "aria-label": f"Floorplan: {name}"}
    box = f"0 0 {plan.width} {plan.height}"
    return _element("svg", {**about, "width": plan.width, "height": plan.height, "viewBox": box}, parts)


def _memories(use: CoreUse) -> list[tuple[int, int, int]]:
    """(used words, offered words, offered bits) of kernel, neuron and bias memory."""
    words = (use.kernel_words, use.neuron_words, use.bias_words)
    return [(*pair, pair[1] * memory[2]) for pair, memory in zip(words, MEMORIES, strict=True)]


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
        for (_, name, _), (used, offered, _) in zip(MEMORIES, _memories(use), strict=True)
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
    yield from _bus(plan, EDGE, f"inputs ({'; '.join(dict.fromkeys(names))})")
    if plan.has_readout:
        yield from _bus(plan, plan.bottom, "readout")


def _bus(plan: Plan, y: int, text: str) -> Iterator[Element]:
    width = plan.width - 2 * EDGE
    box: dict[str, str | int] = {"class": "mfp-bus", "x": EDGE, "y": y, "width": width, "height": BUS_HEIGHT}
    yield _element("rect", box)
    yield _text("name", EDGE + 8, y + 17, _short(text, width // LETTER_WIDTH - 6))


def _wire(plan: Plan, n: int) -> Element:
    wire, (out, into, between) = plan.wires[n], plan.ways[n]
    start = plan.leave.get(n, plan.lane.get(n, plan.enter.get(n, 0)))
    stop = plan.enter.get(n, plan.lane.get(n, start))
    top = EDGE + BUS_HEIGHT if wire.source is None else plan.corner(wire.source)[1] + TILE_HEIGHT
    end = plan.bottom if wire.target is None else plan.corner(wire.target)[1]
    way = f"M{start} {top}"
    if between is None or wire.source is not None:
        way += f"V{plan.level[n, out]}H{stop if between is None else plan.lane[n]}"
    if between is not None and wire.target is not None:
        way += f"V{plan.level[n, into]}H{stop}"
    way += f"V{end - ARROW}"
    data = {"data-source": _end(wire.source), "data-target": _end(wire.target)}
    head = f"M{stop} {end}l-4 -{ARROW}h8z"
    parts = [
        _element("path", {"class": "mfp-line", "d": way}),
        _element("path", {"class": "mfp-head", "d": head}),
        *_wire_label(plan, n),
    ]
    return _element("g", {"class": "mfp-wire", **data}, parts)


def _end(core: int | None) -> str:
    return "" if core is None else str(core)


def _wire_label(plan: Plan, n: int) -> Iterator[Element]:
    for run in plan.runs:
        if run.wire == n and run.label:
            forward = run.stop >= run.start
            anchor = {} if forward else {"text-anchor": "end"}
            x = run.start + 4 if forward else run.start - 4
            yield _text("label", x, plan.level[n, run.channel] - 3, run.label, **anchor)


def _tile(record: PlacementRecord, plan: Plan, n: int, scale: int) -> Element:
    use = record.cores[n]
    x, y = plan.corner(n)
    right = x + TILE_WIDTH - 8
    targets = _targets(record, use)
    parts = [
        _element("title", {}, [_sentence(record, use)]),
        _element(
            "rect",
            {"class": "mfp-box", "x": x, "y": y, "width": TILE_WIDTH, "height": TILE_HEIGHT, "rx": 3},
        ),
        _text("id", x + 8, y + 17, f"core {use.core}"),
        _text("mark", right, y + 17, _marks(record, use), **{"text-anchor": "end"}),
        _text("name", x + 8, y + 34, _short(inert(use.label), NAME_LETTERS)),
    ]
    for k, (used, offered, bits) in enumerate(_memories(use)):
        top = y + 42 + 15 * k
        length = max(BAR_LENGTH * bits // scale, 1) if bits else 0
        fill = -(-length * used // offered) if offered else 0
        bar = {"x": x + BAR_LEFT, "y": top, "height": BAR_HEIGHT}
        parts += [
            _text("unit", x + 8, top + 9, MEMORIES[k][0]),
            _element("rect", {"class": "mfp-have", **bar, "width": length}),
            _element("rect", {"class": f"mfp-used mfp-{MEMORIES[k][1]}", **bar, "width": fill}),
            _text("unit", right, top + 9, share_text(used, offered), **{"text-anchor": "end"}),
        ]
    if targets:
        parts.append(_text("to", x + 8, y + 99, _short(f"to {targets}", TARGET_LETTERS)))
    return _element("g", {"class": f"mfp-core mfp-{use.role}", "data-core": n}, parts)
