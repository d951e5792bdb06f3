"""Readout, pieces, relays and copies: what was asked for, exactly, and one beyond."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from hwspec.catalog import load
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution
from mapper.options import SolveOptions
from mapper.rules import Rule
from mapper.solution import READOUT, HostEntry, LayerPart, Monitor, Placement, Relay, Route, Solution
from mapper.verify import verify
from tests.builders import chain, conv


def rules(network: NormalNetwork, solution: Solution, options: SolveOptions, *overrides: str) -> set[Rule]:
    """With options as they are: the checker may not rely on what `resolve` refuses."""
    violations = verify((network,), load("speck2f", list(overrides)), options, solution)
    return {entry.rule for entry in violations}


def read_out(features: int, size: int = 1) -> tuple[NormalNetwork, Solution]:
    """A layer that feeds the readout stage from core 5, with a map of this size."""
    network = chain([conv(2), Convolution(features, (9 - size, 9 - size))], (2, 8, 8))
    return network, Solution(
        (Placement(0, LayerPart(0, "conv0"), (0, 2)), Placement(5, LayerPart(0, "conv1"), (0, features))),
        (Route(0, 0, 5), Route(5, 0, READOUT)),
        (HostEntry(0, "input", 0),),
        (Monitor(5, 0, "conv1", (0, features)),),
    )


READ = SolveOptions(readout="conv1")


@pytest.mark.parametrize(
    ("features", "size", "fits"), [(57, 1, True), (60, 1, True), (61, 1, False), (4, 2, False)]
)
def test_fifteen_classes_of_one_pixel_can_be_read_out(features: int, size: int, fits: bool) -> None:
    network, solution = read_out(features, size)
    assert rules(network, solution, READ) == (set() if fits else {Rule.READOUT})


def test_the_readout_is_there_and_asked_for() -> None:
    network, solution = read_out(8)
    assert rules(network, solution, READ, "readout=none") == {Rule.READOUT}
    assert rules(network, solution, SolveOptions()) == {Rule.READOUT}
    unfed = replace(solution, routes=solution.routes[:1])
    assert rules(network, unfed, READ) == {Rule.READOUT}


def test_the_readouts_monitor_silences_others_and_needs_a_layer() -> None:
    network, solution = read_out(8)
    silent = replace(solution, monitors=())
    watch = replace(READ, readout_monitor=True)
    assert rules(network, silent, watch) == set()
    both = replace(watch, monitors=("conv1",))
    assert rules(network, solution, both) == {Rule.MONITOR}
    assert rules(network, solution, both, "monitor.excludes_readout_monitor=false") == set()
    unfed = replace(silent, routes=solution.routes[:1])
    assert rules(network, unfed, SolveOptions(readout_monitor=True)) == {Rule.READOUT}


def test_one_core_feeds_the_readout() -> None:
    network, solution = read_out(8)
    copy = Placement(6, LayerPart(0, "conv1", 1), (0, 8))
    routes = (*solution.routes, Route(0, 1, 6), Route(6, 0, READOUT))
    twice = replace(solution, placements=(*solution.placements, copy), routes=routes)
    assert rules(network, twice, READ) == {Rule.READOUT, Rule.WHOLE}


def divided(pieces: int, copies: tuple[int, ...] = (0,)) -> tuple[NormalNetwork, Solution]:
    """One layer of four features, cut into pieces of one and the rest, and copies of it that nobody reads."""
    network = chain([conv(4)], (2, 8, 8))
    cuts = (*range(pieces), 4)
    placements = tuple(
        Placement(n, LayerPart(0, "conv0", copy), span)
        for n, (copy, span) in enumerate((copy, span) for copy in copies for span in pairwise(cuts))
    )
    entries = tuple(HostEntry(0, "input", place.core) for place in placements)
    monitors = tuple(Monitor(place.core, 0, "conv0", place.features) for place in placements[:pieces])
    return network, Solution(placements, (), entries, monitors)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_so_many_pieces_and_not_one_more(most: int) -> None:
    options = SolveOptions(max_pieces=most)
    assert rules(*divided(most), options) == set()
    assert rules(*divided(most + 1), options) == {Rule.MOVES}
    assert rules(*divided(most + 1), SolveOptions()) == set()


def test_so_many_copies_numbered_from_zero() -> None:
    assert rules(*divided(2, (0, 1)), SolveOptions(max_pieces=2, max_copies=2)) == set()
    assert rules(*divided(1, (0, 1)), SolveOptions(max_copies=1)) == {Rule.MOVES}
    assert rules(*divided(1, (0, 1, 2)), SolveOptions(max_copies=2)) == {Rule.MOVES}
    for copies in ((0, 2), (0, -1)):
        assert rules(*divided(1, copies), SolveOptions(max_copies=2)) == {Rule.MOVES}
    assert rules(*divided(1, (1,)), SolveOptions(max_copies=2)) == {Rule.MOVES, Rule.PLACED}


def test_relays_are_allowed_or_not() -> None:
    network = chain([conv(4), conv(2)], (2, 8, 8))
    solution = Solution(
        (
            Placement(0, LayerPart(0, "conv0"), (0, 4)),
            Placement(1, LayerPart(0, "conv1"), (0, 2)),
            Placement(2, Relay(0, "conv0"), (0, 4)),
        ),
        (Route(0, 0, 2), Route(2, 0, 1)),
        (HostEntry(0, "input", 0),),
        (Monitor(1, 0, "conv1", (0, 2)),),
    )
    assert rules(network, solution, SolveOptions()) == set()
    assert rules(network, solution, SolveOptions(relays=False)) == {Rule.MOVES}
