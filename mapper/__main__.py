"""``python -m mapper``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit status."""
    from mapper.cli.entry import run  # noqa: PLC0415  # keeps `import mapper.__main__` light

    sys.exit(run())


if __name__ == "__main__":
    main()
