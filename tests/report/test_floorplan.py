from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hwspec.catalog import load
from mapper.api import solve
from mapper.operations import Convolution
from mapper.record import PlacementRecord, placement_record
from mapper.report.floorplan import floorplan_svg
from mapper.report.words import share_text
from tests.builders import chain, conv, gesture
from tests.report.markup import Node, parsed
from tests.report.placements import random_placements
from tests.report.samples import hostile, small

PLACED = [cell.placement for report in (small(), hostile()) for cell in report.cells if cell.placement]
DRAWN = [*PLACED, *random_placements(range(12))]


def drawn(record: PlacementRecord) -> Node:
    (picture,) = parsed(floorplan_svg(record)).children
    assert isinstance(picture, Node)
    return picture


def number(node: Node, name: str) -> int:
    return int(node.attributes[name])


@dataclass(frozen=True)
class Line:
    """A straight stretch of a wire: along x at `at`, or along y."""

    is_level: bool
    at: int
    start: int
    stop: int


def lines(wire: Node) -> Iterator[Line]:
    x = y = 0
    for letter, values in re.findall(
        r"([MVH])(\d+(?: \d+)?)", wire.all("path", "mfp-line")[0].attributes["d"]
    ):
        if letter == "M":
            x, y = map(int, values.split())
        elif letter == "V":
            yield Line(False, x, *sorted((y, int(values))))
            y = int(values)
        else:
            yield Line(True, y, *sorted((x, int(values))))
            x = int(values)


@pytest.mark.parametrize("record", DRAWN, ids=lambda record: record.chip)
def test_arrows_cross_no_core_and_lie_on_no_other(record: PlacementRecord) -> None:
    picture = drawn(record)
    boxes = picture.all("rect", "mfp-box")
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
def test_every_destination_is_an_arrow_with_pool_and_shift(record: PlacementRecord) -> None:
    place = {use.core: str(n) for n, use in enumerate(record.cores)}
    asked = Counter(
        (
            place.get(route.source, ""),  # type: ignore[arg-type]  # the sensor has no place
            place.get(route.target, ""),  # type: ignore[arg-type]  # nor has the readout stage
            " ".join(
                ["sensor"] * (route.source == "dvs")
                + [f"/{route.pooling}"] * (route.pooling > 1)
                + [f"+{route.feature_shift}"] * (route.feature_shift > 0)
            ),
        )
        for route in record.solution.routes
    )
    shown = Counter(
        (
            wire.attributes["data-source"],
            wire.attributes["data-target"],
            "".join(label.text for label in wire.all("text", "mfp-label")),
        )
        for wire in drawn(record).all("g", "mfp-wire")
    )
    assert asked <= shown
    assert (shown - asked).total() == len(record.solution.host_entries)


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
            assert length == (max(104 * size // longest, 1) if there else 0)
            assert full == (-(-length * taken // there) if there else 0)
        if use.role != "layer":
            assert use.role in tile.all("text", "mfp-mark")[0].text
        if use.layer is not None:
            assert tile.all("text", "mfp-name")[0].text.startswith(use.label[:24])


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
    assert [text.text for text in picture.all("text", "mfp-name")][:2] == [
        "inputs (sensor, pooled 1x1)",
        "readout",
    ]
    marks = {
        tile.all("text", "mfp-id")[0].text: tile.all("text", "mfp-mark")[0].text
        for tile in picture.all("g", "mfp-core")
    }
    assert marks[f"core {record.layers[0].cores[0]}"] == "monitor"
    assert "" in {wire.attributes["data-target"] for wire in picture.all("g", "mfp-wire")}


def test_sixty_four_cores_keep_to_a_page_in_width() -> None:
    chip = load("speck2f", ["+core[9..63]=core[5]"])
    network = chain([conv(8) for _ in range(60)], (2, 16, 16), name="deep")
    picture = drawn(placement_record(solve(network, chip)))
    assert len(picture.all("g", "mfp-core")) == 64
    assert number(picture, "width") < 1600


@pytest.mark.parametrize(
    ("used", "offered", "told"),
    [(0, 0, "-"), (0, 5, "0 %"), (1, 1000, "<1 %"), (999, 1000, "99 %"), (1000, 1000, "100 %")],
)
def test_only_what_is_full_says_100(used: int, offered: int, told: str) -> None:
    assert share_text(used, offered) == told
