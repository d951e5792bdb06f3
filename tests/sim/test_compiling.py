"""Kernels run where nothing can be kept: no home, read-only packages, a damaged or full store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, warnings
warnings.simplefilter("error")
{before}
import numpy as np
from mapper.sim.kernels import sum_frames
sums = np.zeros(2, np.int64)
sum_frames(np.ones((3, 2), np.float32), sums)
print(sums.tolist())
"""
EVERYTHING = """
import pkgutil
from importlib import import_module
import mapper.sim
for module in pkgutil.iter_modules(mapper.sim.__path__, "mapper.sim."):
    import_module(module.name)
from mapper.cli.entry import run
assert run(["verify", "digits", "--steps", "20"]) == 0
"""
NOWHERE = "from numba.core import caching\ncaching.CacheImpl._locator_classes = []\ncaching.FunctionCache._impl_class._locator_classes = []"
FULL = "from numba.core import caching\ndef full(*_): raise OSError(28, 'full')\ncaching.IndexDataCacheFile.save = full"


def printed(before: str = "", **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        capture_output=True, text=True, cwd=ROOT, env=inherited | environment, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.strip()


def test_without_a_compiler() -> None:
    assert printed(NUMBA_DISABLE_JIT="1") == "[3, 3]"


@pytest.mark.parametrize("before", [NOWHERE, FULL], ids=["no place", "full"])
def test_without_a_place(before: str, tmp_path: Path) -> None:
    assert printed(before, HOME="/nonexistent", NUMBA_CACHE_DIR=str(tmp_path)) == "[3, 3]"


def test_a_damaged_store(tmp_path: Path) -> None:
    assert printed(NUMBA_CACHE_DIR=str(tmp_path)) == "[3, 3]"
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept, "it is kept where there is a place"
    for path in kept:
        path.write_bytes(path.read_bytes()[:60] + b"damaged")
    assert printed(NUMBA_CACHE_DIR=str(tmp_path)) == "[3, 3]"


def test_no_home_and_packages_that_cannot_be_written(tmp_path: Path) -> None:
    """A kernel would be refused as its module is imported: every one is, and a whole command runs."""
    for name in ("mapper", "hwspec"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    # What stands in the way of a folder stops the superuser as well.
    (tmp_path / "mapper" / "sim" / "__pycache__").touch()
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    lost = {"HOME": "/dev/null/nonexistent", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING + PROGRAM.format(before="")],
        capture_output=True, text=True, cwd="/", env=inherited | lost, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.strip().endswith("[3, 3]")
