from __future__ import annotations

import pytest

from hwspec.catalog import load
from mapper.api import solve
from mapper.record import PlacementRecord, placement_record
from tests.builders import chain, conv
from tests.graphs import Link, graph
from tests.report.markup import Node
from tests.report.pictures import Line, drawn, lines, nodes_stand_apart, number


@pytest.mark.parametrize("layers", [30, 60])
def test_a_deep_network_on_64_cores_keeps_to_a_page_and_to_the_chips_height(layers: int) -> None:
    chip = load("speck2f", ["+core[9..63]=core[5]"])
    network = chain([conv(8) for _ in range(layers)], (2, 16, 16), name="deep")
    record = placement_record(solve(network, chip))
    picture = drawn(record)
    cores = [tile.all("rect", "mfp-box")[0] for tile in picture.all("g", "mfp-core")]
    assert len(cores) == 64
    assert number(picture, "width") < 1680
    lowest = max(number(box, "y") + number(box, "height") for box in cores)
    assert lowest < number(picture, "height") < lowest * 5 / 4 + 50
    assert len(picture.all("g", "mfp-node")) == layers + 1
    assert len(picture.all("g", "mfp-link")) == layers
    nodes_stand_apart(record)
    links_run_clear(record)


def test_links_to_other_columns_run_clear() -> None:
    layers = 27
    links = [Link(-1, 0), *(Link(n, n + 1) for n in range(layers - 1))]
    links += [
        Link(2, 6),
        Link(6, 11),
        Link(8, 12),
        Link(10, 15),
        Link(12, 26),
        Link(24, 2),
        Link(26, 8),
        Link(26, 26),
    ]
    network = graph([conv(4) for _ in range(layers)], links)
    record = placement_record(solve(network, load("speck2f", ["+core[9..34]=core[5]"])))
    picture = drawn(record)
    tops = {number(node.all("rect", "mfp-box")[0], "y") for node in picture.all("g", "mfp-node")}
    assert len(tops) < layers
    assert len(picture.all("g", "mfp-link")) == len(links)
    nodes_stand_apart(record)
    links_run_clear(record)


def links_run_clear(record: PlacementRecord) -> None:
    """Straight stretches of links cross no node, lie on no other, and keep to the picture."""
    picture = drawn(record)
    boxes = [node.all("rect", "mfp-box")[0] for node in picture.all("g", "mfp-node")]
    seen: list[tuple[Node, Line]] = []
    for link in picture.all("g", "mfp-link"):
        for line in lines(link):
            assert line.start >= 0
            assert 0 <= line.at < number(picture, "width" if not line.is_level else "height") - 24
            for box in boxes:
                x, y = number(box, "x"), number(box, "y")
                spans = (x, x + number(box, "width")), (y, y + number(box, "height"))
                along, across = spans if line.is_level else spans[::-1]
                inside = across[0] < line.at < across[1]
                assert not (inside and line.start < along[1] and along[0] < line.stop), link
            for other, taken in seen:
                # What one node sends leaves it at one place.
                if other.attributes["data-source"] != link.attributes["data-source"]:
                    same = (line.is_level, line.at) == (taken.is_level, taken.at)
                    assert not (same and line.start < taken.stop and taken.start < line.stop), link
            seen.append((link, line))
