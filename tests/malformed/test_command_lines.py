"""Command lines of the parser's own options, with values at extremes: one message, and never a fault."""

from __future__ import annotations

import os
from typing import Any

from cyclopts import App
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper.cli.app import app
from mapper.cli.words import _options
from tests.malformed.mutation import HOSTILE
from tests.malformed.test_fuzz import fuzz
from tests.malformed.workbench import Workbench

# Those that place and simulate, and those that say what is known. --install-completion writes where the
# user's shell looks; devices asks a library, which is another test's.
LEFT_OUT = {*app.help_flags, "chips", "devices", "--install-completion", "doctor"}
APPS: dict[tuple[str, ...], App] = {(name,): app[name] for name in app if name not in LEFT_OUT}
APPS |= {("chips", name): app["chips"][name] for name in app["chips"] if name not in app.help_flags}
COMMANDS = sorted(APPS)
# A cluster that does not answer is waited for.
OPTIONS = {
    words: [entry for entry in _options(command) if "--scheduler" not in entry.names]
    for words, command in APPS.items()
}
SOUND = [
    "digits",
    "net.yaml",
    "config.json",
    "events.npy",
    "placement.json",
    "report.json",
    "speck2f",
    "traffic.json",
]
NUMBERS = [
    "0",
    "-1",
    "1",
    "2",
    "1e-300",
    "1e400",
    "nan",
    "-inf",
    "1_0",
    "٣",
    "99999999999999999999",
    "1.5",
    "9" * 5000,
    "0x10",
    "1e3",
]
TEXTS = [text for text in HOSTILE if isinstance(text, str) and "\0" not in text and len(text) < 5000] + [
    os.fsdecode(b"\xff\xfe"), "x" * 300, "a,b", "1,8,8", "0..5", "5..0", "#0=3", "conv1=3", "core[5].kernel_words=128Ki",
    "core[0..99999999].kernel_words=1", "-core[0]", "routing.fan_out=[", "/dev/zero", "/dev/full", "/proc/self/mem", ".", "..", "/",
    "left=sensor", "=", "--", "-", "--json", "1Ki..64Ki", "0,1Ki", "1..9999999", "os:getcwd", "net.py:f", "net.yaml/x",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.sampled_from(SOUND), st.text(max_size=8)
)
LINES = st.tuples(
    st.sampled_from(COMMANDS),
    st.lists(st.one_of(st.sampled_from(SOUND[:4]), VALUES), max_size=2),
    st.lists(st.tuples(st.integers(0, 100), VALUES, st.booleans()), max_size=4),
)


def words_of(line: Any) -> list[str]:
    """A command, its operands, and options, some of them with a value that belongs to no flag."""
    command, operands, chosen = line
    words = [*command, *operands]
    for number, value, is_joined in chosen:
        option = OPTIONS[command][number % len(OPTIONS[command])] if OPTIONS[command] else None
        name = option.names[number % len(option.names)] if option else "--json"
        if option is not None and option.is_flag():
            words.append(name)
        else:
            words += [f"{name}={value}"] if is_joined else [name, value]
    return [word.replace("\0", "") for word in words]


@settings(fuzz)
@given(LINES)
def test_command_lines(bench: Workbench, line: Any) -> None:
    words = words_of(line)
    # What a run may take its time for is bounded by the user; the rest must be refused at once.
    if line[0][0] in ("solve", "check", "emit", "report", "verify", "widest", "synthesize"):
        words += ["--time-limit", "2"] if "--time-limit" not in " ".join(words) else []
    bench.run_words(words)
