"""The import direction of the design, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = [
    "hwspec",
    "version",
    "errors",
    "wording",
    "files",
    "display",
    "rules",
    "operations",
    "wellformed",
    "network",
    "normal_form",
    "references",
    "edits",
    "options",
    "frontends",
    "passes",
    "work",
    "demand",
    "solution",
    "faults",
    "problem",
    "verify",
    "result",
    "record",
    "solver",
    "question",
    "repairs",
    "emit",
    "events",
    "boards",
    "sim",
    "equivalence",
    "api",
    "explore",
    "report",
    "compat",
    "cli",
]
# The lazy table of the package and its entry stand outside the order.
FREE = {"", "__main__", "data"}
FOREIGN = {
    "ortools": {"solver"},
    "samna": {"emit"},
    "torch": {"frontends", "sim", "compat"},
    "nir": {"frontends"},
    "sinabs": {"frontends"},
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


def place(dotted: str) -> str:
    parts = dotted.split(".")
    return "hwspec" if parts[0] == "hwspec" else (parts[1] if len(parts) > 1 else "")


def imported(path: Path) -> set[str]:
    """Modules imported at run time: imports under TYPE_CHECKING do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped |= {id(inner) for inner in ast.walk(node)}
    found: set[str] = set()
    for node in ast.walk(tree):
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
def test_a_bare_import_loads_nothing_heavy(package: str) -> None:
    heavy = ["numpy", "pydantic", "ortools", "torch", "nir", "h5py", "samna", "rich", "cyclopts"]
    code = f"import sys, {package}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_neither_solver_nor_numpy() -> None:
    code = (
        "import sys; from mapper.cli.entry import run; run(['--help']);"
        "print([n for n in ['numpy', 'pydantic', 'ortools', 'torch', 'nir'] if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip().endswith("[]")


def test_files_and_functions_stay_short() -> None:
    long = []
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            long.append(str(path))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 60:
                long.append(f"{path}:{node.name}")
    assert long == []
