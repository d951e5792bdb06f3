"""What is known without a search: prices that exclude, placements that lack a layer, bounds of edits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest

import mapper
from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.question import Question
from mapper.reasons import Conflict, DividedConflict, FeasibilityReport
from mapper.repairs.bounds import Bounds
from mapper.repairs.search import largest, roundest, smallest
from mapper.solver.budget import Budget
from mapper.solver.divided.prices import Asked, Form, Load, Prices, Sent, load_of
from mapper.solver.divided.run import divisible, is_divided_placeable
from mapper.solver.divided.tables import Tables
from mapper.solver.exchange import Exchange
from tests.builders import chain, conv
from tests.property.divided_instances import random_divided_instance
from tests.property.question_instances import random_question_instance
from tests.property.test_why_not import random_case

INSTANCES = int(os.environ.get("MAPPER_INSTANCES", "240"))


def loads(question: Question) -> Iterator[tuple[bool, tuple[Load, ...]]]:
    """Per setting of the sensor stage: whether it has a placement, and its loads by cores and in full."""
    for problem in map(question.with_offers, question.problems):
        if divisible(problem) and problem.options.divides:
            tables = Tables(problem)
            table = tables.piece_table()
            both = tuple(load_of(tables, table, of_cores=cores) for cores in (True, False))
            yield bool(is_divided_placeable(problem, Budget(question.resolved))), both


@pytest.mark.no_cover
def test_prices_exclude_only_what_has_no_placement() -> None:
    """Random prices, and those that are learned, of random questions with all moves."""
    excluded = {"by cores": 0, "by destinations": 0, "learned": 0}
    for seed in range(INSTANCES):
        draw = np.random.default_rng(seed)
        question = Question(*(random_question_instance(seed) if seed % 2 else random_divided_instance(seed)))
        for is_placeable, (of_cores, whole) in loads(question):
            prices = Prices({tuple(map(int, draw.integers(0, 13, len(whole.rooms)))): None for _ in range(9)})
            by_cores, by_all = prices.exclude(of_cores), prices.exclude(whole)
            assert by_all >= by_cores, seed
            learned = Prices()
            found = learned.learn(whole)
            assert learned.exclude(whole) or not found, seed
            assert not (is_placeable and (by_all or found)), seed
            excluded["by cores"] += by_cores
            excluded["by destinations"] += by_all and not by_cores
            excluded["learned"] += found
    assert min(excluded.values()) > INSTANCES // 60, excluded


def dearest(sizes: tuple[int, ...], features: int, prices: tuple[int, ...], free: int, extra: int) -> int:
    """The cheapest cover, by trying all numbers of pieces."""
    counts = [range(-(-features // size) + 1 if size else 1) for size in sizes]
    return min(
        sum(n * price for n, price in zip(pieces, prices, strict=True)) + extra * max(0, sum(pieces) - free)
        for pieces in product(*counts)
        if sum(n * size for n, size in zip(pieces, sizes, strict=True)) >= features
    )


def test_the_cheapest_cover_is_that_of_enumeration() -> None:
    draw = np.random.default_rng(5)
    for _ in range(300):
        sizes = tuple(int(n) for n in draw.choice([0, 1, 2, 3, 4, 6, 8], 3))
        prices = tuple(int(n) for n in draw.integers(1, 8, 3))
        features, free, extra = (int(draw.integers(low, high)) for low, high in ((1, 13), (1, 4), (0, 6)))
        if not any(sizes):
            continue
        # A relay, or half of a copy, on the fourth class costs `extra`; of the fifth, which holds nothing, as
        # many cores as are to be paid.
        by_copy = bool(draw.integers(2))
        copy = Asked(1, False, (Form((0, 0, 0, 1, 0), ()),)) if by_copy else None
        sent = Sent(free, 0, () if by_copy else ((3, 1),), copy, 2)
        asked = Asked(features, False, (Form((*sizes, 0, 0), (0,)),))
        cost = dearest(sizes, features, prices, free, extra)
        known = Prices({(*prices, extra * (1 + by_copy), 1): None})
        assert known.exclude(Load((0, 0, 0, 0, cost - 1), {asked: 1}, ((sent, 1),)))
        assert not known.exclude(Load((0, 0, 0, 0, cost), {asked: 1}, ((sent, 1),)))


def test_as_many_further_cores_as_prices_ask() -> None:
    # Three layers of which each takes two of the small cores or one of the large one.
    asked = Asked(8, False, (Form((4, 8), ()),))
    load = Load((2, 1), {asked: 3})
    assert Prices().least_more(load, 0, 9) == 2
    assert Prices().least_more(load, 1, 9) == 1
    assert not Prices().exclude(replace(load, rooms=(4, 1)))


@pytest.mark.parametrize("first", range(12))
def test_the_smallest_number_that_works(first: int) -> None:
    tried: list[int] = []

    def works(number: int) -> bool:
        tried.append(number)
        return number >= first

    assert smallest(2, 9, works) == (max(first, 2) if first <= 9 else None)
    assert len(tried) == len(set(tried)) <= (6 if first <= 9 else 3)


def answers(seed: int) -> Iterator[tuple[NormalNetwork, ChipSpec, SolveOptions]]:
    """Small networks with all moves, some with requests."""
    network, chip, options = random_case(seed, fan_out=2 - seed % 2, larger=4 * (seed % 3 == 1))
    readout = network.layers[-1].name if seed % 5 == 0 and chip.readout else None
    options = replace(options, max_pieces=None if seed % 3 else 2, relays=True, max_copies=None)
    yield network, chip, replace(options, repairs=0, readout=readout)


@pytest.mark.no_cover
def test_conflicts_are_those_of_the_search_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def conflicts() -> list[tuple[Conflict | None, DividedConflict | None]]:
        reports = [
            mapper.check(network, chip, options=options).report
            for seed in range(INSTANCES // 2)
            for network, chip, options in answers(seed)
        ]
        reports += [mapper.check(network, chip, repairs=0).report for network, chip in misfits()]
        return [(report.conflict, report.divided) for report in reports if report is not None]

    shown = conflicts()
    assert sum(divided is not None for _, divided in shown) > INSTANCES // 10
    monkeypatch.setattr(Prices, "exclude", lambda *_: False)
    monkeypatch.setattr(Exchange, "shows", lambda *_: False)
    monkeypatch.setattr(Exchange, "shows_by_way", lambda *_: False)
    assert shown == conflicts()


def misfits() -> Iterator[tuple[NormalNetwork, ChipSpec]]:
    """Chains of layers of which some are too large for a Speck 2f, or too many."""
    for seed in range(INSTANCES // 20):
        draw = np.random.default_rng(seed + 77)
        count = int(draw.integers(3, 11))
        kernels = draw.choice([3, 3, 5], count)
        features = draw.choice([8, 16, 24, 32, 64], count)
        layers = [
            conv(int(n), int(k), padding=(int(k) // 2,) * 2) for n, k in zip(features, kernels, strict=True)
        ]
        pools = [2 if n == count // 2 and draw.integers(2) else 1 for n in range(count)]
        if seed % 3 == 0:
            # A linear layer: its kernel is the map, and follows it.
            pools[-1] = 4
            layers.append(conv(int(draw.choice([10, 64])), 4 if 2 in pools else 8))
        yield chain(layers, (2, 32, 32), pools + [1] * (seed % 3 == 0)), load("speck2f")
    parts = [conv(n, padding=(1, 1)) for n in (32, 64, 128)]
    # Repairs make the kernel of the first linear layer smaller.
    yield chain([*parts, conv(512, 8), conv(10, 1)], (2, 32, 32), (1, 2, 2, 1)), load("speck2f")
    base = chain([conv(16, padding=(1, 1)), *[conv(32, padding=(1, 1))] * 9], (2, 32, 32))
    yield base, load("speck2f", ["routing.fan_out=1"])
    # The third layer reads the first one, as the second does: siblings, and destinations for two.
    yield (
        base.replacing(edges=(*base.edges[:2], replace(base.edges[2], source="conv0"), *base.edges[3:])),
        load("speck2f"),
    )


def reports(repairs: int) -> list[FeasibilityReport]:
    found = (mapper.check(network, chip, repairs=repairs).report for network, chip in misfits())
    return [report for report in found if report is not None]


@pytest.mark.no_cover
def test_repairs_are_those_of_questions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    few, every = reports(3), reports(40)
    assert len(few) > INSTANCES // 64
    assert any(len({repair.kind for repair in report.repairs}) < len(report.repairs) for report in every)
    # No more are sought than are wanted, and these are the best of all.
    assert [report.repairs for report in few] == [report.repairs[:3] for report in every]
    assert [report.repairs_missing for report in few] == [report.repairs_missing for report in every]
    monkeypatch.setattr(Prices, "exclude", lambda *_: False)
    monkeypatch.setattr(Bounds, "exclude", lambda *_: False)
    monkeypatch.setattr(Bounds, "exclude_kind", lambda *_: False)
    monkeypatch.setattr(Bounds, "further_cores", lambda *_: 0)
    assert [report.repairs for report in reports(40)] == [report.repairs for report in every]


@pytest.mark.parametrize(
    ("fitting", "most"), [({4, 5, 6, 8}, 15), ({2, 4}, 7), ({32, 64, 96}, 127), ({1}, 9)]
)
def test_sizes_that_can_be_halved_are_tried_first(fitting: set[int], most: int) -> None:
    """What fits is not all that is smaller: pools leave rows over."""
    assert largest(1, most, lambda size: size in fitting, middle_of=roundest) == max(fitting)


def test_where_all_smaller_ones_fit_the_largest_is_found() -> None:
    for bound in range(1, 70):
        assert largest(1, 69, lambda size, bound=bound: size <= bound, middle_of=roundest) == bound  # type: ignore[misc]
    for low, high in combinations(range(1, 40), 2):
        assert roundest(low, high) == max(range(low, high + 1), key=lambda n: n & -n)
