"""Whole processes of the command line, in turn with an interpreter that only imports OR-Tools and NIR.

    python scripts/bench_processes.py [--quick]

`emit digits` is measured with an empty folder for what numba compiles, and once more with what it left there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark import Row, in_turn, options_of, tell, timed, users_environment

ROOT = Path(__file__).resolve().parent.parent
IMPORTS = "import ortools.sat.python.cp_model, nir"


def process(folder: Path, *words: str, cache: Path | None = None) -> None:
    """A process of this interpreter that writes into a folder."""
    kept = users_environment()
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH", "")]))
    environment = {**kept, "PYTHONPATH": path}
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    command = [sys.executable, *words]
    subprocess.run(command, check=True, capture_output=True, cwd=folder, env=environment)


def rows(*, is_quick: bool) -> list[Row]:
    """The figures."""
    with TemporaryDirectory() as name:
        folder, caches = Path(name), list[Path]()

        def mapped(*words: str) -> Callable[[], object]:
            return lambda: process(folder, "-m", "mapper", *words)

        def emit(*, is_first: bool) -> Callable[[], object]:
            def run() -> None:
                if is_first:
                    caches.append(folder / f"numba{len(caches)}")
                    caches[-1].mkdir()
                words = ("-m", "mapper", "emit", "digits", "--out", str(folder / "out"))
                process(folder, *words, cache=caches[-1])

            return run

        bare = "imports alone"
        works: dict[str, Callable[[], object]] = {
            bare: lambda: process(folder, "-c", IMPORTS),
            "solve digits": mapped("solve", "digits"),
            "check example.yaml": mapped("check", str(ROOT / "mapper" / "data" / "example.yaml")),
            "emit digits, first": emit(is_first=True),
            "emit digits, second": emit(is_first=False),
        }
        taken = in_turn(works, 3 if is_quick else 9)
    return [
        timed(f"process, {name}", spent, beside=bare, reference=taken[bare], is_checked=True)
        for name, spent in taken.items()
        if name != bare
    ]


def main() -> None:
    """Print one line a figure."""
    options = options_of(__doc__).parse_args()
    tell(rows(is_quick=options.quick), options)


if __name__ == "__main__":
    main()
