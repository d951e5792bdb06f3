"""Every command has every option that means something for it: the table of both, computed from the tree."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from mapper.cli.entry import run
from tests.cli.test_options import LEAVES, arguments

PLACING = frozenset(["solve", "check", "emit", "verify", "report", "synthesize", "widest", "tune"])
READING = PLACING | {"diff"}
RECORDED = frozenset({"verify", "simulate", "run"})
LABELLED = frozenset({"verify", "tune", "run"})
CHIPS = frozenset({"chips show", "chips check"})
TELLING = READING | RECORDED | CHIPS | {"devices", "doctor", "explain", "chips list"}
PRINTING = frozenset({"chips schema", "schema", "--version", "--show-completion", "--install-completion"})
WRITING = PLACING | {"simulate", "run"}

_READ = "input-shape add-output-neuron relu-as-if calibrate weights reading-check from reset v-min spike-mode fires-at dt"
_MOVES = "max-pieces relays joint copies fusion rewrites plain"
# By option that more than one command has, the commands for which it could mean something.
MEANING: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(["json", "quiet", "verbose"], TELLING | PRINTING),
    **dict.fromkeys(_READ.split(), READING),
    **dict.fromkeys(_MOVES.split(), PLACING),
    **dict.fromkeys(["work-limit", "time-limit", "workers"], PLACING | {"simulate", "run"}),
    **dict.fromkeys(["chip", "pin", "forbid", "objective", "keep", "repairs", "repair"], PLACING),
    **dict.fromkeys(["monitor", "readout", "readout-monitor", "pooled-outputs"], PLACING),
    **dict.fromkeys(["order", "unwrap", "rebase", "drop-outside", "time-unit", "events"], RECORDED),
    **dict.fromkeys(["steps", "data", "encode"], LABELLED),
    "set": PLACING | CHIPS,
    "traffic": PLACING | {"simulate"},
    "input": READING | RECORDED,
    "out": WRITING | {"--install-completion"},
    "open": PLACING,
    "plot": frozenset({"verify", "synthesize"}),
    "step-us": LABELLED | {"emit", "simulate"},
    "seed": LABELLED | {"simulate", "emit"},
}


def spread(why: str, commands: str, options: str) -> dict[tuple[str, str], str]:
    return {(command, option): why for command in commands.split(",") for option in options.split()}


REQUESTS = "monitor readout readout-monitor pooled-outputs"
# By command and option, why the command goes without it all the same.
WITHOUT: Mapping[tuple[str, str], str] = {
    **spread(
        "prints one text, which is JSON already or a script", ",".join(PRINTING), "json quiet verbose"
    ),
    **spread("its chip is sought; --extends names the one it is like", "synthesize", "chip"),
    **spread("the chip is sought, so there are no cores to name", "synthesize", "pin forbid keep traffic"),
    **spread("what is least stands in --minimise", "synthesize", "objective"),
    **spread("asks of many networks, whose layers have names of their own", "report", f"pin forbid keep {REQUESTS}"),
    **spread("a verdict, which no objective changes", "check,widest", "objective keep"),
    **spread("every layer is compared with the network, and nothing is read of a board", "verify", REQUESTS),
    **spread("is judged by the network's outputs, which are monitored", "tune", REQUESTS),
    **spread("sizes are what is sought", "widest", REQUESTS),
    **spread("all layers are carried by the chip that is sought, whatever is read of it", "synthesize", REQUESTS),
    **spread("check says what would mend it", "verify,tune", "repairs repair"),
    **spread("seeks the nearest network or chip that fits by itself", "widest,synthesize", "repairs repair"),
    **spread("writes no file", "check", "out open"),
    **spread("writes one drawing, by --plot", "verify", "out open"),
    **spread("writes a chip, or a network, and no picture of a placement", "synthesize,tune", "open"),
    **spread("places nothing", "simulate,run", "work-limit workers"),
    **spread("runs one recording to its end, and says how far it is", "simulate", "time-limit"),
    **spread("stands in the configuration", "simulate", "step-us"),
    **spread("--at-most and --quiet-for end it", "run", "time-limit"),
    **spread("draws nothing by chance", "emit", "seed"),
}  # fmt: skip


def table() -> dict[str, set[str]]:
    """By option, the commands that have it."""
    found: dict[str, set[str]] = defaultdict(set)
    for chain, command in LEAVES:
        for argument in arguments(command):
            if argument.index is None:
                found[argument.name.removeprefix("--")].add(" ".join(chain))
    return found


def without(option: str) -> set[str]:
    return {command for command, name in WITHOUT if name == option}


def test_the_table_of_commands_and_options() -> None:
    has = table()
    assert {name for name, commands in has.items() if len(commands) > 1} == {*MEANING}
    for option, commands in MEANING.items():
        assert has[option] | without(option) == commands, option
        assert not has[option] & without(option), option


def test_every_exception_is_of_a_command_and_an_option_that_there_are() -> None:
    commands = {" ".join(chain) for chain, _ in LEAVES}
    assert {command for command, _ in WITHOUT} <= commands
    assert set().union(*MEANING.values()) == commands
    assert {option for _, option in WITHOUT} <= {*MEANING}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["synthesize", "digits", "--chip", "speck2f"], "A chip is sought: --extends names the one"),
        (["verify", "digits", "--monitor", "fc"], "It belongs to mapper solve, check and emit."),
        (["report", "digits", "--pin=fc=3"], "It belongs to mapper solve, check, emit, verify, widest and tune."),
        (["widest", "digits", "--input", "a", "--together"], "It belongs to mapper synthesize."),
        (["solve", "digits", "--work-limt", "3"], "Did you mean --work-limit?"),
        (["solve", "digits", "--zzz"], "Unknown option: --zzz. Help:"),
    ],
)  # fmt: skip
def test_an_option_of_other_commands_is_told_apart(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert told in capsys.readouterr().err


Capture = pytest.CaptureFixture[str]
TUNE = ["tune", "digits", "--calibrate", "digits-train", "--runs", "2", "--time-limit", "0.1"]
ZOO = Path(__file__).resolve().parents[1] / "data" / "zoo"


def used_cores(folder: Path) -> list[int]:
    record = json.loads((folder / "placement.json").read_text(encoding="utf-8"))
    return [use["core"] for use in record["cores"] if use["role"] != "empty"]


def test_where_layers_may_stand_is_asked_of_every_placement(capsys: Capture, tmp_path: Path) -> None:
    words = ["--forbid", "0..4", "--pin", "conv1=6"]
    assert run(["solve", "digits", *words, "--out", str(tmp_path)]) == 0
    placed = used_cores(tmp_path)
    assert min(placed) == 5
    kept = ["--keep", str(tmp_path / "placement.json")]
    assert run([*TUNE, *words, *kept, "--workers", "2", "--work-limit", "5", "--out", str(tmp_path)]) == 0
    assert "run on 2 samples" in capsys.readouterr().out
    assert used_cores(tmp_path) == placed
    assert run(["verify", "digits", "--steps", "2", *words, *kept, "--objective", "headroom", "--json"]) == 0
    assert run(["widest", "digits", "--what", "classes", *words, "--out", str(tmp_path)]) == 0
    assert min(used_cores(tmp_path)) == 5
    assert {path.name for path in tmp_path.glob("placement.*")} == {
        *("placement.json", "placement.svg", "placement.html")
    }
    everywhere = ["--forbid", "0..7"]
    out = ["--out", str(tmp_path / "none")]
    assert run(["verify", "digits", *everywhere]) == run([*TUNE, *everywhere, *out]) == 1
    assert run(["widest", "digits", *everywhere, *out]) == 1
    assert not (tmp_path / "none").exists()


def test_a_search_within_a_work_limit_is_undecided_where_nothing_is_placed(
    capsys: Capture, tmp_path: Path
) -> None:
    assert run([*TUNE, "--work-limit", "1e-12", "--out", str(tmp_path)]) == 3
    assert "the work limit of 1e-12 was reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["report", "digits", "--chip", "speck2f", "--workers", "1"],
        ["emit", "digits", "--no-self-test"],
        ["widest", "digits", "--what", "classes"],
    ],
)
def test_what_is_written_is_shown(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def show(address: str) -> bool:
        shown.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", show)
    assert run([*words, "--out", str(tmp_path), "--open"]) == 0
    (address,) = shown
    page = Path(address.removeprefix("file://")).read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")


def test_what_is_not_written_is_said(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "out"
    misfit = [str(ZOO / "sinabs_dvs_gesture_9layer.yaml"), "--chip", "speck2cmini", "--repairs", "0"]
    for command in ("solve", "emit"):
        assert run([command, *misfit, "--out", str(out)]) == 1
        assert f"--out: nothing is written to {out}: there is no placement" in capsys.readouterr().err
        assert not out.exists()


def test_repairs_of_a_report_are_those_of_check(capsys: Capture, tmp_path: Path) -> None:
    words = ["report", str(ZOO / "silicon_ceiling_9bn.yaml"), "--chip", "speck2f", "--workers", "1"]
    kinds = {}
    for repair, count in (("chip", 1), ("network", 2), ("any", 0)):
        asked = ["--repair", repair, "--repairs", str(count), "--out", str(tmp_path), "--json"]
        assert run([*words, *asked]) == 0
        (cell,) = json.loads(capsys.readouterr().out)["cells"]
        kinds[repair] = [bool(found["overrides"]) for found in cell["repairs"]]
    assert kinds == {"chip": [True], "network": [False, False], "any": []}


@pytest.mark.parametrize("command", ["check", "report"])
def test_repairs_that_cannot_be_are_told_once(command: str, capsys: Capture, tmp_path: Path) -> None:
    """More layers than cores: no size of the network mends that."""
    words = [command, str(ZOO / "sinabs_dvs_gesture_9layer.yaml"), "--chip", "speck2cmini", "--json"]
    if command == "report":
        words += ["--workers", "1", "--out", str(tmp_path)]
    for repair, is_told in (("network", True), ("chip", False)):
        assert run([*words, "--repair", repair]) == (command == "check")
        record = json.loads(capsys.readouterr().out)
        report = record["report"] if command == "check" else record["cells"][0]["report"]
        note = "no repair of the network: smaller layers are as many, and there are fewer cores; "
        assert report["repairs_note"] == (f"{note}--repair chip changes the chip" if is_told else None)
        assert bool(report["repairs"]) != is_told


def test_rules_as_json_and_chips_with_changes(capsys: Capture, tmp_path: Path) -> None:
    assert run(["explain", "M202", "--json"]) == 0
    assert [rule["code"] for rule in json.loads(capsys.readouterr().out)["rules"]] == ["M202"]
    file = tmp_path / "next.toml"
    file.write_text('extends = "speck2f"\n', encoding="utf-8")
    assert run(["chips", "check", str(file), "--set", "+core[9]=core[8]"]) == 0
    assert "10 cores" in capsys.readouterr().out


def test_a_report_reads_networks_by_samples_as_check_does(capsys: Capture, tmp_path: Path) -> None:
    layers = "nn.Conv2d(1, 4, 3, bias=False), nn.ReLU()"
    code = f"import torch\nfrom torch import nn\ntorch.manual_seed(0)\nnet = nn.Sequential({layers})\n"
    (tmp_path / "net.py").write_text(code, encoding="utf-8")
    reading = ["--relu-as-if", "auto", "--calibrate", "digits-train", "--input-shape", "1,8,8"]
    words = ["report", f"{tmp_path}/net.py:net", *reading, "--chip", "speck2f", "--workers", "1", "--json"]
    assert run([*words, "--out", str(tmp_path / "first")]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [cell["verdict"] for cell in record["cells"]] == ["plain"]
    assert "the largest value that each gives on the samples" in record["networks"][0]["readings"][0]
    again = ["--resume", str(tmp_path / "first" / "report.json"), "--out", str(tmp_path / "second")]
    assert run([*words, *again]) == 0
    assert json.loads(capsys.readouterr().out)["networks"] == record["networks"]
