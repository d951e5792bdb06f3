"""Which tests belong to this environment."""

from __future__ import annotations

from importlib.util import find_spec

# The comparisons with sinabs have an environment of their own, see .ci/run.
collect_ignore = [] if find_spec("sinabs") else ["sinabs"]
