"""The recorders of scripts/, and what comes out when their files are read."""

from __future__ import annotations

import importlib.util
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from mapper.cli.entry import run
from mapper.equivalence.expected import compared, read_expectation
from mapper.errors import UnsupportedLayerError
from mapper.frontends import NirOptions, load_network
from mapper.sim.network import simulate
from tests.frameworks.plans import Plan

__all__ = ["NETWORKS", "TELLING", "hold", "hold_example", "recorder"]

SCRIPTS = Path(__file__).parents[2] / "scripts" / "recorders"
NETWORKS = int(os.environ.get("MAPPER_NETWORKS", "100"))
# Of the networks held, whether their spikes tell anything: one that never fires agrees with any reading.
TELLING: list[bool] = []
_FACTS = {
    "--from": "source",
    "--reset": "reset",
    "--v-min": "v_min",
    "--spike-mode": "spike_mode",
    "--fires-at": "fires_at",
    "--dt": "dt",
}


def recorder(framework: str) -> Any:
    """A recorder as a module."""
    path = SCRIPTS / f"record_{framework}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _options(command: str) -> tuple[NirOptions, Path, Path]:
    """How a command reads, and the files it names."""
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "mapper", "verify"]
    pairs = dict(zip(words[5::2], words[6::2], strict=True))
    expected = Path(pairs.pop("--expect"))
    facts: dict[str, Any] = {_FACTS[option]: value for option, value in pairs.items()}
    for name in ("dt", "v_min"):
        if name in facts and facts[name] not in ("none", "threshold"):
            facts[name] = float(facts[name])
    return NirOptions(**facts), Path(words[4]), expected


def hold(
    script: Any, network: Any, plan: Plan, folder: Path, add: str = "", may_refuse: str | None = None
) -> None:
    """Record a network and hold what is read from its file against it, in every step.

    Parameters
    ----------
    add
        Options that the user of such a network must add.
    may_refuse
        Why a file may be refused: words of the message.
    """
    options, file, expected = _options(script.record(network, plan.frames, folder / "net") + add)
    try:
        read = load_network(file, nir=options)
    except UnsupportedLayerError as error:
        if may_refuse is None or may_refuse not in str(error):
            raise
        return
    expectation = read_expectation(expected, read)
    if not any(spikes.any() for spikes in expectation.outputs.values()):
        # Silence is no evidence for a user, and is equal silence all the same.
        assert not any(spikes.any() for spikes in simulate(read, expectation.inputs).outputs.values())
        TELLING.append(False)
        return
    assert "all" in compared(read, expectation)
    TELLING.append(all(len(np.unique(spikes)) > 1 for spikes in expectation.outputs.values()))


def hold_example(script: Any, folder: Path) -> None:
    """The recorder's own example, by the command that it prints."""
    network, frames = script.example(1)
    command = script.record(network, frames, folder / "net")
    assert run(shlex.split(command)[3:]) == 0
