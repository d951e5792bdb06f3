"""The import direction of the design, read from the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from hwspec.schema import LayerLimits
from tests.conftest import LONG

ROOT = Path(__file__).resolve().parent.parent
ORDER = [
    "hwspec",
    "search_path",
    "process",
    "version",
    "asking",
    "errors",
    "arguments",
    "deadline",
    "wording",
    "activity",
    "files",
    "texts",
    "rules",
    "reading",
    "arrays",
    "by_value",
    "integers",
    "operations",
    "wellformed",
    "network",
    "own_shape",
    "normal_form",
    "references",
    "edits",
    "folding",
    "values",
    "kept",
    "options",
    "sim.network",
    "frontends",
    "passes",
    "core_classes",
    "work",
    "demand",
    "solution",
    "faults",
    "problem",
    "verify",
    "reasons",
    "result",
    "record",
    "solver",
    "answers",
    "question",
    "repairs",
    "emit",
    "events",
    "boards",
    "sim",
    "equivalence",
    "api",
    "tuning",
    "explore",
    "report",
    "compat",
    "cli",
]
# The reference simulation knows networks alone: what is left of the other simulators may run it.
APART = "sim.network"
# The lazy table of the package and its entry stand outside the order.
FREE = {"", "__main__", "data"}
FOREIGN = {
    "ortools": {"solver"},
    "samna": {"emit"},
    "torch": {"frontends", "sim", "compat"},
    "nir": {"frontends"},
    "sinabs": {"frontends", "compat"},
    "cyclopts": {"cli"},
    "rich": {"report", "cli"},
    "h5py": {"frontends"},
}
KEPT_APART = {
    "verify": {"work", "demand", "faults", "problem", "solver", "question"},
    "sim": {"passes", "frontends", "solver", "problem", "work", "demand", "question", "api"},
}


def modules() -> list[Path]:
    return sorted([*(ROOT / "mapper").rglob("*.py"), *(ROOT / "hwspec").rglob("*.py")])


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def walked(tree: ast.AST) -> tuple[ast.AST, ...]:
    """All nodes; each tree is asked about many things."""
    return tuple(ast.walk(tree))


def place(dotted: str) -> str:
    parts = dotted.split(".")
    if ".".join(parts[1:3]) == APART:
        return APART
    return "hwspec" if parts[0] == "hwspec" else (parts[1] if len(parts) > 1 else "")


def imported(path: Path) -> set[str]:
    """Modules imported at run time: imports under TYPE_CHECKING do not count."""
    tree = tree_of(path)
    skipped: set[int] = set()
    for node in walked(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped |= {id(inner) for inner in ast.walk(node)}
    found: set[str] = set()
    for node in walked(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def home(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "hwspec":
        return "hwspec"
    if ".".join(parts[1:]) == APART:
        return APART
    return "" if parts[1] == "__init__" else parts[1]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_left_only(path: Path) -> None:
    here = home(path)
    for name in imported(path):
        top = name.split(".")[0]
        if top in FOREIGN:
            assert here in FOREIGN[top], f"{path} imports {top}"
        if top not in ("mapper", "hwspec") or here in FREE:
            continue
        there = place(name)
        assert there in ORDER, f"{path} imports {name}"
        assert ORDER.index(there) <= ORDER.index(here), f"{path} imports {name}"
        assert there not in KEPT_APART.get(here, set()), f"{path} imports {name}"


@pytest.mark.parametrize("package", ["mapper", "hwspec"])
def test_a_bare_import_loads_no_third_party_package(package: str) -> None:
    code = (
        f"import sys; before = {{*sys.modules}}; import {package};"
        "print(sorted({name.partition('.')[0] for name in {*sys.modules} - before}"
        " - {*sys.stdlib_module_names, 'mapper', 'hwspec'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_neither_solver_nor_numpy() -> None:
    code = (
        "import sys; from mapper.cli.entry import run; run(['--help']);"
        "print([n for n in ['numpy', 'pydantic', 'ortools', 'torch', 'nir'] if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip().endswith("[]")


def test_files_that_begin_first_are_there() -> None:
    assert [name for name in LONG if not (ROOT / "tests" / name).is_file()] == []


def test_files_and_functions_stay_short() -> None:
    long = []
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            long.append(str(path))
        for node in walked(tree_of(path)):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 60:
                long.append(f"{path}:{node.name}")
    assert long == []


WORDS = {"kernel_words", "neuron_words", "bias_words"}
FACTS = {*LayerLimits.model_fields, *WORDS}


def called(tree: ast.AST, names: set[str]) -> Iterator[str]:
    """Calls of these functions, by their own name, an alias of it, or as an attribute of a module."""
    alias = {name: name for name in names}
    for node in walked(tree):
        if isinstance(node, ast.ImportFrom):
            alias |= {
                entry.asname: entry.name for entry in node.names if entry.asname and entry.name in names
            }
    for node in walked(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in alias:
                yield alias[name]


def words_computed(tree: ast.AST) -> Iterator[str]:
    """Calls of the word formulas of `hwspec.memory`."""
    return called(tree, WORDS)


def questions_prepared(tree: ast.AST) -> Iterator[str]:
    """Calls that turn a network and a chip into what is solved."""
    return called(tree, {"legal_forms", "legalize", "Problem"})


def facts_compared(tree: ast.AST) -> Iterator[str]:
    """Comparisons of a limit or memory of a core with something else, also by min and max of values."""
    for node in walked(tree):
        if isinstance(node, ast.Compare):
            is_comparison = not all(isinstance(kind, ast.Is | ast.IsNot) for kind in node.ops)
        else:
            is_comparison = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("min", "max")
        if is_comparison:
            # A call of min or max with one argument seeks among the facts of several cores.
            sides = [side for side in ast.iter_child_nodes(node) if isinstance(side, ast.expr)]
            sides = sides[1:] if isinstance(node, ast.Call) else sides
            facts = [
                [n.attr for n in ast.walk(side) if isinstance(n, ast.Attribute) and n.attr in FACTS]
                for side in sides
            ]
            if not all(facts):
                yield from (name for names in facts for name in names)


def imported_by_string(tree: ast.AST) -> Iterator[str]:
    """Imports of the project's own modules, or of whatever a variable names, by a string."""
    for node in walked(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__"):
                first = node.args[0] if node.args else None
                text = first.value if isinstance(first, ast.Constant) else None
                if not isinstance(text, str) or text.split(".")[0] in ("mapper", "hwspec", ""):
                    yield str(text) if text else ast.unparse(node)


def files_written(tree: ast.AST) -> Iterator[str]:
    """Files opened to be written, made under a name of their own, or put in another's place."""
    ways = {"mkstemp", "NamedTemporaryFile", "fdopen", "savez", "replace", "rename"}
    for node in walked(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            owner, _, name = ast.unparse(node.func).rpartition(".")
            modes = [
                w.value
                for w in (*node.args, *(k.value for k in node.keywords))
                if isinstance(w, ast.Constant)
            ]
            is_open = name == "open" and owner != "os" and any(str(m)[:1] in tuple("wax") for m in modes)
            is_way = (name in ways and owner in ("os", "tempfile", "np")) or name == "tofile"
            if is_open or is_way or (owner and name in ("write_text", "write_bytes")):
                yield name


def ways_out(tree: ast.AST) -> Iterator[str]:
    """Ends of the process."""
    for node in walked(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "sys.exit",
            "os._exit",
            "exit",
            "SystemExit",
        ):
            yield ast.unparse(node.func)


Finder = Callable[[ast.AST], Iterator[str]]

# What may be done in some places only, what it looks like, and the like of it that is anyone's.
PLACES: list[tuple[Finder, set[str], str, str]] = [
    (
        files_written,
        # The other one writes where a fault of this program is told.
        {"mapper/files.py", "mapper/process.py"},
        "path.write_text('x')",
        "files.place(file); write_text(path, 'x'); path.open('rb'); text.replace('a', 'b')",
    ),
    (
        ways_out,
        {"mapper/process.py", "mapper/__main__.py", "mapper/events/aedat4_child.py"},
        "sys.exit(1)",
        "exit_status(1)",
    ),
    (
        words_computed,
        {"mapper/work.py", "mapper/passes/legalize"},
        "from hwspec.memory import kernel_words as k; k(1, 1, 1, 1)",
        "work.kernel_words",
    ),
    (
        words_computed,
        {"mapper/work.py", "mapper/passes/legalize"},
        "from hwspec import memory; memory.neuron_words(1, 1, 1)",
        "row(neuron_words=1)",
    ),
    (
        facts_compared,
        {"mapper/work.py", "mapper/verify", "mapper/passes/legalize"},
        "limits = core.limits; height > 1 + limits.input_height_max",
        "str(limits.input_height_max)",
    ),
    (
        facts_compared,
        {"mapper/work.py", "mapper/verify", "mapper/passes/legalize"},
        "min(words, core.kernel_words)",
        "max(core.kernel_words for core in cores)",
    ),
    (
        questions_prepared,
        {"mapper/question.py", "mapper/passes/legalize"},
        "problem.Problem((network,), chip, options)",
        "problem: Problem",
    ),
    (
        questions_prepared,
        {"mapper/question.py", "mapper/passes/legalize"},
        "from mapper.passes.legalize import legal_forms as forms; forms(network, chip)",
        "problem.forms(network)",
    ),
    (
        imported_by_string,
        # The lazy tables; a factory that the user names; the vendor's module of a chip.
        {"mapper/__init__.py", "hwspec/on_demand.py", "mapper/frontends/target.py", "mapper/emit/samna.py"},
        "importlib.import_module('mapper.solver.plain')",
        "import_module('distributed')",
    ),
]


@pytest.mark.no_cover
@pytest.mark.parametrize(("find", "homes", "instance", "other"), PLACES)
def test_what_has_one_home_is_done_there_alone(
    find: Finder, homes: set[str], instance: str, other: str
) -> None:
    assert list(find(ast.parse(instance)))
    assert not list(find(ast.parse(other)))
    inside = {}
    for path in modules():
        relative = path.relative_to(ROOT).as_posix()
        if inner := sorted(set(find(tree_of(path)))):
            inside[relative] = inner
    outside = {path: inner for path, inner in inside.items() if not path.startswith(tuple(homes))}
    assert outside == {}
    assert all(any(path.startswith(home) for path in inside) for home in homes), "a home that is none"


def test_chips_know_no_mapper() -> None:
    names = {name for path in modules() if home(path) == "hwspec" for name in imported(path)}
    assert not any(name.split(".")[0] == "mapper" for name in names)


def test_documents_name_what_exists() -> None:
    recipes = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:mapper|hwspec|tests)/[\w./]*)`", recipes)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "mapper" / "README.md").read_text(encoding="utf-8"), re.M)
    names = [(name.rstrip("/"), row) for row in rows for name in re.findall(r"`([^`]+)`", row)]
    # In a row, what follows a part of a package is named by its own name: `solver/stages`, `budget`.
    named = set()
    for name, row in names:
        package = row.strip("`").partition("/")[0]
        choices = [ROOT / "mapper" / name, ROOT / "mapper" / package / name]
        existing = [path for path in choices if path.is_dir() or path.with_suffix(".py").is_file()]
        assert existing, f"{name} of mapper/README.md does not exist"
        named.add(existing[0].relative_to(ROOT / "mapper").parts[0])
    assert {*ORDER} - {"hwspec", APART} == named - {"guide", "data"}
