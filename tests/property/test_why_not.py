"""Conflicts, corrections and repairs of random infeasible instances, judged by enumeration."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import TypeAlias

import numpy as np
import pytest

import mapper
from hwspec.schema import ChipSpec
from mapper.network import Edge
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution
from mapper.options import SolveOptions
from mapper.question import Question
from mapper.reasons import Conflict, FeasibilityReport, Requirement, Status
from mapper.repairs.search import repaired
from tests.builders import UNDIVIDED, chain, conv, pool, tiny_chip

# Infeasible instances to judge; the full number is in the README.
INSTANCES = int(os.environ.get("MAPPER_INSTANCES", "120"))


def random_case(seed: int, fan_out: int = 2, larger: int = 0) -> tuple[NormalNetwork, ChipSpec, SolveOptions]:
    """A small chain, sometimes with a second edge, on a chip of two to five cores.

    Memories are 2**larger times as large.
    """
    draw = np.random.default_rng(seed)
    cores = [
        tuple(int(2 ** (draw.integers(low, high) + larger)) for low, high in ((5, 11), (6, 13), (1, 5)))
        for _ in range(int(draw.integers(2, 6)))
    ]
    cores[-1] = cores[0]
    count = int(draw.integers(1, 7))
    layers = [
        conv(
            int(draw.integers(1, 20)),
            int(draw.choice([1, 3, 5])),
            has_bias=bool(draw.integers(0, 2)),
            stride=(int(draw.choice([1, 1, 2, 3])),) * 2,
        )
        for _ in range(count)
    ]
    size = int(draw.choice([16, 17, 33]))
    pools = [int(draw.choice([1, 1, 2, 3])) for _ in range(count)]
    try:
        network = chain(layers, (2, size, size), pools)
    except (mapper.NetworkError, ValueError):
        return random_case(seed + 1_000_003, fan_out, larger)
    if draw.integers(0, 3) == 0:
        network = branched(network, draw)
    pins = tuple({f"conv{draw.integers(count)}": int(draw.integers(len(cores)))}.items())
    forbidden = tuple({int(core) for core in draw.integers(len(cores), size=2)})
    choice = int(draw.integers(0, 4))
    if choice == 3:
        forbidden = tuple(core for core in forbidden if core != pins[0][1])
    options = SolveOptions(
        **UNDIVIDED,
        pins=pins if choice in (1, 3) else (),
        forbidden_cores=forbidden if choice in (2, 3) else (),
        repairs=20,
    )
    overrides = [f"routing.fan_out={fan_out}"]
    return network, tiny_chip(*cores, overrides=overrides), options  # type: ignore[arg-type]  # triples by construction


def branched(network: NormalNetwork, draw: np.random.Generator) -> NormalNetwork:
    """With further edges that leave the first layer, wherever shapes allow it."""
    first = network.layers[0].name
    extra = []
    for layer in network.layers[1:]:
        candidate = Edge(first, layer.name, pool(int(draw.choice([1, 2]))))
        try:
            network.replacing(edges=(*network.edges, candidate))
        except mapper.NetworkError:
            continue
        extra.append(candidate)
    return network.replacing(edges=(*network.edges, *extra))


def power(count: int) -> int:
    return 1 << (count - 1).bit_length()


def broken(
    network: NormalNetwork, layer: str, chip: ChipSpec, core: int, features: int | None = None
) -> set[str]:
    """Codes of the rules that a layer, or a piece of it, breaks on a core, from the raw formulas."""
    entry, spec = network.by_name[layer], chip.cores[core]
    operation = entry.operation
    assert isinstance(operation, Convolution)
    f, height, width = entry.output_shape
    f = f if features is None else features
    c, (ky, kx) = entry.input_shape.features, operation.kernel
    outgoing = [edge for edge in network.edges if edge.source == layer]
    poolings = [edge.pool.size[0] for edge in outgoing if edge.pool]
    return {
        code
        for code, wrong in {
            "M102": max(height, width) > spec.limits.output_height_max,
            "M104": max(ky, kx) > spec.limits.kernel_size_max,
            "M105": ky != kx,
            "M106": any(s not in (1, 2, 4, 8) for s in operation.stride),
            "M107": max(operation.padding) > spec.limits.padding_max,
            "M108": any(p not in (1, 2, 4) for p in poolings),
            "M201": c * power(ky * kx) * power(f) > spec.kernel_words,
            "M202": f * power(height) * power(width) > spec.neuron_words,
            "M203": operation.has_bias and f > spec.bias_words,
            "M401": len(outgoing) > spec.fan_out,
        }.items()
        if wrong
    }


def possible(network: NormalNetwork, chip: ChipSpec, requirements: Collection[Requirement]) -> bool:
    """Whether an assignment keeps these requirements, by trying them all."""
    rules = {(r.layers[0], r.code) for r in requirements if r.kind == "rule"}
    pins = {r.layers[0]: r.cores[0] for r in requirements if r.kind == "pin"}
    forbidden = {r.cores[0] for r in requirements if r.kind == "forbidden"}
    single = {core for r in requirements if r.kind == "cores" for core in r.cores}
    layers = [r.layers[0] for r in requirements if r.kind == "layer"]

    def allowed(layer: str) -> Iterator[int]:
        for core in range(chip.core_count):
            kept = all((layer, code) not in rules for code in broken(network, layer, chip, core))
            if kept and core not in forbidden and pins.get(layer, core) == core:
                yield core

    choices = sorted((list(allowed(layer)) for layer in layers), key=len)

    def place(position: int, taken: frozenset[int]) -> bool:
        if position == len(choices):
            return True
        return any(
            place(position + 1, taken | {core} if core in single else taken)
            for core in choices[position]
            if core not in taken
        )

    return place(0, frozenset())


Judge: TypeAlias = Callable[[NormalNetwork, ChipSpec, Collection[Requirement]], bool]
# Rules about destinations: with pieces, of the signal as a whole.
SENDING = {"M108", "M401"}


def possible_in_pieces(network: NormalNetwork, chip: ChipSpec, requirements: Collection[Requirement]) -> bool:
    """Whether covers by pieces keep these requirements, by trying all from which no piece can be left out."""
    rules = {(r.layers[0], r.code) for r in requirements if r.kind == "rule"}
    pins = {r.layers[0]: r.cores[0] for r in requirements if r.kind == "pin"}
    forbidden = {r.cores[0] for r in requirements if r.kind == "forbidden"}
    single = {core for r in requirements if r.kind == "cores" for core in r.cores}
    layers = [r.layers[0] for r in requirements if r.kind == "layer"]
    assert {r.kind for r in requirements} <= {"layer", "rule", "pin", "forbidden", "cores"}

    def largest(layer: str, core: int) -> int:
        if core in forbidden:
            return 0
        kept = {code for name, code in rules if name == layer} - SENDING
        sizes = range(network.by_name[layer].output_shape.features, 0, -1)
        return next((n for n in sizes if not kept & broken(network, layer, chip, core, n)), 0)

    def covers(layer: str) -> Iterator[tuple[int, ...]]:
        total = network.by_name[layer].output_shape.features
        sizes = [largest(layer, core) for core in range(chip.core_count)]
        if layer in pins:
            if sizes[pins[layer]] == total:
                yield (pins[layer],)
            return
        for count in range(1, total + 1):
            usable = [core for core, size in enumerate(sizes) if size]
            for pick in combinations_with_replacement(usable, count):
                held = sum(sizes[core] for core in pick)
                lean = held >= total > held - min(sizes[core] for core in pick)
                if lean and all(pick.count(core) == 1 for core in single.intersection(pick)):
                    yield pick
            if count * min((size for size in sizes if size), default=total) >= total:
                return

    def reaches(choice: dict[str, tuple[int, ...]]) -> bool:
        """Whether signals have the pools and, of what is placed, the destinations that are read."""
        for signal in {name for name, code in rules if code in SENDING}:
            edges = [edge for edge in network.edges if edge.source == signal and edge.target in choice]
            if any(edge.pool and edge.pool.size[0] not in (1, 2, 4) for edge in edges):
                return False
            taken = sum(len(choice[edge.target]) for edge in edges)
            if taken > min((chip.cores[core].fan_out for core in choice.get(signal, ())), default=taken):
                return False
        return True

    def place(position: int, choice: dict[str, tuple[int, ...]]) -> bool:
        if position == len(layers):
            return True
        taken = single.intersection(core for cores in choice.values() for core in cores)
        return any(
            place(position + 1, longer)
            for cover in options[layers[position]]
            if not taken.intersection(cover) and reaches(longer := {**choice, layers[position]: cover})
        )

    options = {layer: list(covers(layer)) for layer in layers}
    return place(0, {})


def everything(network: NormalNetwork, chip: ChipSpec, options: SolveOptions) -> list[Requirement]:
    """All requirements of an instance, each core on its own."""

    def make(kind: str, code: str, layers: tuple[str, ...], cores: tuple[int, ...]) -> Requirement:
        return Requirement(sentence="-", kind=kind, code=code, layers=layers, cores=cores)  # type: ignore[arg-type]  # literal

    names = [layer.name for layer in network.layers]
    codes = {
        (name, code)
        for name in names
        for core in range(chip.core_count)
        for code in broken(network, name, chip, core)
    }
    return [
        *(make("layer", "M301", (name,), ()) for name in names),
        *(make("rule", code, (name,), ()) for name, code in codes),
        *(make("cores", "M302", (), (core,)) for core in range(chip.core_count)),
        *(make("pin", "M501", (str(layer),), (core,)) for layer, core in options.pins),
        *(make("forbidden", "M502", (), (core,)) for core in options.forbidden_cores),
    ]


def check_conflict(
    network: NormalNetwork, chip: ChipSpec, conflict: Conflict | None, where: object, judge: Judge = possible
) -> None:
    assert conflict is not None, where
    assert conflict.irreducible, where
    parts = conflict.requirements
    assert not judge(network, chip, parts), where
    for part in parts:
        rest = [other for other in parts if other is not part]
        assert judge(network, chip, rest), (where, part)


def check_correction(
    network: NormalNetwork, chip: ChipSpec, options: SolveOptions, report: FeasibilityReport, where: object
) -> None:
    assert report.correction is not None, where
    given_up = {
        (r.kind, r.code, r.layers, r.cores if r.kind != "rule" else ())
        for r in report.correction.requirements
    }
    widened = {core for kind, _, _, cores in given_up if kind == "cores" for core in cores}
    left = [
        r
        for r in everything(network, chip, options)
        if (r.kind, r.code, r.layers, r.cores) not in given_up
        and not (r.kind == "cores" and set(r.cores) <= widened)
    ]
    assert possible(network, chip, left), where


def infeasible_cases(block: int, blocks: int) -> Iterator[tuple[int, mapper.Result, NormalNetwork]]:
    """The infeasible instances of one block."""
    wanted, seed = INSTANCES // blocks, block * 10_000_000
    while wanted:
        network, chip, options = random_case(seed)
        seed += 1
        result = mapper.solve(network, chip, options=options)
        fits = possible(result.networks[0], chip, everything(result.networks[0], chip, result.options))
        assert fits == (result.solution is not None), seed
        if not fits:
            wanted -= 1
            yield seed, result, network


def is_possible(question: Question) -> bool:
    """By enumeration, of the form in which destinations do all they can."""
    (network,), chip = question.problems[0].networks, question.chip
    return possible(network, chip, everything(network, chip, question.resolved))


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(8))
def test_conflicts_corrections_and_repairs(block: int) -> None:
    mended = 0
    for seed, result, network in infeasible_cases(block, 8):
        report, placed = result.report, result.networks[0]
        assert report is not None
        assert result.status is Status.INFEASIBLE
        check_conflict(placed, result.chip, report.conflict, seed)
        check_correction(placed, result.chip, result.options, report, seed)
        for repair in report.repairs:
            question = Question((network,), result.chip, result.options)
            assert is_possible(repaired(question, repair)), (seed, repair)
            if repair.kind == "features":
                (size,) = repair.sizes
                assert isinstance(size.after, int)
                assert isinstance(size.before, int)
                if size.after + 1 < size.before:
                    one_more = size.model_copy(update={"after": size.after + 1})
                    wider = repair.model_copy(update={"sizes": (one_more,)})
                    assert not is_possible(repaired(question, wider)), (seed, repair)
        mended += bool(report.repairs)
    assert mended > 0


@pytest.mark.no_cover
def test_conflicts_with_pieces() -> None:
    judged, kinds = 0, set()
    for seed in range(10_000):
        network, chip, options = random_case(seed, fan_out=2 - seed % 2, larger=4 * (seed % 2))
        if len(network.layers) > 4 or max(layer.output_shape.features for layer in network.layers) > 12:
            continue
        options = replace(options, max_pieces=None, repairs=0)
        result = mapper.check(network, chip, options=options)
        if result.report is None or result.report.divided is None:
            continue
        check_conflict(result.networks[0], chip, result.report.divided, seed, possible_in_pieces)
        kinds |= {(r.kind, r.code) for r in result.report.divided.requirements}
        # Many a layer fits nowhere by itself: what counts are layers that compete.
        judged += any(r.kind == "cores" or r.code == "M401" for r in result.report.divided.requirements)
        if judged == INSTANCES // 2:
            break
    assert {kind for kind, _ in kinds} == {"layer", "rule", "cores", "pin", "forbidden"}
    assert {code for _, code in kinds} >= {"M201", "M202", "M203", "M401"}


def test_the_oracle_tells_requirements_apart() -> None:
    network, chip = chain([conv(4), conv(4)]), tiny_chip((1024, 4096, 4), (1024, 4096, 4))
    options = SolveOptions(**UNDIVIDED)
    parts = everything(network, chip, options)
    assert possible(network, chip, parts)
    banned = everything(network, chip, replace(options, forbidden_cores=(0,)))
    assert not possible(network, chip, banned)
    assert possible(network, chip, [part for part in banned if part.kind != "cores"])
