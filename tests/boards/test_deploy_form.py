"""The table of deploy.py says the same as the models of config.json, and refuses what has another form."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from pydantic import BaseModel

from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.ranges import FAMILY
from mapper.emit.shared.tensor import Tensor
from mapper.events import SYNONYMS, events_from, read_events
from tests.boards.cases import configured, deploy_script
from tests.stand_in.fake_boards import FakeBoards

SCRIPT = Path(__file__).parents[2] / "scripts" / "deploy.py"


def kind_of(form: Any) -> object:
    """What a form of the table is a form of, to be held against a field's type."""
    if isinstance(form, dict):
        return "record"
    if isinstance(form, list):
        return ("many", kind_of(form[0]))
    if hasattr(form, "allowed"):
        return Tensor
    if isinstance(form, tuple) and type(form[0]) is not int:
        return tuple(map(kind_of, form))
    if isinstance(form, range | tuple):
        return int
    if isinstance(form, str):
        return frozenset(form.split("|")) if "\\" not in form else str
    return form


def kind_of_type(annotation: Any) -> object:
    """The same of a field's type."""
    if get_origin(annotation) is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "record"
    if get_origin(annotation) is tuple:
        first, *others = get_args(annotation)
        if others == [Ellipsis]:
            return ("many", kind_of_type(first))
        return tuple(map(kind_of_type, (first, *others)))
    if get_origin(annotation) is Literal:
        values = get_args(annotation)
        return int if type(values[0]) is int else frozenset(values)
    if hasattr(annotation, "__metadata__"):
        return kind_of_type(annotation.__origin__)
    return annotation


def differences(model: type[BaseModel], form: dict[str, Any], where: str) -> Iterator[str]:
    """Where a table is not that of a model."""
    known = {name.rstrip("?"): name for name in form}
    yield from (f"{where}.{name}" for name in known.keys() ^ model.model_fields.keys())
    for name, field in model.model_fields.items():
        options = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not NoneType]
        is_optional = NoneType in get_args(field.annotation)
        annotation = options[0] if is_optional else field.annotation
        inner = form[known[name]]
        # For a chip that samna does not know there is nothing to be deployed.
        if is_optional != known[name].endswith("?") and name != "vendor":
            yield f"{where}.{name}: optional"
        if kind_of(inner) != kind_of_type(annotation):
            yield f"{where}.{name}: {kind_of(inner)} is not {kind_of_type(annotation)}"
        entry, deeper = annotation, inner
        while get_origin(entry) is tuple:
            entry, deeper = get_args(entry)[0], deeper[0]
        if isinstance(entry, type) and issubclass(entry, BaseModel):
            yield from differences(entry, deeper, f"{where}.{name}")


def test_the_table_has_the_fields_of_the_models(boards: FakeBoards) -> None:
    form = deploy_script(boards).CONFIG
    assert list(differences(ChipConfig, form, "")) == []
    # The comparison notices a field too many, one too few, another type and what need not be there.
    changed = {**form, "chip": bool, "more": str, "chip_hash?": str}
    del changed["chip_hash"], changed["schema_version"]
    with pytest.raises(KeyError):
        list(differences(ChipConfig, changed, ""))
    changed["schema_version"] = (1,)
    found = list(differences(ChipConfig, changed, ""))
    assert {text.partition(":")[0] for text in found} == {".more", ".chip", ".chip_hash"}


def test_the_table_states_the_same_ranges(boards: FakeBoards) -> None:
    script = deploy_script(boards)
    for name, allowed in FAMILY.items():
        form = script.CONFIG["hardware"]
        for part in name.split("."):
            form = form[0] if isinstance(form, list) else form
            form = form.get(part, form.get(f"{part}?"))
            assert form is not None, name
            form = form[0] if isinstance(form, list) else form
        known = getattr(form, "allowed", form)
        assert known == (allowed.only or range(allowed.low, allowed.high + 1)), name


def leaves(content: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of every field of a configuration; of lists the first entry stands for all."""
    if isinstance(content, dict):
        for name, inner in content.items():
            yield (*path, name)
            yield from leaves(inner, (*path, name))
    elif isinstance(content, list) and content:
        yield (*path, 0)
        yield from leaves(content[0], (*path, 0))


Damage = Callable[[Any, Any], None]


def removed(owner: Any, key: Any) -> None:
    del owner[key]


def put(value: Any) -> Damage:
    def change(owner: Any, key: Any) -> None:
        owner[key] = value

    return change


# No field holds any of these but by its type: a text is one, a list may be empty, a flag is a flag.
DAMAGES: dict[str, tuple[Damage, tuple[type, ...]]] = {
    "removed": (removed, ()),
    "a-text": (put("yes"), (str,)),
    "a-list": (put([]), (list,)),
    "a-half": (put(0.5), (float,)),
    "10-to-the-30": (put(10**30), (float,)),
    "true": (put(True), (bool,)),
    "null": (put(None), ()),
    "a-table": (put({}), ()),
}
# What may be left out: stages and flags that only some chips have, and what the host need not know.
MAY_BE_GONE = {
    "dvs_layer", "dvs_filter", "readout", "interface", "dt_us", "slow_clock_hz", "leak_internal_slow_clk_enable",
    "input_congestion_balancer_enable", "output_decimator_enable", "output_decimator_interval",
    "internal_slow_clk",
}  # fmt: skip


@pytest.fixture(scope="module")
def content() -> Any:
    config = configured(bias=True)
    return json.loads(json.dumps(config.model_dump(mode="json", exclude_none=True)))


@pytest.mark.no_cover
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_field_is_held_to_its_form(damage: str, content: Any, boards: FakeBoards) -> None:
    script, (change, types) = deploy_script(boards), DAMAGES[damage]
    content = json.loads(json.dumps(content))
    # The first core stands for all: it is one in use.
    cores = content["hardware"]["cnn_layers"]
    cores[:] = sorted(cores, key=lambda core: "weights" not in core)[:2]
    content["interface"]["slow_clock_hz"] = 1000.0
    script.held(content, script.CONFIG, "config")
    accepted = []
    for path in leaves(content):
        text = json.dumps(content)
        damaged = json.loads(text)
        owner = damaged
        for key in path[:-1]:
            owner = owner[key]
        if isinstance(owner[path[-1]], types or ()):
            continue
        if damage == "removed" and (path[-1] in MAY_BE_GONE or isinstance(owner, list)):
            continue
        change(owner, path[-1])
        try:
            script.held(damaged, script.CONFIG, "config")
            script.require_complete(damaged["hardware"]["cnn_layers"], True)
        except ValueError:
            continue
        accepted.append(path)
    assert accepted == []


@pytest.mark.parametrize("name", ["weights", "biases", "neurons_initial_value"])
def test_tensors_have_the_sizes_that_follow(name: str, content: Any, tmp_path: Path) -> None:
    """Flat, with an axis, a feature more or a feature fewer, and with as many numbers as they say."""
    number = next(n for n, core in enumerate(content["hardware"]["cnn_layers"]) if "weights" in core)
    script, path = deploy_script(), tmp_path / "config.json"
    right = content["hardware"]["cnn_layers"][number][name]["shape"]
    more, fewer = [right[0] + 1, *right[1:]], [right[0] - 1, *right[1:]]
    shapes = [[*right, 1], more, fewer] + ([[math.prod(right)]] if len(right) > 1 else [])
    for shape in shapes:
        damaged = json.loads(json.dumps(content))
        given = {"shape": shape, "values": f"0*{math.prod(shape)}"}
        damaged["hardware"]["cnn_layers"][number][name] = given
        path.write_text(json.dumps(damaged))
        with pytest.raises(SystemExit, match=rf"cnn_layers\[{number}\]\.{name}: .* dimensions say"):
            script.read(path)
    path.write_text(json.dumps(content))
    assert script.read(path) == content


# None tells whoever looks for samna that it is not there.
HIDDEN = (
    "import runpy, sys; sys.modules['samna'] = None; del sys.argv[0];"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def started(*words: str, stub: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The script by itself, without samna, or with the package in the folder `stub`."""
    start = ["-c", HIDDEN] if stub is None else []
    return subprocess.run(
        [sys.executable, *start, str(SCRIPT), *words],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(stub or "")},
        check=False,
    )


def test_without_samna(content: Any, tmp_path: Path) -> None:
    """One sentence and status 2, which is not that of a board that answers otherwise; files are checked before."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    words = [str(path), "--device", "speck2fmodule", "--slow-clock", "100"]
    (tmp_path / "samna").mkdir()
    (tmp_path / "samna" / "__init__.py").write_text("raise RuntimeError('this one starts pip')")
    for stub, what in ((None, "samna is not installed"), (tmp_path, "only the installer stub of samna")):
        done = started(*words, stub=stub)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"Error: {what}")
        assert "install the vendor's library" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["--device", "xylo:0"], "xylo:0"),
        (["--device", "speck2fmodule:x"], "speck2fmodule:x"),
        (["--device", "speck2fmodule"], "--slow-clock"),
        (["--device", "speck2fmodule", "--slow-clock", "0"], "0.0 Hz"),
        (["--device", "speck2fmodule", "--wait", "nan"], "--wait"),
        (["--device", "speck2fmodule", "--at-most", "-1"], "--at-most"),
        (["--device", "speck2fmodule", "--events", "none.npy"], "No such file"),
        (["--device", "speck2fmodule", "--self-test", "none.json"], "none.json"),
    ],
)
def test_what_is_wrong_is_said_before_samna_is_sought(
    words: list[str], word: str, content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(json.dumps(content))
    monkeypatch.setitem(sys.modules, "samna", None)
    monkeypatch.setattr(sys, "argv", ["deploy.py", "config.json", *words])
    try:
        status = deploy_script().exit_status()
    except SystemExit as end:
        status = end.code
    assert status == 2
    told = capsys.readouterr().err
    assert word in told
    assert "samna is not" not in told


def test_help_needs_no_samna() -> None:
    done = started("--help")
    assert done.returncode == 0
    assert "--self-test" in done.stdout


def test_a_crash_is_no_verdict(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    made = deploy_script()
    monkeypatch.setattr(made, "main", lambda: 1 // 0)
    assert made.exit_status() == 4
    assert "ZeroDivisionError" in capsys.readouterr().err
    monkeypatch.setattr(made, "main", lambda: 1)
    assert made.exit_status() == 1


def test_events_have_the_names_that_the_package_understands() -> None:
    """In any case of letters, and in the guide; extra fields are left out, two of one meaning refused."""
    made = deploy_script()
    assert dict(SYNONYMS) == made.SYNONYMS
    page = (Path(__file__).resolve().parents[2] / "mapper/guide/simulation.md").read_text(encoding="utf-8")
    for field, names in SYNONYMS.items():
        assert f"| `{field}` | {', '.join(f'`{name}`' for name in names)} |" in page
    for n in range(max(map(len, SYNONYMS.values()))):
        chosen = {field: names[min(n, len(names) - 1)] for field, names in SYNONYMS.items()}
        given = np.array([(5, 1, 2, 3), (6, 0, 1, 1)], [(name.upper(), "i4") for name in chosen.values()])
        assert events_from(given).tolist() == made.by_field(given)[["t", "p", "y", "x"]].tolist()
    more = np.zeros(2, [("t", "i4"), ("p", "i4"), ("y", "i4"), ("x", "i4"), ("trial", "i4")])
    assert made.by_field(more).dtype.names == ("t", "p", "y", "x")
    twice = np.zeros(2, [("t", "i4"), ("p", "i4"), ("y", "i4"), ("x", "i4"), ("pol", "i4")])
    with pytest.raises(ValueError, match="fields that mean the same as others: p"):
        made.by_field(twice)
    with pytest.raises(ValueError, match=r"by any of their names .p: p, feature"):
        made.by_field(np.zeros(2, [("t", "i4"), ("y", "i4"), ("x", "i4")]))


def test_events_of_other_files_are_read_by_the_package_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone the script says how the package makes a file of them that it reads, and names no unsafe way."""
    made, path = deploy_script(), tmp_path / "events.csv"
    path.write_text("ts,x,y,polarity\n0,1,2,0\n7,3,1,1\n", encoding="utf-8")
    monkeypatch.setattr(made, "input_of", lambda *_: {"source": "dvs"})
    read = made.recorded(path, {}, None)
    assert read.tolist() == read_events(path).tolist()
    (tmp_path / "wrong.csv").write_text("t,x,y,p\n0,1,1,-1\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="A polarity is 0 or 1 here") as wrong:
        made.recorded(tmp_path / "wrong.csv", {}, None)
    assert "\n" not in str(wrong.value)
    monkeypatch.setitem(sys.modules, "mapper.events", None)
    with pytest.raises(SystemExit) as refused:
        made.recorded(path, {}, None)
    monkeypatch.undo()
    assert "no .npy file of events" in str(refused.value)
    assert "pickle" not in str(refused.value)
    line = re.search("python -c '(.*)'", str(refused.value))
    assert line
    monkeypatch.chdir(tmp_path)
    exec(line[1])  # noqa: S102  # our own message
    monkeypatch.setattr(made, "input_of", lambda *_: {"source": "dvs"})
    assert made.recorded(Path("events.npy"), {}, None).tolist() == read.tolist()
