"""Inputs that broke something once and that are better shown as code: changes of sound files, by kind."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import h5py
import numpy as np

from tests.boards.test_config_limits import CASES as CONFIGS
from tests.malformed.test_event_files import FILES as RECORDINGS
from tests.malformed.test_hdf5 import CASES as NIR
from tests.malformed.workbench import Workbench

__all__ = ["MADE"]

Made = Callable[[Workbench], bytes]


def edited(name: str, change: Callable[[Any], object]) -> Made:
    """A sound JSON file of the workbench, changed."""

    def make(bench: Workbench) -> bytes:
        content = json.loads(bench.sound[name])
        change(content)
        return json.dumps(content).encode()

    return make


def at(*path: Any, value: Any) -> Callable[[Any], None]:
    """Another value at a place."""

    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


def nir(case: str, bench: Workbench) -> bytes:
    stream = io.BytesIO(bench.digits)
    with h5py.File(stream, "r+") as file:
        NIR[case][0](file)
    return stream.getvalue()


def saved(bench: Workbench, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def fixed(content: bytes) -> Made:
    return lambda bench: content


def cores(content: Any) -> list[Any]:
    found: list[Any] = content["hardware"]["cnn_layers"]
    return found


def one_core_more(content: Any) -> None:
    """It ended in an index beyond the chip's cores."""
    cores(content).append(cores(content)[-1])


def one_destination_more(content: Any) -> None:
    """It ended in an index beyond samna's destinations."""
    cores(content)[3]["destinations"] *= 2


def samna_refuses(content: Any) -> None:
    """deploy.py ended in a traceback of what samna's object refuses."""
    cores(content)[0]["leak_enable"] = "0x10"


SPIKES, COUNTS = np.zeros((4, 1, 8, 8), np.uint8), np.zeros((4, 10), np.uint8)
NETWORK = '{{"input": {{"shape": [2, 8, 8]}}, "layers": [{{"name": "a", "conv": {{"features": {}, "kernel": 3}}}}]}}'
ANSWER = "known_answer.json"
# By kind and name: what is made, and whether every command of the kind must refuse it.
MADE: dict[str, dict[str, Made]] = {
    "network": {
        **{f"{case}.nir": partial(nir, case) for case in ("cycle", "1e12-edges", "soft-link")},
        "digits.json": fixed(NETWORK.format("9" * 5000).encode()),
        "deep.json": fixed(b'{"a":' * 60_000),
        "deep.yaml": fixed(b"[" * 60_000),
        "twice.yaml": fixed(b"input: {shape: [2, 8, 8]}\ninput: {shape: [2, 9, 9]}\nlayers: []\n"),
        "words.yaml": fixed(
            b"input: {shape: [2, 8, 8]}\nlayers:\n- {name: a, conv: {features: 4, kernel: no}}\n"
        ),
        "null.json": fixed(NETWORK.format("null").encode()),
        "half.json": fixed(NETWORK.format('"\\ud800"').encode()),
        "empty.nir": fixed(b""),
    },
    "chip": {
        "dotted.toml": fixed(b"a." * 200_000 + b"a = 1"),
        "twice.toml": fixed(b'extends = "speck2f"\nname = "x"\nname = "y"\n'),
        "itself.toml": fixed(b'extends = "itself.toml"\nname = "x"'),
        "nul.toml": fixed(b'extends = "\\u0000"\nname = "x"'),
        "huge.toml": fixed(b'extends = "speck2f"\nname = "x"\n[limits]\ninput_height_max = 1000000000\n'),
        "module.toml": fixed(b'extends = "speck2f"\nname = "x"\n[set]\n"emission.samna_module" = "os"\n'),
    },
    "config": {
        # tests/boards/test_config_limits.py gives all of them to every reader.
        **{
            f"{case}.json": edited("config.json", CONFIGS[case][0])
            for case in ("weight-300", "1e12-entries", "module-os")
        },
        "one-core-more.json": edited("config.json", one_core_more),
        "one-destination-more.json": edited("config.json", one_destination_more),
        "another-node.json": edited("config.json", at("vendor", "source_node", value="device")),
        "no-node.json": edited("config.json", lambda content: content["vendor"].pop("source_node")),
        "samna-refuses.json": edited("config.json", samna_refuses),
        "no-number-of-a-core.json": edited(
            "config.json", at("interface", "inputs", 0, "entries", 0, "core", value=float("nan"))
        ),
    },
    # deploy.py ended in tracebacks of all of these, some with the board open.
    "answer": {
        "no-rows.json": edited(ANSWER, at("counts", value=True)),
        "infinite.json": edited(ANSWER, at("inputs", 0, "events", 0, 0, value=float("inf"))),
        "feature-2e31.json": edited(ANSWER, at("inputs", 0, "events", 0, 1, value=2**31)),
        "input-x.json": edited(ANSWER, at("inputs", 0, "name", value="\x1b[31mx")),
        "core-host.json": edited(ANSWER, at("counts", value={"host": []})),
        "parallel.json": edited(ANSWER, at("parallel_cores", value="3")),
        "no-exactness.json": edited(ANSWER, lambda content: content.pop("is_exact")),
        "cut.json": lambda bench: bench.sound[ANSWER][:300],
        "latin.json": fixed(b'{"\xff": 1}'),
    },
    "events": {
        name: fixed(RECORDINGS[name][0])
        for name in ("deep.npy", "objects.npy", "lzma.npz", "cut.npz", "nul.csv", "number.csv")
    },
    "raster": {
        "a-number.npz": partial(saved, input=np.array(0), output=COUNTS),
        "negative.npz": partial(saved, input=SPIKES.astype(int) - 1, output=COUNTS),
        "huge.npz": partial(saved, input=SPIKES + np.int64(1 << 40), output=COUNTS),
        "nan.npz": partial(saved, input=SPIKES + np.nan, output=COUNTS),
    },
    "placement": {
        "no-cores.json": edited("placement.json", at("layers", 0, "cores", value=None)),
        "of-a-list.json": fixed(b"[]"),
        "twice.json": fixed(b'{"schema_version": 2, "schema_version": 2}'),
        "deep.json": fixed(b"[" * 60_000),
    },
    "report": {
        "no-source.json": edited("report.json", at("networks", 0, "source", value=0)),
        "no-cells.json": edited("report.json", at("cells", value=None)),
        "deep.json": fixed(b'{"complete": ' * 60_000),
    },
    "traffic": {
        "negative.json": fixed(b'{"schema_version": 1, "spikes_per_second": {"conv1": -1}}'),
        "infinite.json": fixed(b'{"schema_version": 1, "spikes_per_second": {"conv1": 1e400}}'),
        "nan.json": fixed(b'{"schema_version": 1, "spikes_per_second": {"conv1": NaN}}'),
        "digits.json": fixed(b'{"schema_version": 1, "spikes_per_second": {"conv1": ' + b"9" * 5000 + b"}}"),
    },
}
