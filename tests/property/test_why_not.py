"""Conflicts, corrections and repairs of random infeasible instances, judged by enumeration."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np
import pytest

import mapper
from hwspec.schema import ChipSpec
from mapper.network import Edge
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution
from mapper.options import SolveOptions
from mapper.question import Question
from mapper.repairs.search import repaired
from mapper.result import FeasibilityReport, Requirement, Status
from tests.builders import UNDIVIDED, chain, conv, pool, tiny_chip

# Infeasible instances to judge; the full number is in the README.
INSTANCES = int(os.environ.get("MAPPER_INSTANCES", "120"))


def random_case(seed: int) -> tuple[NormalNetwork, ChipSpec, SolveOptions]:
    """A small chain, sometimes with a second edge, on a chip of two to five cores."""
    draw = np.random.default_rng(seed)
    cores = [
        tuple(int(2 ** draw.integers(low, high)) for low, high in ((5, 11), (6, 13), (1, 5)))
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
        return random_case(seed + 1_000_003)
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
    return network, tiny_chip(*cores), options  # type: ignore[arg-type]  # triples by construction


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


def broken(network: NormalNetwork, layer: str, chip: ChipSpec, core: int) -> set[str]:
    """Codes of the rules that a layer breaks on a core, from the raw formulas."""
    entry, spec = network.by_name[layer], chip.cores[core]
    operation = entry.operation
    assert isinstance(operation, Convolution)
    f, height, width = entry.output_shape
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


def check_conflict(network: NormalNetwork, chip: ChipSpec, report: FeasibilityReport, where: object) -> None:
    assert report.conflict is not None, where
    assert report.conflict.irreducible, where
    parts = report.conflict.requirements
    assert not possible(network, chip, parts), where
    for part in parts:
        rest = [other for other in parts if other is not part]
        assert possible(network, chip, rest), (where, part)


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


@pytest.mark.parametrize("block", range(8))
def test_conflicts_corrections_and_repairs(block: int) -> None:
    mended = 0
    for seed, result, network in infeasible_cases(block, 8):
        report, placed = result.report, result.networks[0]
        assert report is not None
        assert result.status is Status.INFEASIBLE
        check_conflict(placed, result.chip, report, seed)
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


def test_the_oracle_tells_requirements_apart() -> None:
    network, chip = chain([conv(4), conv(4)]), tiny_chip((1024, 4096, 4), (1024, 4096, 4))
    options = SolveOptions(**UNDIVIDED)
    parts = everything(network, chip, options)
    assert possible(network, chip, parts)
    banned = everything(network, chip, replace(options, forbidden_cores=(0,)))
    assert not possible(network, chip, banned)
    assert possible(network, chip, [part for part in banned if part.kind != "cores"])
