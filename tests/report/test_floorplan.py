from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from hwspec.catalog import load
from hwspec.inert import inert
from mapper.api import solve
from mapper.network import Network
from mapper.operations import Convolution
from mapper.record import PlacementRecord, placement_record
from mapper.report.drawing import fitted, text_width
from mapper.report.words import share_text
from tests.builders import chain, conv, gesture
from tests.graphs import Link, graph
from tests.report.markup import Node
from tests.report.pictures import Line, drawn, lines, nodes_stand_apart, number
from tests.report.placements import random_placements
from tests.report.samples import hostile, small

PLACED = [cell.placement for report in (small(), hostile()) for cell in report.cells if cell.placement]
DRAWN = [*PLACED, *random_placements(range(12))]


def names_of(record: PlacementRecord) -> dict[str, str]:
    """Names of the graph's nodes by number, whole."""
    told = {
        node.attributes["data-node"]: node.all("title")[0].text for node in drawn(record).all("g", "mfp-node")
    }
    return {number: re.sub(r"^(layer|input) |, .*", "", words) for number, words in told.items()}


@pytest.mark.parametrize("record", DRAWN, ids=lambda record: record.chip)
def test_arrows_cross_no_core_and_lie_on_no_other(record: PlacementRecord) -> None:
    picture = drawn(record)
    boxes = [tile.all("rect", "mfp-box")[0] for tile in picture.all("g", "mfp-core")]
    seen: list[Line] = []
    for wire in picture.all("g", "mfp-wire"):
        for line in lines(wire):
            for box in boxes:
                x, y = number(box, "x"), number(box, "y")
                spans = (x, x + number(box, "width")), (y, y + number(box, "height"))
                along, across = spans if line.is_level else spans[::-1]
                inside = across[0] < line.at < across[1]
                assert not (inside and line.start < along[1] and along[0] < line.stop), wire
            for other in seen:
                same = (line.is_level, line.at) == (other.is_level, other.at)
                assert not (same and line.start < other.stop and other.start < line.stop), wire
            seen.append(line)


@pytest.mark.parametrize("record", DRAWN, ids=lambda record: record.chip)
def test_every_wire_says_at_both_ends_where_it_goes_and_whence_it_comes(record: PlacementRecord) -> None:
    solution, place = record.solution, {use.core: str(n) for n, use in enumerate(record.cores)}
    asked = [("", str(entry.core), entry.input, 1, entry.feature_shift) for entry in solution.host_entries]
    asked += [
        ("", str(r.target), "sensor", r.pooling, r.feature_shift)
        if r.source == "dvs"
        else (str(place[r.source]), str(r.target), f"from {r.source}", r.pooling, r.feature_shift)
        for r in solution.routes
    ]
    wires = drawn(record).all("g", "mfp-wire")
    for wire, (source, target, whence, pooling, shift) in zip(wires, asked, strict=True):
        assert wire.attributes["data-source"] == source
        assert wire.attributes["data-target"] == ("" if target == "readout" else place[int(target)])
        names = [label.text for label in wire.all("text", "mfp-label")]
        more = f" /{pooling}" * (pooling > 1) + f" +{shift}" * (shift > 0)
        if source:
            assert f"to {target}{more}" in names
        if target != "readout":
            shown = whence if source else fitted(inert(whence), 150, 10)
            assert f"{shown}{more}" in names


@pytest.mark.parametrize("record", DRAWN, ids=lambda record: record.chip)
def test_no_stretch_of_a_wire_is_long_without_its_name(record: PlacementRecord) -> None:
    picture = drawn(record)
    rows = {number(box, "y") for box in picture.all("rect", "mfp-box") if number(box, "width") == 196}
    for wire in picture.all("g", "mfp-wire"):
        upright = {(number(name, "x"), number(name, "y")) for name in wire.all("text", "mfp-lane")}
        level = [(number(name, "x"), number(name, "y")) for name in wire.all("text", "mfp-label")]
        for line in lines(wire):
            if line.is_level:
                named = [x for x, y in level if abs(y - line.at) <= 3]
                marks = sorted([line.start, line.stop, *named])
                assert max(right - left for left, right in pairwise(marks)) < 440, wire
            else:
                passed = [y for y in rows if line.start <= y and y + 88 <= line.stop]
                assert {(line.at, y + 88 // 2 + 3) for y in passed} <= upright, wire


@pytest.mark.parametrize("record", DRAWN, ids=lambda record: record.chip)
def test_names_of_wires_lie_on_no_other_and_within_the_picture(record: PlacementRecord) -> None:
    picture = drawn(record)
    wide = number(picture, "width")
    seen: dict[int, list[tuple[int, int]]] = {}
    for name in (name for wire in picture.all("g", "mfp-wire") for name in wire.all("text", "mfp-label")):
        if name.attributes["text-anchor"] == "middle":
            continue  # on a wire of its own
        x, width = number(name, "x"), text_width(name.text, 10)
        span = (x, x + width) if name.attributes["text-anchor"] == "start" else (x - width, x)
        assert 0 <= span[0] <= span[1] <= wide
        for other in seen.setdefault(number(name, "y"), []):
            assert span[1] <= other[0] or other[1] <= span[0], name.text
        seen[number(name, "y")].append(span)


def test_names_on_wires_cover_none_of_the_next_track() -> None:
    """Where the wire has room for its name elsewhere; of crowded random ones a few have none."""
    covered = []
    for record in DRAWN:
        names = [
            name for wire in drawn(record).all("g", "mfp-wire") for name in wire.all("text", "mfp-label")
        ]
        spans: dict[int, list[tuple[int, int]]] = {}
        for name in names:
            x, width, anchor = number(name, "x"), text_width(name.text, 10), name.attributes["text-anchor"]
            if anchor != "middle":
                spans.setdefault(number(name, "y"), []).append(
                    (x, x + width) if anchor == "start" else (x - width, x)
                )
        for name in names:
            if name.attributes["text-anchor"] == "middle":
                half = text_width(name.text, 10) // 2
                x, y = number(name, "x"), number(name, "y")
                below = spans.get(y - 3 + 14 - 3, ())
                covered += [record.chip for start, stop in below if start < x + half and x - half < stop]
    assert {chip for chip in covered if not chip.startswith("random")} == set()
    assert len(covered) < 15


@dataclass(frozen=True)
class End:
    """Where a wire leaves or enters a core, and the name that stands there."""

    wire: Node
    core: str
    is_start: bool
    port: int
    name: Node


def ends(record: PlacementRecord) -> Iterator[End]:
    for wire in drawn(record).all("g", "mfp-wire"):
        path = list(lines(wire))
        names = [n for n in wire.all("text", "mfp-label") if n.attributes["text-anchor"] != "middle"]
        for is_start, core in (
            (True, wire.attributes["data-source"]),
            (False, wire.attributes["data-target"]),
        ):
            if core:
                # The name of where it goes comes first.
                yield End(wire, core, is_start, path[0 if is_start else -1].at, names[0 if is_start else -1])


@pytest.mark.parametrize("record", DRAWN, ids=lambda record: record.chip)
def test_the_name_at_an_end_of_a_wire_is_that_of_its_other_end(record: PlacementRecord) -> None:
    numbers = [str(use.core) for use in record.cores]
    for end in ends(record):
        other = end.wire.attributes["data-target" if end.is_start else "data-source"]
        whole = end.name.text
        if end.is_start:
            assert whole.split()[:2] == ["to", numbers[int(other)] if other else "readout"]
        elif other:
            assert whole.split()[:2] == ["from", numbers[int(other)]]


@pytest.mark.parametrize("record", DRAWN, ids=lambda record: record.chip)
def test_names_at_a_core_stand_in_the_order_of_their_wires(record: PlacementRecord) -> None:
    sides: dict[tuple[str, bool], list[End]] = {}
    for end in ends(record):
        sides.setdefault((end.core, end.is_start), []).append(end)
    for side in sides.values():
        side.sort(key=lambda end: end.port)
        named = [number(end.name, "x") for end in side]
        assert named == sorted(named)
        # What runs to the left has its name left of it: no name lies between two wires and could be either's.
        anchors = [end.name.attributes["text-anchor"] for end in side]
        assert anchors == sorted(anchors)


def read_wrongly(record: PlacementRecord) -> list[str]:
    """Names that another wire of the same core and side runs through, as if they were its own."""
    found, placed = [], list(ends(record))
    for end in placed:
        x, y = number(end.name, "x"), number(end.name, "y")
        width = text_width(end.name.text, 10)
        start, stop = (x, x + width) if end.name.attributes["text-anchor"] == "start" else (x - width, x)
        for other in placed:
            if other.wire != end.wire and (other.core, other.is_start) == (end.core, end.is_start):
                line = list(lines(other.wire))[0 if other.is_start else -1]
                if start < line.at < stop and line.start < y - 3 < line.stop:
                    found.append(end.name.text)
    return found


@pytest.mark.parametrize(
    "record",
    [*PLACED, *(placement_record(solve(f"mapper/data/{name}.yaml")) for name in ("wide", "example"))],
    ids=lambda record: record.chip,
)
def test_no_wire_runs_through_the_name_of_its_neighbour(record: PlacementRecord) -> None:
    assert read_wrongly(record) == []


def test_of_crowded_cores_few_names_are_run_through() -> None:
    crowded = list(random_placements(range(12)))
    named = sum(len(list(ends(record))) for record in crowded)
    assert sum(len(read_wrongly(record)) for record in crowded) <= named / 10


@pytest.mark.parametrize("record", DRAWN, ids=lambda record: record.chip)
def test_cores_are_drawn_to_their_memory_and_filled_to_their_use(record: PlacementRecord) -> None:
    tiles = drawn(record).all("g", "mfp-core")
    assert [int(tile.attributes["data-core"]) for tile in tiles] == list(range(len(record.cores)))
    offered = [(8 * u.kernel_words[1], 16 * u.neuron_words[1], 16 * u.bias_words[1]) for u in record.cores]
    longest = max(max(bits) for bits in offered)
    for tile, use, bits in zip(tiles, record.cores, offered, strict=True):
        assert f"mfp-{use.role}" in tile.attributes["class"]
        words = (use.kernel_words, use.neuron_words, use.bias_words)
        have, used = tile.all("rect", "mfp-have"), tile.all("rect", "mfp-used")
        for bar, filled, size, (taken, there) in zip(have, used, bits, words, strict=True):
            length, full = number(bar, "width"), number(filled, "width")
            assert length == (max(92 * size // longest, 1) if there else 0)
            assert full == (-(-length * taken // there) if there else 0)
        if use.role != "layer":
            assert use.role in tile.all("text", "mfp-mark")[0].text
        if use.layer is not None:
            assert tile.all("text", "mfp-name")[0].text == fitted(inert(use.label), 176, 12)


def test_title_and_description_tell_what_the_picture_shows() -> None:
    record = placement_record(solve(gesture(), "speck2f"))
    picture = drawn(record)
    assert picture.attributes["role"] == "img"
    assert picture.attributes["aria-label"] == picture.all("title")[0].text == "Floorplan: gesture on speck2f"
    told = picture.all("desc")[0].text
    assert "core 0: conv0; kernel 128 of 16384 words, neuron 65536 of 65536 words, bias 0 of 1024" in told
    assert "The sensor feeds core 0." in told
    for use in record.cores:
        assert f"core {use.core}: {use.layer}" in told


def test_readout_monitor_and_sensor_are_shown() -> None:
    network = chain([conv(4), Convolution(10, (8, 8))], (2, 32, 32), (4,), dvs=True)
    record = placement_record(solve(network, "speck2f", monitors=["conv0"], readout="conv1"))
    picture = drawn(record)
    names = [text.text for text in picture.all("text", "mfp-name")]
    assert names[:4] == ["sensor", "conv0", "conv1", "readout"]
    assert names[4:6] == ["inputs (sensor, pooled 1x1)", "readout"]
    marks = {
        tile.all("text", "mfp-id")[0].text: tile.all("text", "mfp-mark")[0].text
        for tile in picture.all("g", "mfp-core")
    }
    assert marks[f"core {record.layers[0].cores[0]}"] == "monitor"
    assert "" in {wire.attributes["data-target"] for wire in picture.all("g", "mfp-wire")}


@pytest.mark.parametrize(
    ("used", "offered", "told"),
    [(0, 0, "-"), (0, 5, "0 %"), (1, 1000, "<1 %"), (999, 1000, "99 %"), (1000, 1000, "100 %")],
)
def test_only_what_is_full_says_100(used: int, offered: int, told: str) -> None:
    assert share_text(used, offered) == told


LOOPS = graph(
    [conv(4) for _ in range(4)],
    [Link(-1, 0), Link(0, 1), Link(1, 2), Link(2, 1), Link(0, 3), Link(2, 3), Link(3, 3)],
)
ZOO = (
    "sinabs_dvs_gesture_9layer",
    "sinabs_residual_dummy1",
    "sinabs_two_stems_dummy3",
    "flow_diag_split",
)


@pytest.mark.parametrize(
    "source",
    [
        "digits",
        LOOPS,
        *(f"mapper/data/{n}.yaml" for n in ("example", "wide")),
        *(f"tests/data/zoo/{n}.yaml" for n in ZOO),
    ],
)
def test_the_graph_has_the_edges_of_the_network_that_is_placed(source: str | Network) -> None:
    result = solve(source, load("speck2f", ["+core[9..15]=core[5]"]))
    (network,) = result.networks
    record = placement_record(result)
    names = names_of(record)
    shown = {
        (names[link.attributes["data-source"]], names[link.attributes["data-target"]],
         "".join(label.text for label in link.all("text", "mfp-label")))
        for link in drawn(record).all("g", "mfp-link")
    }  # fmt: skip
    sensors = {entry.name for entry in network.inputs if entry.dvs is not None}
    asked = {
        ("sensor", edge.target, "")
        if edge.source in sensors
        else (
            edge.source,
            edge.target,
            f"/{edge.pool.size[0]}" if edge.pool and edge.pool.size[0] > 1 else "",
        )
        for edge in network.edges
    }
    assert shown == asked


def test_relays_carry_the_links_of_what_they_pass_on() -> None:
    fanned = graph([conv(4) for _ in range(6)], [Link(-1, 0), *(Link(0, n) for n in range(1, 6))])
    relayed = [record for record in PLACED if any(use.role == "relay" for use in record.cores)]
    relayed.append(
        placement_record(solve(fanned, load("speck2f", ["+core[9..15]=core[5]"]), fusion=False, max_copies=1))
    )
    for record in relayed:
        picture = drawn(record)
        relays = {str(n) for n, use in enumerate(record.cores) if use.role == "relay"}
        assert relays
        links = {link.attributes["data-link"] for link in picture.all("g", "mfp-link")}
        carried = {n for wire in picture.all("g", "mfp-wire") for n in wire.attributes["data-links"].split()}
        assert carried == links
        for wire in picture.all("g", "mfp-wire"):
            if wire.attributes["data-target"] in relays:
                behind = [
                    other for other in picture.all("g", "mfp-wire")
                    if other.attributes["data-source"] == wire.attributes["data-target"]
                ]  # fmt: skip
                assert behind
                reached = {n for other in behind for n in other.attributes["data-links"].split()}
                assert reached & set(wire.attributes["data-links"].split())


@pytest.mark.parametrize(
    "record", [*DRAWN, *random_placements(range(60, 90))], ids=lambda record: record.chip
)
def test_nodes_of_the_graph_stand_apart_and_show_their_cores(record: PlacementRecord) -> None:
    nodes_stand_apart(record)


def test_networks_have_graphs_of_their_own() -> None:
    record = placement_record(solve(["digits", "mapper/data/example.yaml"], "speck2f"))
    heads = [text.text for text in drawn(record).all("text", "mfp-head-line")]
    assert heads == ["digits", "example", "speck2f: 9 of 9 cores used"]
    assert sorted(names_of(record).values()).count("conv1") == 2
