"""Names that messages and the guide write as `mapper.part.name` are there after `import mapper` alone."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mapper

PACKAGE = Path(mapper.__file__).parent
_DOTTED = re.compile(r"(?<![\w.])mapper((?:\.[A-Za-z_]\w*){2,})")
_RESOLVED = """
import mapper, sys
for name in sys.argv[1:]:
    value = mapper
    for part in name.split("."):
        value = getattr(value, part)
"""


def _written() -> Iterator[str]:
    """Dotted names of messages, and of the guide outside of imports."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            # A text without a space is the name of a module, for whoever loads it.
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
            if isinstance(node, ast.Constant) and is_text and id(node) not in docs:
                yield from (match[1] for match in _DOTTED.finditer(str(node.value)))
    for path in (PACKAGE / "guide").glob("*.md"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "import" not in line:
                yield from (match[1] for match in _DOTTED.finditer(line))


def test_what_is_written_is_there() -> None:
    names = sorted({name[1:] for name in _written() if not name.endswith(".py")})
    assert "equivalence.read_labelled" in names
    assert len(names) > 5
    done = subprocess.run(
        [sys.executable, "-c", _RESOLVED, *names], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
