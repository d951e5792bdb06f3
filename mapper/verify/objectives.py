"""The stages of the objective: every value computed anew from the solution."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from mapper.normal_form import NormalNetwork
from mapper.references import layer_key, natural_key
from mapper.rules import Rule
from mapper.solution import Objective
from mapper.verify.case import Body, Case, Violation
from mapper.verify.layers import memories, operations

# What a stage says that a limit stopped before it had a value.
_STOPPED = ("unknown", "a limit came first")
# Digits are bounded, so that no text can take long to read.
_FRACTION = re.compile(r"(-?[0-9]{1,400})(?:/([0-9]{1,400}))?")


def check_objective(case: Case) -> Iterator[Violation]:
    """Check `Rule.OBJECTIVE`."""
    values = {name: (value, is_least) for name, value, is_least in _stages(case)}
    names = [stage.name[:40] for stage in case.solution.objectives]
    if names != [name for name in values if name in names]:
        problem = f"stages {names}: allowed are some of {list(values)}, once each, in this order"
        yield Violation(Rule.OBJECTIVE, "objectives", problem)
    for stage in case.solution.objectives:
        if stage.name in values and (stage.value, stage.bound) != _STOPPED:
            for problem in _stage_problems(stage, *values[stage.name]):
                yield Violation(Rule.OBJECTIVE, f"objective {stage.name}", problem)


def _stage_problems(stage: Objective, value: int | Fraction, is_least: bool) -> Iterator[str]:
    written = value if isinstance(value, int) else str(value)
    if stage.value != written:
        yield f"is {written}, not {str(stage.value)[:40]}"
    bound = _read(stage.bound, of=type(value))
    if bound is None or bound < 0:
        yield f"{str(stage.bound)[:40]} is no bound"
    elif bound > value if is_least else bound < value:
        yield f"a bound of {str(stage.bound)[:40]} is on the wrong side of {written}"


def _read(text: int | str, of: type) -> Fraction | None:
    """A number as stages of this type write it: integers as such, fractions as text in lowest terms."""
    if isinstance(text, int):
        return Fraction(text) if of is int else None
    match = _FRACTION.fullmatch(text)
    if of is int or match is None or int(match[2] or 1) == 0:
        return None
    number = Fraction(int(match[1]), int(match[2] or 1))
    return number if str(number) == text else None


def _stages(case: Case) -> Iterator[tuple[str, int | Fraction, bool]]:
    """(name, value, whether less is better) of all stages that these options can have, in order."""
    options, cores = case.options, [body.core for body in case.bodies]
    yield "cores", len(cores), True
    if options.objective == "headroom":
        yield "headroom", min(map(_headroom, case.bodies), default=Fraction(1)), False
    elif options.objective == "balance":
        yield _largest_load(case)
    elif options.objective == "index":
        yield "layers_on_own_core", _on_own_cores(case), False
    if options.keep:
        open_to_all = {*range(len(case.chip.cores))} - {
            *options.forbidden_cores,
            *dict(options.pins).values(),
        }
        standing = {(key, body.placement.core) for body, _, key in case.parts}
        for n, network in enumerate(case.networks):
            for origin in network.origins:
                whole = (0, network.by_name[origin.layer].output_shape.features)
                holders = (n, origin.layer)
                on = {
                    body.placement.core
                    for body, part, _ in case.parts
                    if (part.network, part.layer) == holders and body.placement.features == whole
                }
                standing |= {(layer_key(case.networks, n, origin.name), core) for core in on}
        stay = [(str(name), core) for name, core in options.keep if core in open_to_all]
        yield "layers_kept", sum(pair in standing for pair in stay), False
    if options.traffic:
        fed = [
            body.spikes_per_second
            for body, part, _ in case.parts
            if body.core.parallel and _is_fed(case.networks[part.network], part.layer)
        ]
        yield "spikes_on_parallel_cores", sum(fed), False
    yield (
        "capacity_bits",
        sum(8 * core.kernel_words + 16 * (core.neuron_words + core.bias_words) for core in cores),
        True,
    )


def _is_fed(network: NormalNetwork, layer: str) -> bool:
    """Whether a layer reads what an input sends, itself or through a core that holds no given layer."""
    held = {origin.layer for origin in network.origins} or network.by_name.keys()
    return any(
        edge.source not in network.by_name or (edge.source not in held and _is_fed(network, edge.source))
        for edge in network.incoming[layer]
    )


def _on_own_cores(case: Case) -> int:
    """Layers number n that core n holds whole; the numbers of a network go on where the one before ends."""
    names = [(n, name) for n, net in enumerate(case.given) for name in sorted(net.by_name, key=natural_key)]
    number = {pair: n for n, pair in enumerate(names)}
    return sum(
        body.placement.core == number.get((part.network, part.layer))
        and body.features == case.layer(part).output_shape.features
        for body, part, _ in case.parts
    )


def _headroom(body: Body) -> Fraction:
    """Least free share over the memories that the core has."""
    shares = (Fraction(have - need, have) for need, have in memories(body) if have)
    return min(shares, default=Fraction(1))


def _largest_load(case: Case) -> tuple[str, Fraction, bool]:
    """As a share of the bandwidth where every core that may be used states one."""
    forbidden = case.options.forbidden_cores
    usable = (core for n, core in enumerate(case.chip.cores) if n not in forbidden)
    is_share = all(core.synops_per_second is not None for core in usable)
    loads = [
        Fraction(operations(body), (body.core.synops_per_second or 1) if is_share else 1)
        for body in case.bodies
    ]
    name = "largest_load_share" if is_share else "largest_load_synops_per_second"
    return name, max(loads, default=Fraction(0)), True
