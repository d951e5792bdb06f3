"""What tests read off a picture of a placement."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mapper.record import PlacementRecord
from mapper.report.floorplan import floorplan_svg
from tests.report.markup import Node, parsed

__all__ = ["Line", "drawn", "lines", "nodes_stand_apart", "number"]


def drawn(record: PlacementRecord) -> Node:
    (picture,) = parsed(floorplan_svg(record)).children
    assert isinstance(picture, Node)
    return picture


def number(node: Node, name: str) -> int:
    return int(node.attributes[name])


@dataclass(frozen=True)
class Line:
    """A straight stretch of a wire or link: along x at `at`, or along y."""

    is_level: bool
    at: int
    start: int
    stop: int


def lines(wire: Node) -> Iterator[Line]:
    x = y = 0
    for letter, values in re.findall(r"([MVHC])([\d ]+)", wire.all("path", "mfp-line")[0].attributes["d"]):
        if letter in "MC":
            x, y = map(int, values.split()[-2:])
        elif letter == "V":
            yield Line(False, x, *sorted((y, int(values))))
            y = int(values)
        else:
            yield Line(True, y, *sorted((x, int(values))))
            x = int(values)


def nodes_stand_apart(record: PlacementRecord) -> None:
    boxes: list[tuple[int, int, int, int]] = []
    for node in drawn(record).all("g", "mfp-node"):
        (box,) = node.all("rect", "mfp-box")
        left, top = number(box, "x"), number(box, "y")
        edges = (left, top, left + number(box, "width"), top + number(box, "height"))
        for other in boxes:
            assert (
                edges[2] <= other[0] or other[2] <= edges[0] or edges[3] <= other[1] or other[3] <= edges[1]
            )
        boxes.append(edges)
        cores = [record.cores[int(place)].core for place in node.attributes.get("data-places", "").split()]
        shown = [int(text.text) for text in node.all("text", "mfp-core-number")]
        assert shown == cores[: len(shown)]
        assert len(shown) == len(cores) or "…" in [text.text for text in node.all("text", "mfp-unit")]
