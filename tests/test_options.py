"""Options: every wrong value is one finding, whatever its type, and what can be read is made regular."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mapper
from hwspec.catalog import load
from mapper.errors import OptionsError
from mapper.options import SolveOptions, moves_of, resolve
from tests.builders import chain, conv

CHIP = load("speck2f")
NETWORK = chain([conv(4), conv(4)])

WRONG: list[tuple[str, Any, str]] = [
    ("workers", True, r"workers: .*got True; allowed: 1\.\.1024"),
    ("workers", 0, "workers"),
    ("workers", "2", r"workers: .*got .2."),
    ("workers", None, r"workers: .*got None"),
    ("seed", -1, "seed"),
    ("seed", float("nan"), r"seed: .*got nan"),
    ("seed", 2**31, "seed"),
    ("repairs", 101, r"repairs: .*0\.\.100"),
    ("repairs", 1.0, "repairs"),
    ("max_pieces", 0, r"max_pieces: .*got 0; allowed: 1\.\."),
    ("max_pieces", False, "max_pieces"),
    ("max_pieces", 2**31, "max_pieces"),
    ("max_copies", 0, r"max_copies: .*got 0; allowed: 1\.\.2147483647"),
    ("time_limit_s", float("nan"), r"time_limit_s: .*got nan; allowed: > 0"),
    ("time_limit_s", 0, "time_limit_s"),
    ("time_limit_s", float("inf"), "time_limit_s"),
    ("time_limit_s", True, "time_limit_s"),
    ("work_limit", "1", r"work_limit: .*got .1."),
    ("work_limit", 10**400, r"work_limit: .*got 1000"),
    ("work_limit", 10**5000, r"work_limit: .*got int"),
    ("objective", "speed", r"objective: .*got .speed.; allowed: capacity, headroom, balance, index"),
    ("objective", ["capacity"], "objective"),
    ("objective", np.array(["capacity", "balance"]), "objective"),
    ("objective", "balance", "objective balance: needs the traffic"),
    ("pooled_outputs", None, r"pooled_outputs: .*host, relay"),
    ("relays", 1, "relays: wants True or False .got 1."),
    ("joint", "no", "joint: wants True or False .got .no.."),
    ("fusion", None, "fusion: wants True or False .got None."),
    ("rewrites", 0, "rewrites: wants True or False .got 0."),
    ("readout_monitor", "yes", "readout_monitor"),
    ("forbidden_cores", 5, r"forbidden_cores: wants a list or tuple of core ids .got 5."),
    ("forbidden_cores", "5", r"forbidden_cores: wants a list"),
    ("forbidden_cores", (9,), r"forbidden_cores: speck2f has no such core .got 9; allowed: 0\.\.8."),
    ("forbidden_cores", (True,), r"forbidden_cores: .*got True"),
    ("forbidden_cores", (-1,), r"forbidden_cores: .*got -1"),
    ("pins", {"conv0": "3"}, r"pins conv0=.3.: speck2f has no such core .got .3.; allowed: 0\.\.8."),
    ("pins", {"conv0": True}, r"pins conv0=True: .*got True"),
    ("pins", {"conv9": 1}, "pins: layer conv9: chain has no layer of that name"),
    ("pins", {True: 1}, "pins: layer: neither a name nor an index .got True."),
    ("pins", (("conv0",),), r"pins: wants \(layer, core\) pairs .got \(.conv0.,\)."),
    ("pins", (("conv0", 3, 4),), r"pins: wants \(layer, core\) pairs"),
    ("pins", 3, r"pins: wants a list or tuple of \(layer, core\) pairs"),
    ("pins", np.array(3), r"pins: wants a list"),
    ("pins", (("conv0", 1), ("#0", 2)), "pins #0=2: layer conv0: the layer is also pinned to core 1"),
    ("pins", (("conv0", 1), (1, 1)), "pins 1=1: layer conv1: the core is also taken by pinned layer conv0"),
    ("pins", {"conv0": 1, "conv1": 1}, "pins conv1=1: the core is also taken by pinned layer conv0"),
    ("monitors", "conv0", r"monitors: wants a list or tuple of layers .got .conv0.."),
    ("monitors", (2,), r"monitors: layer 2: index out of range"),
    ("monitors", 0, "monitors: wants a list"),
    ("readout", "con0", "readout: layer con0: .* Did you mean conv0"),
    ("readout", 1.5, "readout: layer: neither a name nor an index"),
    ("traffic", {"conv0": 1.5}, r"traffic: signal conv0: a whole number of spikes per second .got 1\.5"),
    ("traffic", {"conv0": -1}, "traffic: signal conv0"),
    ("traffic", {"conv0": 2**50 + 1}, "traffic: signal conv0"),
    ("traffic", {"conv0": True}, "traffic: signal conv0"),
    ("traffic", {"cnv0": 1}, "traffic: signal cnv0: .* Did you mean conv0"),
    ("traffic", (("conv0", 1), (0, 2)), "has two rates, 1 and 2"),
    ("traffic", 7, "traffic: wants a list"),
    ("keep", (("conv0", -1),), "keep conv0: no chip has such a core .got -1"),
    ("keep", (("conv0", "1"),), r"keep conv0: .*got .1."),
    ("keep", ((7, 1),), "keep: layer 7: index out of range"),
]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    WRONG,
    ids=lambda value: repr(value)[:40] if not isinstance(value, int) else "",
)
def test_a_wrong_value_is_one_finding(name: str, value: object, message: str) -> None:
    options = replace(SolveOptions(), **{name: value})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(OptionsError, match=message) as caught:
        resolve(options, NETWORK, CHIP)
    assert len(caught.value.findings) == 1
    with pytest.raises(OptionsError, match=message):
        mapper.solve(NETWORK, CHIP, **{name: value} if name != "pins" else {"options": options})


def test_everything_wrong_is_told_at_once() -> None:
    words = {"objective": "speed", "repair": "nothing"}
    wrong: dict[str, Any] = {name: value for name, value, _ in WRONG} | words
    with pytest.raises(OptionsError) as caught:
        resolve(SolveOptions(**wrong), NETWORK, CHIP)
    assert len(caught.value.findings) == len(wrong) == len(fields(SolveOptions))


def test_a_pin_to_a_forbidden_core() -> None:
    with pytest.raises(OptionsError, match="pins conv0=1: the core is also forbidden"):
        resolve(SolveOptions(pins=(("conv0", 1),), forbidden_cores=(1,)), NETWORK, CHIP)


def test_what_can_be_read_is_made_regular() -> None:
    given: dict[str, Any] = {
        "pins": {"#1": np.int64(3), "conv0": 2},
        "forbidden_cores": [np.int32(5), 4, 5],
        "monitors": ["conv1", -1],
        "readout": 0,
        "workers": np.int64(2),
        "max_pieces": np.int8(3),
        "time_limit_s": 1,
        "traffic": {0: 7, "input": np.uint8(9)},
        "keep": [("conv1", 99), ("gone", 1), (0, 2), ("conv1", 3), ("conv1", 2), ["conv1", 3]],
    }
    resolved = resolve(SolveOptions(**given), NETWORK, CHIP)
    assert resolved == SolveOptions(
        pins=(("conv0", 2), ("conv1", 3)),
        forbidden_cores=(4, 5),
        monitors=("conv1",),
        readout="conv0",
        workers=2,
        max_pieces=3,
        time_limit_s=1,
        traffic=(("conv0", 7), ("input", 9)),
        keep=(("conv0", 2), ("conv1", 2), ("conv1", 3)),
    )
    assert {type(value) for value in (resolved.workers, resolved.max_pieces, resolved.pins[1][1])} == {int}
    assert resolve(resolved, NETWORK, CHIP) == resolved
    assert resolve(SolveOptions(), (), CHIP) == SolveOptions()


anything = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3),
        st.sampled_from(["conv0", "#0", "conv1", "input", 1 << 99, float, np.array(1), np.array([1, 2])]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=2),
    ),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([field.name for field in fields(SolveOptions)]), anything, max_size=4))
def test_no_value_raises_anything_else(values: dict[str, Any]) -> None:
    try:
        resolved = resolve(SolveOptions(**values), NETWORK, CHIP)
    except OptionsError as error:
        assert all(str(finding) for finding in error.findings)  # noqa: PT017  # every other error fails the test
    else:
        assert resolve(resolved, NETWORK, CHIP) == resolved
        assert isinstance(hash(resolved), int)


def test_moves() -> None:
    assert moves_of(SolveOptions()) == ("pieces", "relays", "copies")
    assert moves_of(SolveOptions(max_pieces=1, max_copies=1)) == ("relays",)
    whole = SolveOptions(max_pieces=1, relays=False, max_copies=1)
    assert moves_of(whole) == ()
    assert not whole.divides
    assert replace(whole, max_pieces=2).divides
