"""Constructor and configuration of the nine-layer gesture network: this package and sinabs, side by side.

    python scripts/bench_convert.py [--quick]

Needs sinabs (``pip install -e ".[sinabs]"``) but not samna: both write into an object made of plain
attributes, the cheapest there can be. The reading check runs a copy of the module and compares, which sinabs
does not. Each measurement is a process of its own, in which both have done the
same with a small network before: imports and first calls do not count, and memory is still fresh.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import types
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark import NOT_INSTALLED, Row, Spent, median, options_of, stopwatch, tell, timed

ROOT = Path(__file__).resolve().parent.parent
NETWORK = "sinabs_dvs_gesture_9layer"
DEVICE = "speck2fmodule:0"
OURS, UNCHECKED, SINABS = "with the reading check", "without it", "sinabs"


def plain(record: Any) -> Any:
    """An object with the attributes of a configuration's record, to be written to."""
    from pydantic import BaseModel  # noqa: PLC0415

    from mapper.emit.shared.tensor import Tensor  # noqa: PLC0415

    if isinstance(record, tuple):
        return [plain(entry) for entry in record]
    if isinstance(record, Tensor) or not isinstance(record, BaseModel):
        return None if isinstance(record, Tensor) else record
    fields = {name: plain(getattr(record, name)) for name in type(record).model_fields}
    return types.SimpleNamespace(**fields)


def measure(side: str) -> dict[str, list[float]]:
    """Seconds of the two steps, clock and processor, and the megabytes that they added to the peak."""
    sys.path.insert(0, str(ROOT))
    from tests.sinabs.inert import inert_samna  # noqa: PLC0415

    with inert_samna():
        return measured(side)


def measured(side: str) -> dict[str, list[float]]:
    """As `measure`, where samna's names are inert."""
    import samna.speck2f  # noqa: PLC0415
    from sinabs.backend.dynapcnn import DynapcnnNetwork as Peer  # noqa: PLC0415
    from sinabs.backend.dynapcnn.chips import speck2f  # noqa: PLC0415

    import mapper  # noqa: PLC0415
    from mapper.emit import samna as bridge  # noqa: PLC0415
    from tests.builders import chain, conv  # noqa: PLC0415
    from tests.sinabs.modules import as_module, without_sensor  # noqa: PLC0415

    source = ROOT / "tests" / "data" / "zoo" / f"{NETWORK}.yaml"
    network = without_sensor(mapper.load_network(source))
    module = as_module(network)
    features, height, width = network.inputs[0].shape
    shape = (features, height, width)
    small = as_module(chain([conv(4), conv(4)]))
    target = plain(mapper.DynapcnnNetwork(small, (2, 16, 16)).plain_config("speck2f").hardware)
    for core in target.cnn_layers:
        core.dimensions = core.dimensions or next(c.dimensions for c in target.cnn_layers if c.dimensions)
    # sinabs takes the class when it is imported.
    given: Any = None
    speck2f.SpeckConfiguration = lambda: given
    samna.speck2f.configuration = types.SimpleNamespace(SpeckConfiguration=lambda: given)
    samna.speck2f.validate_configuration = lambda config: (True, "")
    bridge.find_samna = lambda: "real"
    sides: dict[str, Any] = {
        OURS: mapper.DynapcnnNetwork,
        UNCHECKED: partial(mapper.DynapcnnNetwork, reading_check=False),
        SINABS: Peer,
    }
    for each in sides.values():
        given = deepcopy(target)  # sinabs puts other objects into it
        each(small, input_shape=(2, 16, 16)).make_config(device=DEVICE)
    make, given = sides[side], deepcopy(target)
    before = peak_kb()
    with stopwatch() as built:
        made = make(module, input_shape=shape)
    with stopwatch() as configured:
        made.make_config(device=DEVICE)
    return {
        "constructor": [built.wall_s, built.processor_s],
        "make_config": [configured.wall_s, configured.processor_s],
        "total": [built.wall_s + configured.wall_s, built.processor_s + configured.processor_s],
        "peak": [(peak_kb() - before) / 1024],
    }


def peak_kb() -> int:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def rows(*, is_quick: bool) -> list[Row]:
    """Medians of processes of both sides, in turn."""
    if find_spec("sinabs") is None:
        return [Row("convert", None, note=f"sinabs: {NOT_INSTALLED}")]
    found: dict[str, list[dict[str, list[float]]]] = {OURS: [], UNCHECKED: [], SINABS: []}
    for _ in range(3 if is_quick else 7):
        for side, results in found.items():
            command = [sys.executable, "-W", "ignore", __file__, "--side", side]
            # Two threads that wait for each other measure what else the machine does.
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    made = []
    for side in (OURS, UNCHECKED):
        for name in ("constructor", "make_config", "total"):
            ours, theirs = (median([Spent(*run[name]) for run in found[each]]) for each in (side, SINABS))
            title = f"convert, {name}, {side}"
            made.append(timed(title, ours, beside=SINABS, reference=theirs, is_checked=True))
        ours_mb, theirs_mb = (
            statistics.median(run["peak"][0] for run in found[each]) for each in (side, SINABS)
        )
        title = f"convert, added peak memory, {side}"
        made.append(Row(title, ours_mb, "MB", beside=SINABS, reference=theirs_mb))
    return made


def main() -> None:
    """Print one line a figure."""
    parser = options_of(__doc__)
    parser.add_argument("--side", choices=(OURS, UNCHECKED, SINABS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.side)))
    else:
        tell(rows(is_quick=options.quick), options)


if __name__ == "__main__":
    main()
