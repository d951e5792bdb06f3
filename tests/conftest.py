"""Which tests belong to this environment, and what they expect of it."""

from __future__ import annotations

import copy
import functools
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pydantic
import pytest
from cyclopts.argument import ArgumentCollection
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

# Files of many cases, or of cases that take long: enumerations, random instances, whole processes.
LONG = (
    "explore/test_synthesize.py",
    "explore/test_cluster.py",
    "guide/test_pages.py",
    "malformed/test_machine_faults.py",
    "malformed/test_corpus.py",
    "emit/test_divided.py",
    "test_offers.py",
    "explore/test_widest.py",
    "cli/test_search_path.py",
    "explore/test_curves.py",
    "sim/test_compiling.py",
    "cli/test_ends.py",
    "sim/test_solved.py",
    "property/test_divided.py",
    "cli/test_options.py",
    "malformed/test_odd_paths.py",
    "boards/test_reset.py",
    "tuning/test_tuning.py",
    "sim/test_divided.py",
    "question/test_fits.py",
    "equivalence/test_equivalence.py",
    "cli/test_ctrl_c.py",
    "malformed/test_inputs.py",
    "test_inert.py",
    "boards/test_deploy_form.py",
    "property/test_questions.py",
    "explore/test_sweep.py",
    "frontends/test_torch_reading.py",
    "test_why_not.py",
    "question/test_limits.py",
    "passes/test_legal_forms.py",
    "malformed/test_short_of.py",
    "tuning/test_scripts.py",
    "question/test_bounds.py",
    "test_structure.py",
    "property/test_why_not.py",
    "cli/test_cli.py",
    "report/test_placement_page.py",
    "sim/test_pipeline.py",
    "malformed/test_event_files.py",
    "sim/test_event.py",
    "malformed/test_aedat4.py",
    "question/test_pruned.py",
    "report/test_notebook.py",
    "explore/test_keeping.py",
    "passes/test_legalize.py",
    "property/test_offers.py",
    "boards/test_orders.py",
    "test_moves.py",
    "property/test_brute_force.py",
    "frontends/test_nir_origins.py",
    "explore/test_time_limit.py",
    "malformed/test_fuzz.py",
    "explore/test_failures.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Workers take files in the order of collection: xdist would give those of many tests first."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_finish() -> None:
    """Modules and tests live as long as the worker: looking for garbage among them would take a tenth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Nothing watches a test that is marked no_cover.

    pytest-cov starts two measurements in a worker of xdist. Where the mark pauses one, the other goes on: its numbers
    are thrown away, its time is not.
    """
    if item.get_closest_marker("no_cover") is None:
        return (yield)
    watching, watching_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(watching)
        threading.settrace(watching_threads)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first, or one worker would end long after the others."""
    folder = Path(__file__).parent
    ranks = {folder / name: rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(scope="session", autouse=True)
def _commands_described_once() -> Iterator[None]:
    """What a command takes is found from its signature once for all tests, which ask a thousand times.

    A user's process asks once. Words are still parsed, converted and validated for each test.
    """
    described: Callable[..., ArgumentCollection] = ArgumentCollection._from_callable
    known: list[tuple[tuple[Any, ...], ArgumentCollection]] = []

    def from_callable(
        function: object, *parameters: object, reserved: Iterable[str] = (), **more: Any
    ) -> ArgumentCollection:
        key = (function, parameters, tuple(reserved), more)
        for entry, collection in known:
            if entry == key:
                return _untouched(collection)
        collection = described(function, *parameters, reserved=key[2], **more)
        known.append((key, _untouched(collection)))
        return collection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArgumentCollection, "_from_callable", from_callable)
        patch.setattr(pydantic, "TypeAdapter", functools.cache(pydantic.TypeAdapter))
        yield


def _untouched(collection: ArgumentCollection) -> ArgumentCollection:
    """A copy in which no word is parsed yet, since the original is as it was described."""
    copies = {id(argument): copy.copy(argument) for argument in collection}
    for argument in copies.values():
        argument.tokens = list(argument.tokens)
        argument.children = copy.copy(argument.children)
        argument.children[:] = [copies[id(child)] for child in argument.children]
    found = copy.copy(collection)
    found[:] = copies.values()
    return found
