"""Which kinds of fault simulation alone finds, without looking at a field."""

from __future__ import annotations

from tests.emit.faults import IN_NETWORK, ONLY_IN_CONFIG
from tests.equivalence.fault_coverage import coverage

# Nothing that is computed depends on these: whether spikes are shown, whether a sensor that is not
# simulated is connected, and bits that only say what the tensors say already.
UNSEEN = {"monitor", "sensor", "sensor monitor"}
# A single weight or start value need not matter to a given input.
SOMETIMES = {"one weight", "one initial value", "killed state", "a kill bit"}


def test_faults_show_in_spikes() -> None:
    seeds = 2
    found = coverage(seeds, (8,))
    assert set(found) == {*IN_NETWORK, *ONLY_IN_CONFIG}
    always = {name for name, kinds in found.items() if seeds in (kinds["steps"][0], kinds["spikes"][0])}
    assert always | SOMETIMES == set(found) - UNSEEN
    # What is injected into the sensor stage shows only where the sensor's own events pass it.
    for name in ("mirror", "swap", "gate", "merge", "origin"):
        assert (found[name]["steps"], found[name]["spikes"]) == ([0], [seeds])
