"""Memory of commands on large networks, beside what the network's weights take in single precision.

    python scripts/bench_memory.py [--quick]

Layers of 1,024 features with 3x3 kernels come from a NIR file. Measured is the largest resident memory of the
whole command, less that of the same command for a network of a few weights. A layer at a time is
worked on in 64 bits: with more layers the ratio falls. The known answer, which takes minutes, is left out.
More than 13 such layers fit no NIR file that is read: 30 are placed and written from Python, which holds the
weights already.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmark import Row, options_of, tell, users_environment

FEATURES, KERNEL = 1024, 3
# `read_config` takes files of 32 MiB, two such layers, and readers of NIR 512 MiB, 13 of them.
READABLE = 2
DEEP = 30
CHIP = ["core[0..8].kernel_words=16777216", "core[0..8].neuron_words=65536"]


def write_network(path: Path, layers: int, features: int) -> None:
    """A chain of layers with as many features as their inputs."""
    import nir  # noqa: PLC0415  # what this process holds counts for the commands that it starts
    import numpy as np  # noqa: PLC0415

    draw = np.random.default_rng(0)
    ones, bias = np.ones((features, 2, 2), np.float32), np.zeros(features, np.float32)
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([features, 2, 2])})}
    edges, last = [], "input"
    for n in range(layers):
        weight = draw.standard_normal((features, features, KERNEL, KERNEL), np.float32)
        nodes |= {f"c{n}": nir.Conv2d((2, 2), weight, 1, 1, 1, 1, bias), f"n{n}": nir.IF(ones, ones)}
        edges += [(last, f"c{n}"), (f"c{n}", f"n{n}")]
        last = f"n{n}"
    nodes["output"] = nir.Output({"output": np.array([features, 2, 2])})
    nir.write(path, nir.NIRGraph(nodes=nodes, edges=[*edges, (last, "output")]))


def place(folder: Path, layers: int, features: int) -> None:
    """Place a chain made in Python and write its configuration."""
    import numpy as np  # noqa: PLC0415  # what this process holds counts for the commands that it starts

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import mapper  # noqa: PLC0415
    from hwspec.catalog import load  # noqa: PLC0415
    from mapper.network import Edge, Input, Layer, Network, Output  # noqa: PLC0415
    from mapper.operations import Convolution, Neuron, Shape  # noqa: PLC0415

    draw, shape = np.random.default_rng(0), Shape(features, 2, 2)
    made, edges, last = [], [], "input"
    for n in range(layers):
        weight = draw.standard_normal((features, features, KERNEL, KERNEL), np.float32)
        operation = Convolution(features, (KERNEL, KERNEL), padding=(1, 1), weight=weight)
        made.append(Layer(f"c{n}", shape, operation, neuron=Neuron(1.0)))
        edges.append(Edge(last, made[-1].name))
        last = made[-1].name
    output = (Output("out", last),)
    network = Network("deep", (Input("input", shape),), tuple(made), tuple(edges), output)
    result = mapper.solve(network, load("speck2f", chip_changes(layers)))
    mapper.write_config(mapper.build_config(result), folder / "config.json")


def chip_changes(layers: int) -> list[str]:
    """What gives so many large layers a core each."""
    return [*CHIP, *([f"+core[9..{layers - 1}]=core[0]"] if layers > 9 else [])]


def peak_mb(command: list[str]) -> float:
    """Largest resident memory of a command.

    Raises
    ------
    RuntimeError
        It failed.
    """
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=told, stderr=subprocess.STDOUT, env=users_environment()
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            told.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {told.read().decode(errors='replace')[-500:]}")
    return usage.ru_maxrss * 1024 / 1e6


def emitted_mb(folder: Path, layers: int, features: int) -> float:
    """Peak of `emit` for a network made by a process of its own; its configuration stays in the folder."""
    path = folder / "deep.nir"
    peak_mb([__file__, "--write", str(path), str(layers), str(features)])
    changes = [part for change in chip_changes(layers) for part in ("--set", change)]
    reading = ["--from", "sinabs", "--v-min", "none", "--no-self-test"]
    return peak_mb(["-m", "mapper", "emit", str(path), *reading, *changes, "--out", str(folder)])


def rows(*, is_quick: bool) -> list[Row]:
    """From a file to a configuration, and two configurations read and compared."""
    made = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare = ["-m", "mapper", "diff", *[str(folder / "config.json")] * 2]
        small_mb = (emitted_mb(folder, 1, 2), peak_mb(compare))
        for layers in (READABLE,) if is_quick else (READABLE, 6, 13):
            weights_mb = layers * FEATURES**2 * KERNEL**2 * 4 / 1e6
            peaks = [emitted_mb(folder, layers, FEATURES) - small_mb[0]]
            if layers == READABLE:
                peaks.append(peak_mb(compare) - small_mb[1])
            for what, value in zip(("emit", "diff"), peaks, strict=False):
                title = f"memory, {what}, {layers} layers of {FEATURES} features"
                beside = "weights of 32 bits"
                made.append(Row(title, value, "MB", beside=beside, reference=weights_mb, is_checked=True))
        if not is_quick:
            peaks = [
                peak_mb([__file__, "--place", str(folder), str(layers), str(features)])
                for layers, features in ((1, 2), (DEEP, FEATURES))
            ]
            weights_mb = DEEP * FEATURES**2 * KERNEL**2 * 4 / 1e6
            title = f"memory, solve and write, {DEEP} layers of {FEATURES} features"
            value = peaks[1] - peaks[0]
            made.append(Row(title, value, "MB", beside="weights of 32 bits", reference=weights_mb))
    return made


def main() -> None:
    """Print one line a figure."""
    parser = options_of(__doc__)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--place", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        path, layers, features = options.write
        write_network(Path(path), int(layers), int(features))
    elif options.place:
        path, layers, features = options.place
        place(Path(path), int(layers), int(features))
    else:
        tell(rows(is_quick=options.quick), options)


if __name__ == "__main__":
    main()
