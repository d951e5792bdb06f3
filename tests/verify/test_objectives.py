"""Values of the objective: computed by hand, as the solver states them, and changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import mapper
from hwspec.catalog import load
from mapper.network import Network
from mapper.options import SolveOptions, resolve
from mapper.rules import Rule
from mapper.solution import HostEntry, LayerPart, Monitor, Objective, Placement, Relay, Route, Solution
from mapper.verify import verify
from tests.builders import chain, conv

# One feature of eight taps on a map of 8x8, relayed: 32 kernel words of 64, 64 neuron words of 96; the relay
# takes 1 of 64 and 64 of 128; the reader 4 of 64 and 128 of 512, 2 bias words of 3.
NETWORK = chain([conv(1), conv(2, 1, has_bias=True)], (2, 8, 8))
CHIP = (
    "-core[3..8]",
    "core[0].kernel_words=64", "core[0].neuron_words=96", "core[0].bias_words=0", "core[0].synops_per_second=3600",
    "core[1].kernel_words=64", "core[1].neuron_words=128", "core[1].bias_words=0", "core[1].synops_per_second=100",
    "core[2].kernel_words=64", "core[2].neuron_words=512", "core[2].bias_words=3", "core[2].synops_per_second=400",
    "core[0].parallel=true", "core[1].parallel=true", "core[2].parallel=false",
)  # fmt: skip
TRAFFIC = (("input", 100), ("conv0", 30))
BITS = 8 * 3 * 64 + 16 * (96 + 128 + 512) + 16 * 3


def placed(*objectives: Objective) -> Solution:
    return Solution(
        (
            Placement(0, LayerPart(0, "conv0"), (0, 1)),
            Placement(1, Relay(0, "conv0"), (0, 1)),
            Placement(2, LayerPart(0, "conv1"), (0, 2)),
        ),
        (Route(0, 0, 1), Route(1, 0, 2)),
        (HostEntry(0, "input", 0),),
        (Monitor(2, 0, "conv1", (0, 2)),),
        objectives=objectives,
    )


def rules(*objectives: Objective, overrides: tuple[str, ...] = (), **wishes: Any) -> set[Rule]:
    chip = load("speck2f", [*CHIP, *overrides])
    options = resolve(SolveOptions(**wishes), NETWORK, chip)
    return {entry.rule for entry in verify((NETWORK,), chip, options, placed(*objectives))}


BALANCE: dict[str, Any] = {"objective": "balance", "traffic": TRAFFIC}
UNSTATED = ("core[1].synops_per_second=none",)
KEEP = (("conv0", 0), ("conv1", 0), ("conv1", 2))
# Conv0: 100 spikes/s x 1 feature x 9 taps = 900 of 3600; the relay 30 of 100; conv1 30 x 2 = 60 of 400.
STAGES: list[tuple[Objective, dict[str, Any], bool]] = [
    (Objective("cores", 3, 3), {}, True),
    (Objective("capacity_bits", BITS, BITS), {}, True),
    (Objective("headroom", "1/3", "1/3"), {"objective": "headroom"}, False),
    (Objective("largest_load_share", "3/10", "3/10"), BALANCE, True),
    (Objective("largest_load_synops_per_second", "900", "900"), {**BALANCE, "overrides": UNSTATED}, True),
    (Objective("layers_on_own_core", 1, 1), {"objective": "index"}, False),
    (Objective("layers_kept", 2, 2), {"keep": KEEP}, False),
    (Objective("layers_kept", 1, 1), {"keep": KEEP, "pins": (("conv0", 0),)}, False),
    (Objective("spikes_on_parallel_cores", 100, 100), {"traffic": TRAFFIC}, False),
    (
        Objective("spikes_on_parallel_cores", 100, 100),
        {"traffic": TRAFFIC, "overrides": ("core[2].parallel=true",)},
        False,
    ),
]

MALFORMED: tuple[Any, ...] = (
    "unknown",
    "a limit came first",
    "",
    "nan",
    "1e9",
    "2/6",
    "1/0",
    "inf",
    -1,
    "-1",
)


@pytest.mark.parametrize(
    ("stage", "wishes", "is_least"), STAGES, ids=lambda value: getattr(value, "name", "")
)
def test_a_value_is_the_placements_own(stage: Objective, wishes: dict[str, Any], is_least: bool) -> None:
    assert rules(stage, **wishes) == set()
    is_text = isinstance(stage.value, str)
    less, more = ("1/100", "1000000") if is_text else (0, 10**9)
    loose, wrong = (less, more) if is_least else (more, less)
    assert rules(replace(stage, bound=loose), **wishes) == set()
    assert rules(replace(stage, bound=wrong), **wishes) == {Rule.OBJECTIVE}
    for value in (less, more, *MALFORMED):
        assert rules(replace(stage, value=value), **wishes) == {Rule.OBJECTIVE}
    for bound in (*MALFORMED, "9" * 5000):
        assert rules(replace(stage, bound=bound), **wishes) == {Rule.OBJECTIVE}
    # A number as text, or text as a number.
    other: Any = int if is_text else str
    if not is_text or "/" not in str(stage.value):
        assert rules(replace(stage, value=other(stage.value)), **wishes) == {Rule.OBJECTIVE}
        assert rules(replace(stage, bound=other(stage.bound)), **wishes) == {Rule.OBJECTIVE}
    assert rules(replace(stage, name="merit"), **wishes) == {Rule.OBJECTIVE}
    assert rules(stage, stage, **wishes) == {Rule.OBJECTIVE}
    assert rules(Objective(stage.name, "unknown", "a limit came first"), **wishes) == set()


def test_stages_stand_in_the_order_of_the_objective() -> None:
    cores, bits = STAGES[0][0], STAGES[1][0]
    share, own, kept, spikes = STAGES[3][0], STAGES[5][0], STAGES[6][0], STAGES[8][0]
    wishes: dict[str, Any] = {**BALANCE, "keep": KEEP}
    assert rules(cores, share, kept, spikes, bits, **wishes) == set()
    assert rules(cores, share, **wishes) == set()
    index: dict[str, Any] = {"objective": "index", "traffic": TRAFFIC, "keep": KEEP}
    assert rules(cores, own, kept, spikes, bits, **index) == set()
    assert rules(cores, kept, own, **index) == {Rule.OBJECTIVE}
    assert rules(bits, cores, **wishes) == {Rule.OBJECTIVE}
    assert rules(share, cores, **wishes) == {Rule.OBJECTIVE}


@pytest.mark.parametrize(
    ("stage", "wishes"),
    [
        (Objective("headroom", "1/3", "1/3"), {}),
        (Objective("largest_load_share", "3/10", "3/10"), {**BALANCE, "overrides": UNSTATED}),
        (Objective("largest_load_synops_per_second", "900", "900"), BALANCE),
        (Objective("layers_on_own_core", 1, 1), {}),
        (Objective("layers_kept", 0, 0), {}),
        (Objective("spikes_on_parallel_cores", 0, 0), {}),
    ],
)
def test_a_stage_that_nobody_asked_for_is_a_violation(stage: Objective, wishes: dict[str, Any]) -> None:
    assert rules(stage, **wishes) == {Rule.OBJECTIVE}


def test_cores_that_are_not_parallel_have_no_busy_spikes() -> None:
    none = Objective("spikes_on_parallel_cores", 0, 0)
    assert rules(none, traffic=TRAFFIC, overrides=("core[0].parallel=false",)) == set()
    assert rules(none, traffic=TRAFFIC) == {Rule.OBJECTIVE}


def test_forbidden_cores_have_no_say_in_shares_and_in_what_is_kept() -> None:
    fourth = ("+core[3..3]=core[0]", "core[3].synops_per_second=none")
    wishes: dict[str, Any] = {"forbidden_cores": (3,), "overrides": fourth}
    assert rules(Objective("largest_load_share", "3/10", "3/10"), **BALANCE, **wishes) == set()
    keep = (("conv0", 0), ("conv1", 3))
    assert rules(Objective("layers_kept", 1, 1), keep=keep, **wishes) == set()


def large() -> Network:
    """A network of which one layer must be cut."""
    return chain([conv(17, has_bias=True), conv(4)], (2, 64, 64), (2,))


@pytest.mark.parametrize(
    "wishes", [{}, {"objective": "headroom"}, {"objective": "balance"}, {"objective": "index"}]
)
@pytest.mark.parametrize("network", [chain([conv(4), conv(8)], pools=(2,)), large()], ids=["whole", "cut"])
def test_what_the_solver_states_is_right(network: Network, wishes: dict[str, Any]) -> None:
    traffic = (("input", 1000), ("conv0", 700))
    result = mapper.solve(network, "speck2f", traffic=traffic, keep=(("conv0", 0), ("conv1", 3)), **wishes)
    solution = result.require()
    names = [stage.name for stage in solution.objectives]
    assert {"cores", "layers_kept", "spikes_on_parallel_cores", "capacity_bits"} <= set(names)
    assert len(names) == (5 if wishes else 4)
    assert verify(result.networks, result.chip, result.options, solution) == ()
