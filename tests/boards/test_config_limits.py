"""What a chip cannot hold is refused by every reader of config.json, before anything is made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.cli.entry import run
from mapper.errors import ConfigError
from mapper.events import EVENT_DTYPE, write_events
from tests.boards.cases import configured, deploy, deploy_script
from tests.stand_in.fake_boards import FakeBoards

Capture = pytest.CaptureFixture[str]
Change = Callable[[dict[str, Any]], Any]


def used(content: dict[str, Any]) -> dict[str, Any]:
    """The first core in use."""
    return next(core for core in content["hardware"]["cnn_layers"] if "weights" in core)


def tensor(name: str, first: int) -> Change:
    def change(content: dict[str, Any]) -> None:
        core = used(content)
        shape = core[name]["shape"]
        core[name]["values"] = f"{first} 0*{int(np.prod(shape)) - 1}"

    return change


def put(*path: Any, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        inner: Any = used(content)
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return change


def _origin(name: str, layer: str, start: int = 0) -> dict[str, Any]:
    return {"name": name, "shape": [1, 6, 6], "layer": layer, "start": start}


def _interface(change: Change) -> Change:
    return lambda content: change(content["interface"])


def _gone(name: str) -> Change:
    return lambda content: used(content).pop(name)


def _spare(name: str) -> Change:
    def change(content: dict[str, Any]) -> None:
        spare = next(core for core in content["hardware"]["cnn_layers"] if "weights" not in core)
        spare[name] = used(content)[name]

    return change


def _given(**changes: Any) -> Change:
    """Origins of all layers as they are, the first one changed."""

    def change(content: dict[str, Any]) -> None:
        cores, interface = content["hardware"]["cnn_layers"], content["interface"]
        shapes = [cores[e["places"][0]["core"]]["dimensions"]["output_shape"] for e in interface["layers"]]
        interface["origins"] = [
            {
                "name": e["name"],
                "layer": e["name"],
                "start": 0,
                "phases": [1, 1],
                "shape": [s["feature_count"], s["size"]["y"], s["size"]["x"]],
            }
            for e, s in zip(interface["layers"], shapes, strict=True)
        ]
        interface["origins"][0].update(changes)

    return change


def _outputs(content: dict[str, Any]) -> None:
    interface = content["interface"]
    ways = [(y, x) for y in range(1, 10) for x in range(1, 10)][:65]
    interface["outputs"] = [
        {**interface["outputs"][0], "name": f"o{n}", "host_pool": way} for n, way in enumerate(ways)
    ]


def _sixty_four_outputs(content: dict[str, Any]) -> None:
    _outputs(content)
    content["interface"]["outputs"].pop()


# What an interface says twice, or under another's name.
TWICE: dict[str, tuple[Change, str]] = {
    "a-layer-twice": (_interface(lambda i: i["layers"].append(i["layers"][0])), "2 times"),
    "an-output-twice": (_interface(lambda i: i["outputs"].append(i["outputs"][0])), "output"),
    "a-core-twice": (
        _interface(lambda i: i["layers"][0]["places"].extend(i["layers"][0]["places"])),
        "a core holds one thing",
    ),
    "origins-overlap": (
        _interface(lambda i: i.update(origins=[_origin(n, i["layers"][0]["name"]) for n in "ab"])),
        "that another has",
    ),
    "an-origin-of-another-name": (
        _interface(lambda i: i.update(origins=[_origin(i["layers"][1]["name"], i["layers"][0]["name"])])),
        "is in layer",
    ),
    "an-output-elsewhere": (
        _interface(lambda i: i["outputs"][0].update(layer=i["layers"][0]["name"])),
        "which",
    ),
}


# What an interface says that its cores contradict: deploy.py knows what it needs of it.
CONTRADICTIONS: dict[str, tuple[Change, str]] = {
    "an-origin-with-a-smaller-map": (_given(shape=[4, 2, 2]), "(got 2; allowed: 8)"),
    "an-origin-with-a-larger-map": (_given(shape=[4, 9, 8]), "(got 9; allowed: 8)"),
    "an-origin-of-some-features": (_given(shape=[2, 8, 8]), "(got 2; allowed: 4)"),
    "an-origin-of-other-phases": (_given(shape=[1, 15, 14], phases=[2, 2]), "8 times 2"),
    "a-place-of-other-features": (
        _interface(lambda i: i["layers"][0]["places"][0].update(stop=3)),
        "(got 3; allowed: 4)",
    ),
    "an-output-of-other-features": (
        _interface(lambda i: i["outputs"][0]["parts"][0].update(stop=9)),
        "(got 9; allowed: 1..3)",
    ),
    "an-input-with-another-map": (
        _interface(lambda i: i["inputs"][0].update(shape=[2, 4, 8])),
        "(4, 8)",
    ),
    "65-ways-to-show-a-layer": (_outputs, "(got 65; allowed: 64)"),
}


CASES: dict[str, tuple[Change, str]] = {
    "weight-300": (tensor("weights", 300), "300"),
    "weight--129": (tensor("weights", -129), "-129"),
    "bias-40000": (tensor("biases", 40000), "40000"),
    "potential-40000": (tensor("neurons_initial_value", 40000), "40000"),
    "threshold-40000": (put("threshold_high", value=40000), "40000"),
    "threshold-0": (put("threshold_high", value=0), "threshold_high"),
    "lower-0": (put("threshold_low", value=0), "threshold_low"),
    "core-99": (put("destinations", 0, "layer", value=99), "99"),
    "pooling-0": (put("destinations", 0, "pooling", value=0), "pooling"),
    "pooling-3": (put("destinations", 0, "pooling", value=3), "pooling"),
    "shift-1024": (put("destinations", 0, "feature_shift", value=1024), "1024"),
    "stride-3": (put("dimensions", "stride", "x", value=3), "stride"),
    "stride-of-another-map": (put("dimensions", "stride", "y", value=2), "along y does not follow"),
    "padding-of-another-map": (put("dimensions", "padding", "y", value=3), "along y does not follow"),
    "1e12-entries": (put("weights", "shape", value=[10**6, 10**6]), "10000"),
    "a-run-of-1e12": (put("weights", "values", value="0*1000000000000"), "1000000000000"),
    "last-core-missing": (lambda content: content["hardware"]["cnn_layers"].pop(), "core"),
    "first-core-missing": (lambda content: content["hardware"]["cnn_layers"].pop(0), "core"),
    "a-core-not-configured": (lambda content: used(content).pop("dimensions"), "core"),
    "chip-speck9": (lambda content: content.update(chip="speck9"), "speck9"),
    "chip-speck2e": (lambda content: content.update(chip="speck2e"), "speck2e"),
    "a-layer-on-no-core": (lambda content: content["interface"]["layers"][1].update(places=[]), "on no core"),
    **{name: (change, word) for name, (change, word) in TWICE.items()},
    **{name: (change, word) for name, (change, word) in CONTRADICTIONS.items()},
    "enable-yes": (put("destinations", 0, "enable", value="yes"), "enable"),
    "enable-1": (put("destinations", 0, "enable", value=1), "enable"),
    "layer-true": (put("destinations", 0, "layer", value=True), "layer"),
    "threshold-half": (put("threshold_high", value=1.5), "threshold_high"),
    "no-threshold": (_gone("threshold_high"), "lacks threshold_high"),
    "no-biases": (_gone("biases"), "lacks biases"),
    "no-monitor": (_gone("monitor_enable"), "monitor_enable"),
    "no-enable": (lambda c: used(c)["destinations"][0].pop("enable"), "destinations.0.enable"),
    "no-pooling": (lambda c: used(c)["destinations"][0].pop("pooling"), "destinations.0.pooling"),
    "nothing-monitored": (_interface(lambda i: i.pop("monitored")), "interface.monitored"),
    "an-unknown-field": (put("more", value=1), "more"),
    "weights-of-another-size": (put("weights", value={"shape": [1, 1, 1, 1], "values": "1"}), "(1, 1, 1, 1)"),
    "weights-flat": (put("weights", value={"shape": [72], "values": "1*72"}), "(72,)"),
    "kill-bits-of-another-size": (put("biases_kill_bit", value={"shape": [1], "values": "0"}), "kill bits"),
    "weights-of-no-core": (_spare("weights"), "not configured"),
    "a-threshold-of-no-core": (_spare("threshold_high"), "not configured"),
    "destination-shift": (put("destinations", 0, "feature_shift", value=600), "604"),
    "another-map": (put("destinations", 0, "pooling", value=2), "map"),
    "input-shift": (
        _interface(lambda i: i["inputs"][0]["entries"][0].update(feature_shift=60000)),
        "60002",
    ),
    "slow-clock-nan": (_interface(lambda i: i.update(slow_clock_hz=float("nan"))), "slow_clock_hz"),
    "slow-clock-true": (_interface(lambda i: i.update(slow_clock_hz=True)), "slow_clock_hz"),
    "slow-clock-negative": (_interface(lambda i: i.update(slow_clock_hz=-1)), "slow_clock_hz"),
    "host-pool-0": (lambda content: content["interface"]["outputs"][0].update(host_pool=[1, 0]), "host_pool"),
    "shape-of-long-numbers": (put("weights", "shape", value=[10**4000] * 3), "claim"),
    "module-os": (lambda content: content["vendor"].update(samna_module="os"), "samna_module"),
}


@pytest.fixture(scope="module")
def good() -> str:
    config = configured(dt_us=1000.0, bias=True)
    return json.dumps(config.model_dump(mode="json", exclude_none=True))


# deploy.py has no list of chips: samna's own object says how many cores there are.
UNKNOWN_TO_DEPLOY = {
    *TWICE,
    *CONTRADICTIONS.keys() - {"an-input-with-another-map"},
    "a-layer-on-no-core",
    "nothing-monitored",
    "host-pool-0",
    "last-core-missing",
    "a-core-not-configured",
    "chip-speck9",
    "chip-speck2e",
}


@pytest.mark.parametrize("case", CASES)
def test_every_reader_refuses(
    case: str, good: str, tmp_path: Path, capsys: Capture, boards: FakeBoards
) -> None:
    change, word = CASES[case]
    content = json.loads(good)
    change(content)
    path, events = tmp_path / "config.json", tmp_path / "e.npy"
    path.write_text(json.dumps(content))
    write_events(events, np.array([(1000, 0, 1, 1)], EVENT_DTYPE))
    with pytest.raises(ConfigError, match=re.escape(word)):
        mapper.read_config(path)
    device = ["--device", "speck2fmodule", "--events", str(events)]
    commands = (
        ["simulate", str(path), "--events", str(events)],
        ["diff", str(path), "digits"],
        ["run", str(path), *device],
    )
    for words in commands:
        assert run(words) == 2, words
        assert word in capsys.readouterr().err
    if case not in UNKNOWN_TO_DEPLOY:
        with pytest.raises(SystemExit, match=r"config\.json"):
            deploy(boards, str(path), *device)
    assert boards.log == []


def test_a_sensor_that_leads_to_an_idle_core(tmp_path: Path, capsys: Capture, boards: FakeBoards) -> None:
    config = configured(dvs=True)
    content = json.loads(json.dumps(config.model_dump(mode="json", exclude_none=True)))
    idle = next(n for n, core in enumerate(content["hardware"]["cnn_layers"]) if "weights" not in core)
    leads = next(entry for entry in content["hardware"]["dvs_layer"]["destinations"] if entry["enable"])
    leads["layer"] = idle
    path, events = tmp_path / "config.json", tmp_path / "e.npy"
    path.write_text(json.dumps(content))
    write_events(events, np.array([(1000, 0, 1, 1)], EVENT_DTYPE))
    assert run(["simulate", str(path), "--events", str(events)]) == 2
    assert f"leads to a core that is not configured (got {idle})" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit, match=rf"not configured: \[{idle}\]"):
        deploy(boards, str(path), "--device", "speck2fmodule")


def test_what_does_not_contradict_is_read(good: str, tmp_path: Path) -> None:
    """Origins of all layers, a map with a last row that nothing reads, and as many outputs as there may be."""
    path = tmp_path / "config.json"
    for change in (
        _given(),
        _given(shape=[1, 17, 16], phases=[2, 2]),
        _given(shape=[1, 15, 15], phases=[2, 2]),
        _sixty_four_outputs,
    ):
        content = json.loads(good)
        change(content)
        path.write_text(json.dumps(content))
        assert mapper.read_config(path).chip == "speck2f"


def test_what_is_written_is_read(good: str, tmp_path: Path, boards: FakeBoards) -> None:
    path = tmp_path / "config.json"
    path.write_text(good)
    assert mapper.read_config(path).chip == "speck2f"
    assert deploy_script(boards).read(path) == json.loads(good)


def test_a_key_that_stands_twice(good: str, tmp_path: Path, boards: FakeBoards) -> None:
    path = tmp_path / "config.json"
    path.write_text(good.replace('"threshold_high": ', '"threshold_high": 3, "threshold_high": '))
    with pytest.raises(ConfigError, match='"threshold_high" stands twice'):
        mapper.read_config(path)
    with pytest.raises(SystemExit, match="twice"):
        deploy(boards, str(path), "--device", "speck2fmodule")


def test_variants_keep_names_of_their_own(tmp_path: Path) -> None:
    """A smaller chip, a larger one that samna does not know, and one that has a shipped chip's name."""
    for change in ("core[0..8].kernel_words=8Ki", "limits.kernel_size_max=20", "-core[8]"):
        config = mapper.build_config(mapper.solve("digits", mapper.load_chip("speck2f", [change])))
        path = tmp_path / "config.json"
        mapper.write_config(config, path)
        assert mapper.read_config(path) == config


def test_run_takes_the_options_of_recordings(
    good: str, tmp_path: Path, capsys: Capture, boards: FakeBoards
) -> None:
    path, events = tmp_path / "config.json", tmp_path / "e.npy"
    path.write_text(good)
    write_events(events, np.array([(2000, 0, 1, 1), (1000, 0, 1, 1), (3000, 0, 99, 1)], EVENT_DTYPE))
    words = ["run", str(path), "--device", "speck2fmodule", "--events", str(events)]
    for more, told in (([], "--order sort"), (["--order", "sort"], "--drop-outside")):
        assert run([*words, *more]) == 2
        assert told in capsys.readouterr().err
    assert boards.log == []
    assert run([*words, "--order", "sort", "--drop-outside"]) == 0
    answer = capsys.readouterr()
    assert "2 events written" in answer.out
    assert "1 of 3 events lie outside" in " ".join(answer.err.split())


def test_deploy_names_what_is_wrong_with_events(good: str, tmp_path: Path, boards: FakeBoards) -> None:
    path, events = tmp_path / "config.json", tmp_path / "e.npy"
    path.write_text(good)
    head = b"\x93NUMPY\x01\x00" + bytes([118, 0]) + b"{'descr': '<i8', 'shape".ljust(117) + b"\n"
    contents = [b"nothing", head, b""]
    wrapped = np.array([(2**32 - 1, 0, 1, 1), (0, 0, 1, 1)], EVENT_DTYPE)
    for content in contents:
        events.write_bytes(content)
        with pytest.raises(SystemExit, match=r"e\.npy"):
            deploy(boards, str(path), "--device", "speck2fmodule", "--events", str(events))
    write_events(events, wrapped)
    with pytest.raises(SystemExit, match="unwrap"):
        deploy(boards, str(path), "--device", "speck2fmodule", "--events", str(events))


def test_modules_that_are_none_of_samna(good: str, tmp_path: Path) -> None:
    chip = tmp_path / "chip.toml"
    for name in ("os", "samna.speck2f.os", "antigravity", "samna"):
        content = json.loads(good)
        content["vendor"]["samna_module"] = name
        content["chip_hash"], content["chip"] = "0", "other"
        (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(ConfigError, match="samna_module"):
            mapper.read_config(tmp_path / "config.json")
        chip.write_text(f'extends = "speck2f"\nname = "x"\n[set]\n"emission.samna_module" = "{name}"\n')
        assert run(["chips", "check", str(chip)]) == 2
