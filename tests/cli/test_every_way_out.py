"""Every text of the program that suggests an option or a command is typed and helps, or it is said why not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch

from mapper.cli.entry import run
from tests.cli.suggestions import suggestions
from tests.cli.test_ways_out import CODE, SHAPE, TOO_LARGE, Change, without

Capture = pytest.CaptureFixture[str]
NIR = Path(__file__).resolve().parents[1] / "data" / "reading"


def also(text: str) -> Change:
    """The words and these: what a suggestion with a placeholder means here."""
    return lambda words, _: [*words, *shlex.split(text)]


def changed(old: str, new: str) -> Change:
    return lambda words, _: [word.replace(old, new) for word in words]


def other(text: str) -> Change:
    """Another command, which the suggestion names."""
    return lambda _, __: shlex.split(text)


BIASES = """
from torch import nn
def net():
    made = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())
    made[0].bias.data.fill_(0.5)
    return made
"""
SIMULATE = ["simulate", "config.json", "--events"]
BIASED = ["emit", "biased.py:net", *SHAPE, "--relu-as-if", "1", "--no-self-test", "--out", "biased"]
REPORT = ["report", "digits", "--chip", "speck2f", "--workers", "1", "--repairs-for", "none"]

# By what the source says, what is typed and its status, what becomes of the words, and what they end with then.
SAID: dict[str, tuple[list[str], int, Change, int]] = {
    "{} to {}; mapper explain lists them": (["explain", "M999"], 2, other("explain"), 0),
    "Did you mean --chip {}?": (
        ["verify", "digits", "speck2e", "--steps", "2"], 2, lambda words, _: [*words[:2], "--chip", *words[2:]], 0,
    ),
    "Give it as one: --chip {}": (
        ["check", "digits", "speck2e"], 2, lambda words, _: [*words[:2], "--chip", *words[2:]], 0,
    ),
    "Name the module, as net.py:Net, with --weights {}": (
        ["check", "weights.pth", *SHAPE, "--relu-as-if", "1"], 2,
        lambda words, _: [words[0], "net.py:rectified", *words[2:], "--weights", words[1]], 0,
    ),
    "Leave the batch out: --input-shape {}": (
        ["check", "digits", "--input-shape", "32,1,8,8"], 2, changed("32,1,8,8", "1,8,8"), 0,
    ),
    "Give --input-shape {}{}": (
        ["check", "net.py:rectified", "--input-shape", "3,8,8", "--relu-as-if", "1"], 2, changed("3,8,8", "2,8,8"), 0,
    ),
    "mapper report --out DIR writes one": (["diff", "report/report.json", "digits"], 2, changed("digits", "report/report.json"), 0),
    "{}{} Help: {} --help": (["check", "digits", "--zzz"], 2, changed("--zzz", "--help"), 0),
    "Example: --pin conv2=5": (["check", "digits", "--pin", "conv2"], 2, changed("conv2", "conv2=5"), 0),
    "Example: --input sensor, or --input left=sensor --input right=host": (
        ["check", "digits", "--input", "camera"], 2, changed("camera", "sensor"), 0,
    ),
    "If you trust it, name all its networks again, and the options that they were read by: mapper report NETWORK... --resume FILE": (
        ["report", "--resume", "coded/report.json"], 2,
        other("report net.py:rectified --input-shape 2,8,8 --relu-as-if 1 --resume coded/report.json "
              "--chip speck2f --workers 1 --repairs-for none"), 0,
    ),
    "Name them too, and the options that they were read by, or write elsewhere: --out DIR": (
        ["report", "--chip", "speck2e", "--workers", "1", "--resume", "report/report.json"], 2, also("--out elsewhere"), 0,
    ),
    "{}, and --resume {} goes on with it": (REPORT, 2, also("--resume report/report.json"), 0),
    "--out {} writes over it, --out DIR elsewhere": (REPORT, 2, lambda words, found: [*words, "--out", found[1]], 0),
    "Name some, or --resume a report": (["report"], 2, also("--resume report/report.json"), 0),
    "goes with --what {} alone": (["widest", "digits", "--output", "fc"], 2, also("--what classes"), 0),
    "Did you mean --out {}?": (["solve", "digits", "there"], 2, lambda words, _: [*words[:2], "--out", words[2]], 0),
    "Write --no-{}": (
        ["check", "digits", "--fusion", "false"], 2, lambda words, _: [*words[:2], "--no-fusion"], 0,
    ),
    "Images and rasters are no events: mapper verify NETWORK --data FILE runs such": (
        [*SIMULATE, "samples.npz"], 2, other("verify digits --data samples.npz"), 0,
    ),
    "A chip is sought: --extends names the one whose limits and stages it has": (
        ["synthesize", "digits", "--chip", "speck2f"], 2, changed("--chip", "--extends"), 0,
    ),
    "The file stands alone: mapper chips check FILE": (
        ["chips", "check", "--chip", "next.toml"], 2, other("chips check next.toml"), 0,
    ),
    "mapper emit NETWORK --out DIR writes DIR/config.json for a network": (["simulate", "report/report.json", "--events", "events.csv"], 2, changed("report/report.json", "config.json"), 0),
    "biases are added by the slow clock, of which the configuration states no rate: emit with --step-us MICROSECONDS, "
    "the length of a time step; else simulate asks for --tick, deploy.py for --slow-clock": (
        BIASED, 0, also("--step-us 1000"), 0,
    ),
    "Leave --sensor out": (["emit", "digits", "--no-self-test", "--out", "out", "--sensor"], 2, without("--sensor"), 0),
    ", or let the network read the sensor: --input sensor": (
        ["emit", "digits", "--no-self-test", "--out", "out", "--sensor"], 2, also("--input sensor"), 0,
    ),
    "Raise --time-limit, or simulate less: fewer --steps, or a shorter recording": (
        ["verify", "digits", "--steps", "20000", "--time-limit", "0.5"], 3, lambda words, _: [*words[:2], "--steps", "2"], 0,
    ),
    "more input (--random 0.5, --steps 200), recorded --events, or --data of the task": (
        ["verify", "digits", "--steps", "2", "--random", "0.001"], 0, lambda words, _: [*words[:2], "--random", "0.5", "--steps", "200"], 0,
    ),
    "Raise the limit (--time-limit, --work-limit) or leave it out": (
        ["verify", "digits", "--steps", "2", "--work-limit", "1e-12"], 3, without("--work-limit", "1e-12"), 0,
    ),
    "Say what their unit is: --time-unit s|ms|us for a file": (
        [*SIMULATE, "seconds.csv"], 2, also("--time-unit s"), 0,
    ),
    "Sort them by time: --order sort": ([*SIMULATE, "back.csv"], 2, also("--order sort"), 0),
    "The clock started again at 2^32 µs, as it does every 71 minutes: let it go on with --unwrap": (
        [*SIMULATE, "again.csv"], 2, also("--unwrap"), 0,
    ),
    "Leave them out, and count them, with --drop-outside": ([*SIMULATE, "outside.csv"], 2, also("--drop-outside"), 0),
    "Leave such events out, and count them, with --drop-outside": (
        ["verify", "digits", "--events", "outside.csv"], 2, also("--drop-outside"), 0,
    ),
    "mapper simulate CONFIG --events FILE --traffic FILE writes one": (
        ["check", "digits", "--traffic", "report/report.json"], 2,
        other("simulate config.json --events events.csv --traffic rates.json"), 0,
    ),
    "Leave --resume out, or use --cache DIR, which keeps cells under all settings": (
        [*REPORT, "--resume", "report/report.json", "--objective", "capacity"], 2,
        lambda words, _: [*words[:-4], *words[-2:], "--cache", "cells", "--out", "out"], 0,
    ),
    "Ask for --what input|classes": (["widest", "one.yaml"], 2, also("--what classes"), 0),
    "is a placement, which solve writes: --keep takes it": (
        ["check", "placement.json"], 2, other("solve digits --keep placement.json"), 0,
    ),
    "is a report of networks on chips, which report writes: --resume and diff take it": (
        ["check", "report/report.json"], 2, other("diff report/report.json report/report.json"), 0,
    ),
    "Give both: --relu-as-if auto --calibrate SAMPLES": (
        ["check", "net.py:rectified", *SHAPE, "--relu-as-if", "auto"], 2, changed("auto", "1"), 0,
    ),
    "Give --input-shape C,H,W": (
        ["check", "net.py:rectified", "--relu-as-if", "1"], 2, also("--input-shape 2,8,8"), 0,
    ),
    "Add it to the file, or give --input-shape C,H,W": (["check", "open.yaml"], 2, also("--input-shape 2,8,8"), 0),
    "Leave --input-shape out": (
        ["check", str(NIR / "norse_iaf_nir104.nir"), "--input-shape", "9,9,9"], 2, without("--input-shape", "9,9,9"), 0,
    ),
    "Leave --input-shape out, or change the shape in the file": (
        ["check", "one.yaml", "--input-shape", "2,9,9"], 2, without("--input-shape", "2,9,9"), 0,
    ),
    "--from {}": (["check", str(NIR / "norse_iaf_nir104.nir")], 0, also("--from norse"), 0),
    "{} has no say: r is a gain here, not 1 / step (only --from spikingjelly has it so); the length of a time step in microseconds is --step-us": (
        ["check", str(NIR / "norse_iaf_nir104.nir"), "--from", "norse", "--dt", "1e-3"], 2, without("--dt", "1e-3"), 0,
    ),
    "leave --no-reading-check out": (
        ["check", "net.py:rectified", *SHAPE, "--relu-as-if", "1", "--no-reading-check"], 0, without("--no-reading-check"), 0,
    ),
    "--add-output-neuron 1.0 appends them": (
        ["check", "net.py:bare", *SHAPE], 2, also("--add-output-neuron 1.0"), 0,
    ),
    "mapper solve --out DIR writes one": (["solve", "digits", "--keep", "empty.json"], 2, changed("empty.json", "placement.json"), 0),
    "no repair of the network: {}; --repair chip changes the chip": (
        ["check", TOO_LARGE, "--chip", "speck2cmini", "--repair", "network"], 1, changed("network", "chip"), 1,
    ),
    "Partial: {} of {}; --resume goes on.": (
        ["report", "digits", "--chip", "speck2f", "--time-limit", "1e-9", "--out", "part"], 3,
        other("report --resume part/report.json --workers 1"), 0,
    ),
    "Is the first event of another clock, or the unit not µs? Count from it with --rebase, or cut it": (
        ["simulate", "config.json", "--tick", "1", "--no-rebase", "--events", "late.csv"], 2,
        lambda words, _: ["--rebase" if word == "--no-rebase" else word for word in words], 0,
    ),
    "There is one with {} (tried).": (
        ["synthesize", "digits", "--cores", "1..2", "--bias-words", "0"], 1,
        lambda _, found: ["synthesize", "digits", "--bias-words", "0", *shlex.split(found[1])], 0,
    ),
    "See `mapper chips schema`": (["chips", "check", "flat.toml"], 2, other("chips schema"), 0),
}  # fmt: skip


# Typed in `test_ways_out.py`, which takes the words from the message itself.
FOLLOWED = {
    " --time-limit {}",
    "--add-output-neuron 1.0 appends them",
    "--relu-as-if 1 makes it spiking neurons",
    "--plain, or what it stands for ({})",
    "mapper simulate CONFIG --events FILE --traffic rates.json measures it",
    "to decide it, leave --time-limit and --work-limit out, or raise them",
}
# Put together from variables: whether they are said only the words that are typed can tell.
PUT_TOGETHER = {
    "--from {}",
    "There is one with {} (tried).",
    "Raise the limit (--time-limit, --work-limit) or leave it out",
    "is a placement, which solve writes: --keep takes it",
    "is a report of networks on chips, which report writes: --resume and diff take it",
}
BOARD = "is said of a board, which tests have as a fake: tests/boards"
NO_STEP = "says what is, and suggests nothing"
UNTYPED: Mapping[str, str] = {
    "--no-{}": "is the name of a flag",
    "Nothing is monitored: emit the configuration with --monitor LAYER": BOARD,
    "nothing is monitored: emit the configuration with --monitor LAYER": BOARD,
    "If that is no answer: scripts/deploy.py --self-test says whether the board works": BOARD,
    "Emit it with --no-sensor for this test": BOARD,
    "Run the known-answer test: scripts/deploy.py config.json --self-test known_answer.json": BOARD,
    "cannot be run together with --data": BOARD,
    "Name a recording by --events, or samples by --data": BOARD,
    "Emit it with --monitor LAYER, once for each layer that is to be compared": BOARD,
    "is a known answer, which emit writes for deploy.py --self-test": BOARD,
    "Look at that layer's weights; --no-self-test asks for no such file": "goes with a fault of weights: tests/emit",
    "--open shows nothing: there is no placement": NO_STEP,
    "no --data": NO_STEP,
    "wall-clock limit of the whole sweep, kept within 20 %: cells that it cuts are left out, those that are decided by "
    "then are the same as without it, and --resume goes on": "is a line of help",
    "mapper solve NETWORK --chip {} places a network on it": "is typed in tests/explore/test_synthesize.py",
    "More of one cell says: mapper check NETWORK --chip CHIP": "goes with a fault of a cell: tests/explore/test_failures.py",
    "To decide these again: {} (with --workers 1 where memory was short).": "goes with the same faults",
    "Raise --time-limit or leave it out": "goes with limits of all kinds; tests/equivalence/test_time_limit.py",
    "Close other programs, or ask for less at once: fewer --workers, a smaller network": "takes all memory to be said",
    "Solve with --no-fusion, or leave this out": "goes with wishes that Python alone has: tests/emit",
    "Name one: --chip, --variant": "no command line names no chip",
    "--what width": "is the place that an error is about",
    "--objective balance": "is the place that an error is about",
    "states another input shape than --input-shape": "is the problem; the way out is typed",
    "--no-reading-check takes the network as it was read":
        "goes with modules that compute otherwise than they are read: tests/frontends",
    "or nn.ReLU with --relu-as-if 1": "takes another file of code",
    "export the network to NIR and say who wrote it (--from)": "takes another file of code",
    "--relu-as-if auto": "is the place that an error is about",
    "--data are the samples of --calibrate: thresholds that were found on them say little of others": NO_STEP,
    "check --input-shape, from which the sizes of all maps follow":
        "stands beside the change of code that mends it: tests/test_first_mistakes.py",
    "Run it with --ignore-lossy to leave that out": "goes with cores that emit never writes so: tests/sim",
    "Write one first: {} --out DIR; then name DIR/config.json": "is said in tests/cli/test_first_mistakes.py",
    "fewer spikes in (fewer --steps) and, against potentials far below 0, {}":
        "is followed in tests/equivalence/test_equivalence.py",
    "neurons with a lower bound (--v-min of NIR files, min_v_mem of sinabs)":
        "is followed in tests/equivalence/test_equivalence.py",
    "--add-output-neuron 1.0 appends them to an output layer": "is said to Python, which skipped the passes",
    "Use --fires-at reached, or scale weights and threshold down alike": "goes with thresholds of 2^15: tests/passes",
    "Give --tick MICROSECONDS, or emit with --step-us MICROSECONDS": "goes with biases that emit writes with a clock alone: tests/sim",
    "slow clock: the first event is at {} µs, {} ticks after 0. The clock starts with that event; to run those "
    "ticks first, say --no-rebase": "is typed with the span of ticks that it leads to",
    "the own limit of this search (any --time-limit or --work-limit replaces it)":
        "goes with searches of seconds: tests/test_why_not.py",
}  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that commands take, and of some that they do not."""
    folder = tmp_path_factory.mktemp("bench")
    with chdir(folder):
        Path("net.py").write_text(CODE, encoding="utf-8")
        torch.save({f"{layer}.weight": torch.full((2, 2, 3, 3), 0.5) for layer in (0, 2)}, "weights.pth")
        Path("biased.py").write_text(BIASES, encoding="utf-8")
        assert run(["solve", "digits", "--out", "."]) == 0
        assert run(["emit", "digits", "--no-self-test", "--out", "."]) == 0
        assert run([*REPORT, "--out", "report"]) == 0
        coded = ["report", "net.py:rectified", *SHAPE, "--relu-as-if", "1", *REPORT[2:]]
        assert run([*coded, "--out", "coded"]) == 0
        for name, times in TIMES.items():
            lines = (f"{time},{x},1,0" for time, x in times)
            Path(f"{name}.csv").write_text("\n".join(["t,x,y,p", *lines, ""]), encoding="utf-8")
        samples = np.random.default_rng(0).random((6, 1, 8, 8))
        np.savez("samples.npz", images=samples, labels=np.arange(6))
        Path("empty.json").write_text("{}", encoding="utf-8")
        Path("next.toml").write_text('extends = "speck2f"\n', encoding="utf-8")
        Path("flat.toml").write_text('name = "flat"\nlimits = 3\n', encoding="utf-8")
        layer = "- {name: a, conv: {features: 2, kernel: 3}, from: input}\n"
        Path("one.yaml").write_text(
            f"name: one\ninput: {{shape: [2, 6, 6]}}\nlayers:\n{layer}", encoding="utf-8"
        )
        Path("open.yaml").write_text(f"name: open\ninput: {{}}\nlayers:\n{layer}", encoding="utf-8")
    return folder


TIMES: Mapping[str, list[tuple[object, int]]] = {
    "events": [(0, 1), (5, 2)],
    "seconds": [(0.0, 1), (0.5, 2)],
    "back": [(9, 1), (5, 2)],
    "again": [(2**32 - 5, 1), (3, 2)],
    "outside": [(0, 1), (5, 99)],
    "late": [(2**50, 1), (2**50 + 5, 2)],
}


def pattern(said: str) -> str:
    """What is filled in is short: a search for it in a long text is over at once."""
    return re.sub(r"(\\\{\\\})+", "(.{1,200}?)", re.escape(" ".join(said.split())))


@pytest.mark.parametrize("said", SAID)
def test_what_is_suggested_helps(
    said: str, bench: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench)
    words, status, change, then = SAID[said]
    assert run(words) == status, capsys.readouterr()
    told = " ".join("".join(capsys.readouterr()).split())
    found = re.search(pattern(said), told)
    assert found, told
    typed = change(words, found)
    assert typed != words
    assert run(typed) == then, (typed, capsys.readouterr())
    assert not re.search(pattern(said), " ".join("".join(capsys.readouterr()).split())), typed


def test_every_suggestion_of_the_source_is_typed_or_said_why_not() -> None:
    known = {*SAID, *FOLLOWED, *UNTYPED}
    assert {*suggestions(), *PUT_TOGETHER} == known
    assert {*SAID} >= PUT_TOGETHER
    assert not {*SAID} & {*UNTYPED}
    assert not {*FOLLOWED} & {*UNTYPED}
