"""The tree of commands: help, options, usage errors, completion."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from cyclopts import App
from cyclopts.argument import Argument

from mapper.cli import completion
from mapper.cli.app import app
from mapper.cli.entry import run
from mapper.cli.examples import EXAMPLES
from mapper.cli.options import Chip, Moves, Reading, Requests, keywords
from mapper.options import SolveOptions

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]


def commands(tree: App = app, chain: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """Every command with the words that call it; the help flags are none."""
    for name in tree:
        if name not in tree.help_flags:
            command = tree[name]
            yield (*chain, name), command
            yield from commands(command, (*chain, name))


def arguments(command: App) -> list[Argument]:
    return (
        list(command.assemble_argument_collection().filter_by(show=True)) if command.default_command else []
    )


def is_flag(argument: Argument) -> bool:
    return argument.is_flag() or bool(argument.negatives)


def sample(argument: Argument) -> tuple[list[str], str]:
    """Words that give an argument a value other than its default, and that value as text."""
    if is_flag(argument):
        *_, word = argument.names
        return [word], str(not word.startswith("--no-"))
    value = (argument.get_choices() or ("3",))[-1]
    return [value] if argument.index is not None else [argument.name, value], value


def values_of(bound: inspect.BoundArguments) -> dict[str, str]:
    """By field, the values of all groups as text; of several values the only one."""
    values: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        values |= vars(value) if is_dataclass(value) else {name: value}
    alone = {
        name: value[0] if isinstance(value, tuple) else value for name, value in values.items() if value != ()
    }
    return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in alone.items()}


TREE = list(commands())
LEAVES = [(chain, command) for chain, command in TREE if command.default_command is not None]
by_chain = pytest.mark.parametrize(
    ("chain", "command"), LEAVES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)


def test_the_commands() -> None:
    names = {" ".join(chain) for chain, _ in TREE}
    jobs = "solve check emit verify simulate report diff synthesize widest tune explain schema devices run doctor chips"
    assert names == {
        *jobs.split(),
        *(f"chips {name}" for name in ("list", "show", "check", "schema")),
        *("--version", "--show-completion", "--install-completion"),
    }


@pytest.mark.no_cover
@by_chain
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_command(chain: tuple[str, ...], command: App, flag: str, capsys: Capture) -> None:
    assert run([*chain, flag]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: mapper {' '.join(chain)} [OPTIONS]")
    for group in command.assemble_argument_collection().filter_by(show=True).groups:
        assert f"\n{group.name}:\n" in text
    for argument in arguments(command):
        for name in argument.names:
            assert name.lstrip("-").upper() in text.upper()
        assert argument.parameter.help, argument.name


@by_chain
def test_every_option_tells_its_form_and_its_default(
    chain: tuple[str, ...], command: App, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*chain, "--help"]) == 0
    flat = " ".join(capsys.readouterr().out.split()).replace("core[5]", "core 5")
    for argument in arguments(command):
        if argument.index is not None or is_flag(argument):
            continue
        form = "|".join(argument.get_choices() or ()) or argument.parameter.metavar
        assert form, argument.name
        _, _, rest = flat.partition(f"{argument.name} {form} {argument.parameter.help}"[:40])
        note = rest.partition("]")[0]
        assert any(word in note for word in ("default:", "required", "repeatable")), argument.name


def valued(command: App) -> list[Argument]:
    """Options that take a value that is none of a few words."""
    named = (argument for argument in arguments(command) if argument.index is None)
    return [a for a in named if not is_flag(a) and not a.get_choices()]


@pytest.mark.no_cover
@by_chain
def test_every_value_has_an_example_that_can_be_typed(
    chain: tuple[str, ...], command: App, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    assert run([*chain, "--help"]) == 0
    flat = " ".join(capsys.readouterr().out.split())
    operands = [word for a in arguments(command) if a.index is not None for word in sample(a)[0]]
    required = [a for a in arguments(command) if a.index is None and a.required]
    for argument in valued(command):
        for text in EXAMPLES[argument.name].split(" or "):
            assert f"{argument.name} {text}" in flat.replace('"', ""), argument.name
            words = [word for a in required if a.name != argument.name for word in sample(a)[0]]
            parsed, bound, _ = app.parse_args([*chain, *operands, *words, argument.name, text])
            assert parsed is command.default_command
            given = values_of(bound)[argument.field_info.name]
            assert given in (text, f"{float(text):g}" if is_number(text) else text), argument.name


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_examples_are_of_options_that_there_are() -> None:
    assert {name for name in EXAMPLES if name.startswith("--")} == {
        argument.name for _, command in LEAVES for argument in valued(command)
    }


def test_the_groups_of_solve(capsys: Capture) -> None:
    assert run(["solve", "-h"]) == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if line.endswith(":") and line[0] != " "]
    groups = "Arguments Chip Network Requests Preferences Moves Limits Output Help"
    assert titles == [f"{name}:" for name in groups.split()]


# Options that mean different things in different commands.
HOMONYMS = {
    "--chip": "one chip, or those of a report",
    "--objective": "of a placement, or of the cells of a report",
    "--open": "a placement, or the page of a report",
    "--workers": "threads of the solver, or processes of a report",
    "--time-limit": "of one answer, whose bytes it may change, or of a sweep, none of whose cells it changes",
    "--seed": "of random spikes, of a random order, or of samples",
    "--traffic": "read, or written by simulate",
    "--input": "where a network's inputs come from, or which input takes the events",
    "--out": "a folder, or the file of a completion script",
    "--data": "of labelled samples, or of samples for a board, with labels or without",
}


def test_an_option_is_declared_once() -> None:
    declared: dict[str, set[Any]] = defaultdict(set)
    for _, command in LEAVES:
        for argument in arguments(command):
            parameter = argument.parameter
            if argument.index is None:
                declared[argument.name].add(
                    (argument.names, parameter.help, parameter.metavar, argument.get_choices())
                )
    several = {name for name, forms in declared.items() if len(forms) > 1}
    assert several == set(HOMONYMS)
    assert len(declared) > 60


def test_commands_take_a_handful_of_groups() -> None:
    for chain, command in LEAVES:
        roots = command.assemble_argument_collection()._root_arguments
        assert len(list(roots)) <= 9, chain


@pytest.mark.no_cover
@by_chain
def test_every_option_is_taken(chain: tuple[str, ...], command: App) -> None:
    """Groups inherit from one another across modules: that their annotations resolve shows only in use."""
    every = arguments(command)
    samples = {argument.field_info.name: sample(argument) for argument in every}
    required = [argument.field_info.name for argument in every if argument.required]
    defaults = values_of(
        app.parse_args([*chain, *(word for name in required for word in samples[name][0])])[1]
    )
    parsed, bound, _ = app.parse_args([*chain, *(word for words, _ in samples.values() for word in words)])
    assert parsed is command.default_command
    assert len(samples) == len(every)
    assert {name: values_of(bound)[name] for name in samples} == {
        name: text for name, (_, text) in samples.items()
    }
    assert all(defaults.get(name) != text for name, (_, text) in samples.items() if name not in required)


USAGE = [
    (["solve"], ["NETWORK... is missing", "digits"]),
    (["solve", "digits", "--nonsense"], ["--nonsense"]),
    (["solve", "digits", "--time-limt", "3"], ["--time-limt", "Did you mean --time-limit?"]),
    (["solve", "digits", "--time-limit"], ["--time-limit needs a value", "SECONDS"]),
    (["solve", "digits", "--time-limit", "soon"], ["--time-limit", '"soon" is no number']),
    (["solve", "digits", "--time-limit", "none"], ["--time-limit", '"none" is no number']),
    (["solve", "digits", "--max-pieces", "1.5"], ["--max-pieces", '"1.5" is no whole number']),
    (["solve", "digits", "--workers", "0x10"], ["--workers", '"0x10" is no whole number']),
    (
        ["solve", "digits", "--objective", "beauty"],
        ["--objective", "beauty", "capacity", "headroom", "balance", "index"],
    ),
    (["solve", "digits", "--pooled-outputs", "hots"], ['Did you mean "host"?']),
    (["solve", "digits", "--out", "--json"], ["--out needs a value"]),
    (["solve", "digits", "--no-json"], ["--no-json"]),
    (["solve", "digits", "--empty-pin"], ["--empty-pin"]),
    (["check", "digits", "-x"], ["-x"]),
    (["emit", "digits"], ["--out is missing (DIR)"]),
    (["run", "config.json", "--events", "e.npy"], ["--device is missing"]),
    (["run", "config.json", "more", "--device", "d", "--events", "e.npy"], ["Unexpected argument: more"]),
    (["diff", "one"], ["RIGHT is missing"]),
    (["dance"], ["dance", "solve"]),
    (["dance", "--help"], ["dance"]),
    (["solv", "digits"], ["Did you mean mapper solve digits?"]),
    (["chips", "sho", "speck2f"], ["Did you mean mapper chips show speck2f?"]),
    (["--show-completion", "ksh"], ["ksh", "bash", "zsh", "fish"]),
]


@pytest.mark.parametrize(("words", "parts"), USAGE, ids=lambda value: " ".join(value))
def test_a_usage_error_is_one_line_and_exit_2(words: list[str], parts: list[str], capsys: Capture) -> None:
    assert run(words) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("Error: ")
    assert shown.err.count("\n") == 1
    assert shown.err.rstrip().endswith("--help")
    assert all(part in shown.err for part in parts), shown.err
    assert ("--json" in words) == bool(shown.out)


def test_a_usage_error_as_json(capsys: Capture) -> None:
    assert run(["solve", "digits", "--reset", "maybe", "--json"]) == 2
    record = json.loads(capsys.readouterr().out)
    assert (record["schema_version"], record["error"]) == (1, "OptionsError")
    assert "maybe" in record["message"]


@pytest.mark.parametrize(("words", "usage"), [([], "mapper"), (["chips"], "mapper chips")])
def test_no_command_is_a_usage_error_that_shows_the_help(
    words: list[str], usage: str, capsys: Capture
) -> None:
    assert run(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"Usage: {usage} [OPTIONS] COMMAND\n")


def requests(*words: str) -> tuple[Any, ...]:
    """Networks, requests and moves of a call of solve."""
    _, bound, _ = app.parse_args(["solve", *words])
    arguments = bound.arguments
    return arguments["networks"], arguments.get("requests", Requests()), arguments.get("moves", Moves())


def test_values_may_begin_with_a_hyphen_and_names_with_anything() -> None:
    _, made, moves = requests(
        *("digits", "--pin", "-1=0", "--pin", "a=b=3", "--pin=-2=1", "--monitor", "-1", "--monitor", "#3"),
        *("--readout", "-2", "--no-relays", "--no-copies", "--forbid", "0,1"),
    )
    assert made.pins == ("-1=0", "a=b=3", "-2=1")
    assert made.monitors == ("-1", "#3")
    assert made.readout == "-2"
    assert moves == Moves(relays=False, copies=False)
    words = keywords(Chip(), Reading(), made, moves)
    solve_options = words["options"]
    assert solve_options.pins == (("-1", 0), ("a=b", 3), ("-2", 1))
    assert (solve_options.max_copies, solve_options.relays, solve_options.forbidden_cores) == (
        1,
        False,
        (0, 1),
    )


def test_plain_takes_all_moves_away() -> None:
    options = keywords(Chip(), Reading(), requests("digits", "--plain")[2])["options"]
    assert options == SolveOptions(
        max_pieces=1, relays=False, joint=False, max_copies=1, fusion=False, rewrites=False
    )


def test_networks_may_stand_between_options_and_none_is_a_name() -> None:
    networks, made, moves = requests("a", "--readout", "none", "b", "--relays", "--max-pieces=2", "--", "-c")
    assert networks == ("a", "b", "-c")
    assert made.readout == "none"
    assert (moves.relays, moves.max_pieces) == (True, 2)
    assert requests("a", "--max-pieces", "2", "--max-pieces", "3")[2].max_pieces == 3


def test_version(capsys: Capture) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mapper 0.")


@pytest.mark.parametrize("words", [["--help"], ["solve", "--help"], ["chips", "-h"], ["--version"]])
def test_help_loads_nothing_but_the_parser(words: list[str]) -> None:
    heavy = ["numpy", "pydantic", "ortools", "torch", "nir", "h5py", "samna", "rich"]
    code = (
        f"import sys; from mapper.cli.entry import run; run({words});"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# A test puts what is made here once in the place of this method.
GENERATE = App.generate_completion


@cache
def script(shell: Literal["bash", "zsh", "fish"]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(App, "generate_completion", GENERATE)
        return completion.script(app, shell)


@pytest.mark.no_cover
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: Literal["bash", "zsh", "fish"], capsys: Capture) -> None:
    assert run(["--show-completion", shell]) == 0
    text = capsys.readouterr().out
    assert text == script(shell)
    # What of the parser's script is replaced is in it.
    made = GENERATE(app, shell=shell)
    assert all(old in made and old not in text for old, _ in completion._REPLACED.values() if old in made)
    assert (shell in completion._REPLACED) == any(old in made for old, _ in completion._REPLACED.values())
    for word in ("solve", "synthesize", "chips", "objective", "headroom", "no-relays"):
        assert word in text
    assert "empty-pin" not in text


def test_installed_completion(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {shell: GENERATE(app, shell=shell) for shell in ("bash", "zsh", "fish")}
    monkeypatch.setattr(App, "generate_completion", lambda *_, **words: known[words["shell"]])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert run(["--install-completion", "bash"]) == 0
    path = Path(capsys.readouterr().out.removeprefix("written: ").partition(";")[0])
    assert path.is_relative_to(tmp_path)
    assert path.read_text(encoding="utf-8") == script("bash")
    rules = (tmp_path / ".bashrc").read_text(encoding="utf-8")
    assert str(path) in rules
    for shell in ("bash", "zsh", "fish"):
        other = tmp_path / "folder" / shell
        assert run(["--install-completion", shell, "--out", str(other)]) == 0
        assert other.is_file()
    assert (tmp_path / ".bashrc").read_text(encoding="utf-8") == rules
    assert run(["--install-completion", "fish", "--out", str(path / "x")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program by the name that users type, in a folder below one with networks."""
    folder = tmp_path_factory.mktemp("typed")
    for name in ("net.py", "nets/a.yaml", "nets/b.nir", "nets/c.txt", "a folder/d.nir", "bin/mapper"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("def make():\n    raise SystemExit('it was run')\n", encoding="utf-8")
    path = folder / "bin" / "mapper"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m mapper "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sol", ["solve"]),
        ("solve digits --mon", ["--monitor"]),
        ("solve digits --objective ", ["capacity", "headroom", "balance", "index"]),
        ("chips s", ["show", "schema"]),
        (
            "report --no-",
            [
                *("--no-reading-check", "--no-relays", "--no-joint", "--no-copies", "--no-fusion"),
                "--no-rewrites",
            ],
        ),
        ("solve digits --chip speck2f", ["speck2f", "speck2fmodule", "speck2fdevkit"]),
        ("chips show speck2cm", ["speck2cmini"]),
        ("explain M20", ["M201", "M202", "M203", "M204"]),
        ("check dig", ["digits"]),
        ("check ne", ["net.py", "nets/"]),
        ("check nets/", ["nets/a.yaml", "nets/b.nir"]),
        ("verify digits --calibrate digits-", ["digits-train"]),
        ("check digits --v-min t", ["threshold"]),
    ],
)
def test_bash_completes(line: str, offered: list[str], tmp_path: Path, program: Path) -> None:
    path = tmp_path / "script"
    path.write_text(script("bash"), encoding="utf-8")
    words = ["mapper", *line.split(" ")]
    code = (
        f"source {path}; COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1};"
        "_mapper; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    bash = shutil.which("bash") or "bash"
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [bash, "--norc", "-c", code],
        capture_output=True, text=True, check=True, cwd=program.parents[1], env=environment,
    )  # fmt: skip
    assert sorted(entry.strip() for entry in done.stdout.splitlines()) == sorted(offered)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mapper sol", "solve"),
        ("mapper solve digits --mon", "--monitor"),
        ("mapper chips s", "show"),
        ("mapper solve digits --chip speck2fm", "speck2fmodule"),
        ("mapper explain M20", "M204"),
        ("mapper check net.py:m", "net.py:make"),
        ('mapper check "net.py:m', "net.py:make"),
        ('mapper check "ne', "nets/"),
        ("mapper check a\\ f", "a folder/"),
    ],
)
def test_fish_completes(line: str, offered: str, tmp_path: Path, program: Path) -> None:
    path = tmp_path / "mapper.fish"
    path.write_text(script("fish"), encoding="utf-8")
    code = f"source {path}; complete -C '{line}'"
    words = [shutil.which("fish") or "fish", "--no-config", "-c", code]
    kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    environment = {"HOME": str(tmp_path), "PATH": f"{program.parent}:{os.environ['PATH']}", **kept}
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, cwd=program.parents[1], env=environment
    )
    assert offered in [entry.split("\t")[0] for entry in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["zsh", "bash", "fish"])
def test_the_scripts_are_sound(shell: Literal["bash", "zsh", "fish"], tmp_path: Path) -> None:
    """By the shell itself where it is installed, and by the commands that they know."""
    path = tmp_path / "script"
    path.write_text(script(shell), encoding="utf-8")
    if (program := shutil.which(shell)) is not None:
        assert subprocess.run([program, "-n", str(path)], check=False).returncode == 0
        path.write_text(script(shell) + "\nif '(\n", encoding="utf-8")
        assert subprocess.run([program, "-n", str(path)], capture_output=True, check=False).returncode != 0
    for chain, _ in LEAVES:
        assert chain[-1].lstrip("-") in script(shell)


def test_an_option_has_one_name_and_a_flag_its_opposite() -> None:
    """What lets a command line without repeated names go unread by `require_once`."""
    for chain, command in commands():
        for entry in command.assemble_argument_collection() if command.default_command else ():
            if entry.index is None and entry.names != ("*",):
                opposites = {f"--no-{entry.name.removeprefix('--')}"}
                assert set(entry.names) <= {entry.name} | opposites | {"-q", "-v"}, chain
