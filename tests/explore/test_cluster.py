"""A sweep on a Dask cluster of one scheduler and two workers, one of which is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mapper.deadline import Deadline
from mapper.errors import BackendMissingError, OptionsError
from mapper.explore import cluster as cluster_module
from mapper.explore.sweep import Place, sweep
from tests.explore.reports import BARE, HERE, SMALL, ZOO, sides

distributed = pytest.importorskip("distributed")

_LINES = "from distributed.cli.dask_{0} import main; main()"


@contextmanager
def running(kind: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A part of the cluster; ended whatever happens."""
    command = [sys.executable, "-W", "ignore", "-c", _LINES.format(kind), *options, "--no-dashboard"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def waited(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"no {what} within a minute")
        time.sleep(0.05)


Cluster = tuple[str, list[subprocess.Popen[bytes]]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Address of a scheduler on the loopback, and the processes of its two workers."""
    file = tmp_path / "scheduler.json"
    with ExitStack() as stack:
        stack.enter_context(
            running("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        )
        waited(file.exists, "scheduler")
        address = json.loads(file.read_text(encoding="utf-8"))["address"]
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path))
        workers = [stack.enter_context(running("worker", address, *options)) for _ in range(2)]
        with distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, workers


def test_a_killed_worker_loses_nothing(cluster: Cluster) -> None:
    address, workers = cluster
    networks, variants = sides(sorted(ZOO.glob("*.yaml")), ["speck2f", "speck2cmini", "dynapcnn"])
    seen: list[int] = []

    def progress(done: int) -> None:
        seen.append(done)
        if len(seen) == 3:
            os.kill(workers[0].pid, signal.SIGKILL)

    record = sweep(networks, variants, BARE, Place(scheduler=address), progress=progress)
    assert workers[0].wait(timeout=30) != 0
    assert len(seen) > 4
    assert record == sweep(networks, variants, BARE, HERE)


def test_a_task_that_is_given_up_is_an_error(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    address, _ = cluster
    monkeypatch.setattr(cluster_module, "_on_another_machine", _fails)
    record = sweep(*sides([SMALL], ["speck2f", "speck2cmini"]), BARE, Place(scheduler=address))
    assert [cell.verdict for cell in record.cells] == ["error", "error"]
    assert "gave this cell up, twice: MemoryError: of this test" in str(record.cells[0].sentence)


def _fails(*_: object) -> None:
    raise MemoryError("of this test")


def test_a_limit_does_not_wait_for_a_busy_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    address, _ = cluster
    asked = sides([SMALL], ["speck2f", "speck2cmini"])
    assert sweep(*asked, BARE, Place(scheduler=address, time_limit_s=1e6)) == sweep(*asked, BARE, HERE)
    monkeypatch.setattr(cluster_module, "_on_another_machine", _sleeps)
    for limit in (1e-9, 2.0):
        part = sweep(*asked, BARE, Place(scheduler=address, time_limit_s=limit))
        assert (part.cells, part.complete) == ((), False)


def _sleeps(*_: object) -> None:
    time.sleep(3600)


def test_another_machine_s_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Deadline] = []
    monkeypatch.setattr(cluster_module, "run_task", lambda _, deadline: seen.append(deadline))
    for left_s in (50.0, -1.0, float("inf")):
        cluster_module._on_another_machine(None, max(left_s, 60.0), left_s)  # type: ignore[arg-type]
    assert [deadline.is_reached for deadline in seen] == [False, True, False]


def test_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_CONNECT_SECONDS", 1)
    with pytest.raises(OptionsError, match="no Dask scheduler answers"):
        sweep(*sides([SMALL], ["speck2f"]), BARE, Place(scheduler="tcp://127.0.0.1:1"))
    with pytest.raises(OptionsError, match="no Dask scheduler answers"):
        sweep(*sides([SMALL], ["speck2f"]), BARE, Place(scheduler="nonsense://x"))


def test_dask_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BackendMissingError, match=r"dynapcnn-mapper\[cluster\]"):
        sweep(*sides([SMALL], ["speck2f"]), BARE, Place(scheduler="tcp://127.0.0.1:1"))
