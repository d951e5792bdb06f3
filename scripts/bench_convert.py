"""Constructor and configuration of the nine-layer gesture network: this package and sinabs, side by side.

Needs sinabs (``pip install -e ".[sinabs]"``) but not samna: both write into an object made of plain
attributes, the cheapest there can be. Each measurement is a process of its own; medians are printed.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NETWORK = "sinabs_dvs_gesture_9layer"


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


def measure(side: str) -> dict[str, float]:
    """Seconds of the two steps, and the megabytes that they added to the process' peak."""
    sys.path.insert(0, str(ROOT))
    from tests.sinabs.inert import inert_samna  # noqa: PLC0415

    # For as long as this process lasts.
    inert_samna().__enter__()
    import samna.speck2f  # noqa: PLC0415
    from sinabs.backend.dynapcnn import DynapcnnNetwork as Peer  # noqa: PLC0415
    from sinabs.backend.dynapcnn.chips import speck2f  # noqa: PLC0415

    import mapper  # noqa: PLC0415
    from mapper.emit import samna as bridge  # noqa: PLC0415
    from tests.sinabs.modules import as_module, without_sensor  # noqa: PLC0415

    source = ROOT / "tests" / "data" / "zoo" / f"{NETWORK}.yaml"
    network = without_sensor(mapper.load_network(source))
    module = as_module(network)
    features, height, width = network.inputs[0].shape
    shape = (features, height, width)
    warm = mapper.DynapcnnNetwork(module, shape)
    target = plain(warm.plain_config("speck2f").hardware)
    for core in target.cnn_layers:
        core.dimensions = core.dimensions or next(c.dimensions for c in target.cnn_layers if c.dimensions)
    # sinabs takes the class when it is imported.
    speck2f.SpeckConfiguration = lambda: target
    samna.speck2f.configuration = types.SimpleNamespace(SpeckConfiguration=lambda: target)
    samna.speck2f.validate_configuration = lambda config: (True, "")
    bridge.find_samna = lambda: "real"
    make = mapper.DynapcnnNetwork if side == "ours" else Peer
    Peer(module, input_shape=shape)  # both sides are warm: imports and first calls do not count
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    made = make(module, input_shape=shape)
    built = time.perf_counter()
    made.make_config(device="speck2fmodule:0")
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "constructor": built - start,
        "make_config": end - built,
        "total": end - start,
        "peak": peak / 1024,
    }


def main() -> None:
    """Measure both sides in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=("ours", "sinabs"), help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.side)))
        return
    found: dict[str, list[dict[str, float]]] = {"ours": [], "sinabs": []}
    for _ in range(options.runs):
        for side, results in found.items():
            command = [sys.executable, __file__, "--side", side]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    for name, unit in (("constructor", "s"), ("make_config", "s"), ("total", "s"), ("peak", "MB")):
        ours, peer = (statistics.median(r[name] for r in found[side]) for side in ("ours", "sinabs"))
        ratio = f"   ratio {ours / peer:.2f}" if peer else ""
        print(f"{name:12} ours {ours:8.3f} {unit}   sinabs {peer:8.3f} {unit}{ratio}")


if __name__ == "__main__":
    main()
