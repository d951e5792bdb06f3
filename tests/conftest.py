"""Which tests belong to this environment, and what they expect of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

# The comparisons with sinabs have an environment of their own, see .ci/run.
collect_ignore = [] if find_spec("sinabs") else ["sinabs"]

# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine draws slowly: that says nothing of a test.
settings.register_profile("quiet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quiet")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small tensors take longer on several threads of torch, and much longer where others compute too."""
    import torch  # noqa: PLC0415  # most tests need none

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
