"""Which tests belong to this environment, and what they expect of it."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec

from hypothesis import HealthCheck, settings

# The comparisons with sinabs have an environment of their own, see .ci/run.
collect_ignore = [] if find_spec("sinabs") else ["sinabs"]

# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Small tensors take longer on several threads, and much longer where other workers compute too: torch reads this
# when it is imported, and so do the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine draws slowly: that says nothing of a test.
settings.register_profile("quiet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quiet")
