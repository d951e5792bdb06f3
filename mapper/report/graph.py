"""The networks of a placement as graphs: each layer shows its cores, in their colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hwspec.inert import inert
from mapper.record import PlacementRecord
from mapper.report.columns import Columns, columns
from mapper.report.drawing import HEAD_SIZE, Element, element, fitted, text, text_width
from mapper.report.layered import Layout, layered, levels_of
from mapper.report.signals import Node, Signals
from mapper.wording import titled

__all__ = ["HUES", "graphs", "hue"]

HUES = 9
"""So many colours there are for cores; core 9 has that of core 0 again, and its number beside it."""

_NODE_HEIGHT, _TITLE_HEIGHT, _NETWORK_GAP = 38, 26, 22
_LEVEL_MIN, _LEVEL_MAX, _NODE_GAP, _PORT_STEP, _ARROW, _LOOP = 58, 84, 14, 24, 7, 16
# Higher than this part of what it stands beside, a graph is wrapped into columns.
_TALL = 5 / 4
# Nodes are as wide as their names deserve and as their number leaves.
_WIDTHS = ((2, 178), (4, 140), (0, 112))
_NAME_SIZE, _SMALL_SIZE, _EDGE = 12, 10, 10


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One network's graph: its nodes' numbers, its links' numbers, and where they stand."""

    network: int
    nodes: tuple[int, ...]
    links: tuple[int, ...]
    layout: Layout
    node_width: int
    grid: Columns

    def corner(self, node: int) -> tuple[int, int]:
        """Upper left corner of a node, by its place among the graph's own."""
        x, y = self.grid.at(self.layout.levels[node], self.layout.centres[node])
        return x - self.node_width // 2, y


def graphs(record: PlacementRecord, sent: Signals, height: int) -> tuple[list[Element], int, int]:
    """Every network's graph, from the origin on; width and height of it all.

    Parameters
    ----------
    height
        Of what it stands beside: the levels of one network are spread over it, and several stand below each
        other as far as it reaches.
    """
    networks = range(len(record.networks))
    drawn = [_laid_out(sent, network, len(networks) == 1, height) for network in networks]
    parts: list[Element] = []
    x = y = right = bottom = 0
    for graph in drawn:
        if not graph.nodes:
            continue
        if y and y + graph.grid.height > height * _TALL:
            x, y = right + 2 * _NETWORK_GAP, 0
        parts += _graph(record, sent, graph, x, y)
        right, bottom = max(right, x + graph.grid.width), max(bottom, y + graph.grid.height)
        y += graph.grid.height + _NETWORK_GAP
    return parts, right, bottom


def _laid_out(sent: Signals, network: int, is_alone: bool, height: int) -> _Drawn:
    nodes = tuple(n for n, node in enumerate(sent.nodes) if node.network == network)
    links = tuple(n for n, link in enumerate(sent.links) if sent.nodes[link.source].network == network)
    at = {node: n for n, node in enumerate(nodes)}
    pairs = [(at[sent.links[n].source], at[sent.links[n].target]) for n in links]
    levels = levels_of(len(nodes), pairs)
    count = max(levels, default=0) + 1
    per_column = count
    if _tall(count, _LEVEL_MIN) > height * _TALL:
        most = max(1, (height - _TITLE_HEIGHT - _NODE_HEIGHT) // _LEVEL_MIN + 1)
        per_column = -(-count // -(-count // most))
    widest = max((levels.count(level) for level in {*levels}), default=0)
    width = next(width for most, width in _WIDTHS if widest <= most or not most)
    if per_column < count:
        width = _WIDTHS[-1][1]
    room = (height - _TITLE_HEIGHT - _NODE_HEIGHT) // max(per_column - 1, 1)
    step = max(_LEVEL_MIN, min(_LEVEL_MAX, room)) if is_alone else _LEVEL_MIN
    layout = layered(len(nodes), pairs, width, _NODE_GAP)
    return _Drawn(
        network, nodes, links, layout, width,
        columns(layout, pairs, per_column, step, _TITLE_HEIGHT, _NODE_HEIGHT),
    )  # fmt: skip


def _tall(levels: int, step: int) -> int:
    return _TITLE_HEIGHT + (levels - 1) * step + _NODE_HEIGHT


def _graph(record: PlacementRecord, sent: Signals, graph: _Drawn, left: int, top: int) -> Iterator[Element]:
    room = max(graph.grid.width, 150) if len(graph.grid.lefts) == 1 else graph.layout.width
    title = fitted(inert(record.networks[graph.network]), room, HEAD_SIZE)
    yield text("head-line", left, top + 13, title)
    graph = replace(graph, grid=graph.grid.moved(left, top))
    ports = _ports(sent, graph)
    for k, n in enumerate(graph.links):
        yield _link(record, sent, graph, k, ports[n])
    for node, n in enumerate(graph.nodes):
        yield _node(record, sent.nodes[n], n, graph.corner(node), graph.node_width)


def _ports(sent: Signals, graph: _Drawn) -> dict[int, int]:
    """X where each link arrives: side by side in the order of what they come from."""
    at = {node: n for n, node in enumerate(graph.nodes)}
    arriving: dict[int, list[int]] = {}
    for k, n in enumerate(graph.links):
        arriving.setdefault(at[sent.links[n].target], []).append(k)
    ports = {}
    for target, numbers in arriving.items():
        middle = graph.corner(target)[0] + graph.node_width // 2

        def origin(k: int) -> int:
            bends = graph.layout.bends.get(k)
            # As far along its own column: what comes from another one does not stand left of all.
            return bends[-1][1] if bends else graph.layout.centres[at[sent.links[graph.links[k]].source]]

        step = min(_PORT_STEP, (graph.node_width - 16) // max(len(numbers) - 1, 1))
        for place, k in enumerate(sorted(numbers, key=origin)):
            ports[graph.links[k]] = middle + round((place - (len(numbers) - 1) / 2) * step)
    return ports


def hue(record: PlacementRecord, place: int) -> str:
    """The class of a core's colour."""
    return f"mfp-h{record.cores[place].core % HUES}"


def _hue_of(record: PlacementRecord, node: Node) -> str:
    return hue(record, node.places[0]) if node.places else "mfp-h"


def _link(record: PlacementRecord, sent: Signals, graph: _Drawn, k: int, port: int) -> Element:
    """From one node down to another; one that leads back arrives at the right side of its target."""
    n = graph.links[k]
    link = sent.links[n]
    source, target = graph.nodes.index(link.source), graph.nodes.index(link.target)
    stop_x, stop_y = graph.corner(target)
    label = ", ".join(f"/{size}" for size in link.pooling if size > 1)
    if graph.layout.levels[target] > graph.layout.levels[source]:
        way = _way_down(graph, k, source, target, port)
        head = f"M{port} {stop_y}l-4 -{_ARROW}h8z"
        is_left = port < stop_x + graph.node_width // 2
        place = (port - 6 if is_left else port + 6, stop_y - 8)
    else:
        way = _way_back(graph, k, source, target)
        back, high = stop_x + graph.node_width, stop_y + 10
        head = f"M{back} {high}l{_ARROW} -4v8z"
        place, is_left = (back + 4, high - 5), False
    one, other = (inert(sent.nodes[end].name) for end in (link.source, link.target))
    parts = [
        element("title", {}, [f"{one} to {other}" + (f", pooled {label[1:]}" if label else "")]),
        element("path", {"class": "mfp-line", "d": way}),
        element("path", {"class": "mfp-head", "d": head}),
    ]
    if label:
        anchor = {"text-anchor": "end" if is_left else "start"}
        parts.append(text("label", place[0], place[1], label, **anchor))
    kind = f"mfp-link {_hue_of(record, sent.nodes[link.source])}"
    ends: dict[str, str | int] = {"data-link": n, "data-source": link.source, "data-target": link.target}
    return element("g", {"class": kind, **ends}, parts)


def _way_down(graph: _Drawn, k: int, source: int, target: int, port: int) -> str:
    """Curves from level to level, straight through the levels between, and around to the next column."""
    x, y = graph.corner(source)
    at_x, at_y, level = x + graph.node_width // 2, y + _NODE_HEIGHT, graph.layout.levels[source]
    way = f"M{at_x} {at_y}"
    bends = [graph.grid.at(*bend) for bend in graph.layout.bends.get(k, ())]
    last = (port, graph.corner(target)[1] - _ARROW)
    for n, (stop_x, stop_y) in enumerate([*bends, last]):
        hop = graph.grid.hops.get((k, level + n))
        if hop is not None:
            way += f"V{hop.low}H{hop.beside}V{hop.high}H{stop_x}V{stop_y}"
        else:
            middle = (at_y + stop_y) // 2
            way += f"C{at_x} {middle} {stop_x} {middle} {stop_x} {stop_y}"
        at_x, at_y = stop_x, stop_y + _NODE_HEIGHT
        if n < len(bends):
            way += f"V{at_y}"
    return way


def _way_back(graph: _Drawn, k: int, source: int, target: int) -> str:
    """A loop right of both nodes, or over the columns between them."""
    (x, y), (stop_x, stop_y) = graph.corner(source), graph.corner(target)
    right, back = x + graph.node_width, stop_x + graph.node_width
    low, high = y + _NODE_HEIGHT - 10, stop_y + 10
    over = graph.grid.backs.get(k)
    if over is not None:
        return f"M{right} {low}H{over.start}V{over.high}H{over.stop}V{high}H{back + _ARROW}"
    out = max(right, back) + _LOOP
    return f"M{right} {low}C{out} {low} {out} {high} {back + _ARROW} {high}"


def _node(record: PlacementRecord, node: Node, n: int, corner: tuple[int, int], width: int) -> Element:
    x, y = corner
    room = width - 2 * _EDGE
    shape = "x".join(map(str, node.shape or ()))
    box = {"x": x, "y": y, "width": width, "height": _NODE_HEIGHT, "rx": 4 if node.places else 19}
    name, words = fitted(inert(node.name), room, _NAME_SIZE), _said(record, node, shape)
    parts = [
        element("title", {}, [words]),
        element("rect", {"class": "mfp-box", **box}),
    ]
    if not node.places:
        parts.append(text("name", x + width // 2, y + 23, name, **{"text-anchor": "middle"}))
        return element("g", {"class": "mfp-node mfp-end", "data-node": n}, parts)
    parts.append(text("name", x + _EDGE, y + 16, name))
    shape_width = text_width(shape, _SMALL_SIZE)
    parts += _squares(record, node, x + _EDGE, y + 31, room - shape_width - 8)
    parts.append(text("unit", x + width - _EDGE, y + 31, shape, **{"text-anchor": "end"}))
    places = " ".join(map(str, node.places))
    about: dict[str, str | int] = {"class": "mfp-node", "data-node": n, "data-places": places}
    return element("g", about, parts)


def _squares(record: PlacementRecord, node: Node, x: int, y: int, room: int) -> Iterator[Element]:
    """Number and colour of every core; of too many the first ones."""
    stop = x + room
    for k, place in enumerate(node.places):
        number = str(record.cores[place].core)
        width = 11 + text_width(number, _SMALL_SIZE)
        is_last = k == len(node.places) - 1
        if x + width + (0 if is_last else text_width(" …", _SMALL_SIZE)) > stop and k:
            yield text("unit", x, y, "…")
            return
        yield element(
            "rect",
            {"class": f"mfp-square {hue(record, place)}", "x": x, "y": y - 8, "width": 8, "height": 8},
        )
        yield text("core-number", x + 11, y, number)
        x += width + 5


def _said(record: PlacementRecord, node: Node, shape: str) -> str:
    if not node.places:
        return {"input": f"input {inert(node.name)}", "readout": "readout stage"}[node.kind]
    cores = ", ".join(str(record.cores[place].core) for place in node.places)
    return f"layer {inert(titled(node.name))}, {shape}, on core{'s' if len(node.places) > 1 else ''} {cores}"
