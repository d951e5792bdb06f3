"""``python -m mapper``."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line and leave with its exit status."""
    # Imports make objects that live as long as the process: looking for garbage among them costs 5 to 10 %.
    gc.set_threshold(100_000)
    try:
        from mapper.cli.entry import run  # noqa: PLC0415  # keeps `import mapper.__main__` light
    except KeyboardInterrupt:
        print("Interrupted before anything was found.", file=sys.stderr)
        sys.exit(3)

    sys.exit(run())


if __name__ == "__main__":
    main()
