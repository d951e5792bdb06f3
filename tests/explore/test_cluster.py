"""A sweep on a Dask cluster of one scheduler and two workers, one of which is killed in the middle."""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from mapper.activity import heard_by
from mapper.deadline import Deadline
from mapper.errors import BackendMissingError, MapperWarning, OptionsError
from mapper.explore import cluster as cluster_module
from mapper.explore.sweep import Place, sweep
from tests.explore.reports import BARE, HERE, SMALL, TOO_LARGE, ZOO, sides

distributed = pytest.importorskip("distributed")
pytestmark = [
    # A busy machine takes so long to answer that it is said.
    pytest.mark.filterwarnings("ignore::mapper.errors.MapperWarning"),
    # Dask's own connections to what was killed are left to the collector.
    pytest.mark.filterwarnings(r"ignore:.*<socket\.socket:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings(r"ignore:unclosed <socket\.socket:ResourceWarning"),
]

# All parts of all clusters are forked from one process, which has imported what takes a second each time.
_FORKING = multiprocessing.get_context("forkserver")
_PRELOADED = ("distributed.cli.dask_scheduler", "distributed.cli.dask_worker", "mapper.explore.cell")


def part(kind: str, options: Sequence[str]) -> None:
    """What `dask scheduler` or `dask worker` does, in a process of its own that nobody hears."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    warnings.simplefilter("ignore")
    sys.argv = [kind, *options, "--no-dashboard"]
    import_module(f"distributed.cli.dask_{kind}").main()


@contextmanager
def running(kind: str, *options: str) -> Iterator[BaseProcess]:
    """A part of the cluster; ended whatever happens."""
    _FORKING.set_forkserver_preload(list(_PRELOADED))
    process = _FORKING.Process(target=part, args=(kind, options))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def stop(process: BaseProcess) -> None:
    """It stands still, and does not end."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)


def waited(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"no {what} within a minute")
        time.sleep(0.05)


def address_in(file: Path) -> str:
    """Where a scheduler is, by the file that it writes; empty until that is whole."""
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["address"])
    except (FileNotFoundError, json.JSONDecodeError):
        return ""


Cluster = tuple[str, list[BaseProcess]]


# A task each.
FEW: list[Path | str] = [SMALL, TOO_LARGE, "digits", ZOO.parents[2] / "mapper" / "data" / "example.yaml"]


@dataclass
class Started:
    """A scheduler on the loopback and its workers, which are there."""

    folder: Path
    stack: ExitStack
    port: str = "0"

    def start(self, workers: int = 2) -> None:
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        options = ("--host", "127.0.0.1", "--port", self.port, "--scheduler-file", str(file))
        self.scheduler = self.stack.enter_context(running("scheduler", *options))
        waited(lambda: bool(address_in(file)), "scheduler")
        self.address = address_in(file)
        self.port = self.address.rpartition(":")[2]
        more = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder))
        self.workers = [
            self.stack.enter_context(running("worker", self.address, *more)) for _ in range(workers)
        ]
        if workers:
            with distributed.Client(self.address, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=60)

    def kill(self, *processes: BaseProcess) -> None:
        for process in processes:
            process.kill()
            process.join()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    with ExitStack() as stack:
        yield Started(tmp_path, stack)
    # What is left over is found in this file, where it is expected.
    gc.collect()


@pytest.fixture
def cluster(started: Started) -> Cluster:
    """Address of a scheduler, and the processes of its two workers."""
    started.start()
    return started.address, started.workers


def test_what_workers_do_is_heard(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_ASK_SECONDS", 0.05)
    networks, variants = sides(FEW, ["speck2f", "speck2cmini"])
    said = list[str]()
    with heard_by(lambda now: said.append(str(now))):
        record = sweep(networks, variants, BARE, Place(scheduler=cluster[0]))
    assert record.complete
    cells = {f"{entry.row.name} on {chip.row.name}" for entry in networks for chip in variants}
    assert any(cell in text for text in said for cell in cells), said


def test_all_workers_are_gone(
    started: Started, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster_module, "_WORKER_SECONDS", 0.2)
    monkeypatch.setattr(cluster_module, "_ASK_SECONDS", 0.1)
    monkeypatch.setattr(cluster_module, "_FETCH_SECONDS", 0.1)
    started.start()
    place = Place(scheduler=started.address)
    networks, variants = sides(FEW, ["speck2f", "speck2cmini"])
    seen: list[int] = []

    def progress(done: int) -> None:
        seen.append(done)
        if len(seen) == 2:
            started.kill(*started.workers)

    part = sweep(networks, variants, BARE, place, progress=progress)
    failed = [cell for cell in part.cells if cell.is_failed]
    assert len(part.cells) == 8
    assert 0 < len(failed) < len(part.cells)
    assert not part.complete
    gone = f"The Dask cluster at {started.address} is gone: its scheduler told of no worker for 0.2 s"
    assert {str(cell.sentence).startswith(gone) for cell in failed} == {True}
    with pytest.raises(OptionsError, match=f"no worker, and got none .* `dask worker {started.address}`"):
        sweep(networks, variants, BARE, place)
    whole = sweep(networks, variants, BARE, HERE, resume=part)
    assert whole == sweep(networks, variants, BARE, HERE)
    told = capfd.readouterr()
    assert told.out + told.err == ""


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_killed_scheduler(
    comes_back: bool, started: Started, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if not comes_back:
        monkeypatch.setattr(cluster_module, "_CONNECT_SECONDS", 0.5)
    started.start()
    networks, variants = sides(FEW, ["speck2f", "speck2cmini"])
    seen: list[int] = []

    def progress(done: int) -> None:
        seen.append(done)
        if len(seen) == 2:
            started.kill(started.scheduler, *started.workers)
            if comes_back:
                started.start(1)

    record = sweep(networks, variants, BARE, Place(scheduler=started.address), progress=progress)
    failed = [cell for cell in record.cells if cell.is_failed]
    if comes_back:
        assert record == sweep(networks, variants, BARE, HERE)
    else:
        assert 0 < len(failed) < len(record.cells) == 8
        for cell in failed:
            assert "the connection to its scheduler ended" in str(cell.sentence)
            assert "no Dask scheduler answers" in str(cell.sentence)
    told = capfd.readouterr()
    assert told.out + told.err == ""


def test_what_dask_logs_is_kept_from_the_user() -> None:
    loggers = [logging.getLogger(f"distributed{part}") for part in ("", ".client", ".comm.core", ".core")]
    before = [logger.isEnabledFor(logging.ERROR) for logger in loggers]
    with cluster_module._quiet():
        assert not any(logger.isEnabledFor(logging.ERROR) for logger in loggers)
    assert [logger.isEnabledFor(logging.ERROR) for logger in loggers] == before == [True] * 4


def test_a_scheduler_that_stands_still(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_WORKER_SECONDS", 0.2)
    monkeypatch.setattr(cluster_module, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(cluster_module, "_ASK_SECONDS", 0.1)
    started.start(1)

    def progress(done: int) -> None:
        if not done:
            stop(started.workers[0])
            monkeypatch.setattr(cluster_module, "_has_workers", stopped)

    has_workers = cluster_module._has_workers

    def stopped(client: object) -> bool:
        stop(started.scheduler)
        return has_workers(client)

    record = sweep(*sides([SMALL], ["speck2f"]), BARE, Place(scheduler=started.address), progress=progress)
    assert "told of no worker" in str(record.cells[0].sentence)


def test_a_killed_worker_loses_nothing(cluster: Cluster) -> None:
    address, workers = cluster
    networks, variants = sides(sorted(ZOO.glob("*.yaml")), ["speck2f", "speck2cmini", "dynapcnn"])
    seen: list[int] = []

    def progress(done: int) -> None:
        seen.append(done)
        if len(seen) == 3:
            workers[0].kill()

    record = sweep(networks, variants, BARE, Place(scheduler=address), progress=progress)
    workers[0].join(timeout=30)
    assert workers[0].exitcode
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
    with (
        pytest.warns(MapperWarning, match=r"waiting for the Dask scheduler at tcp://127\.0\.0\.1:1 until"),
        pytest.raises(OptionsError, match="no Dask scheduler answers"),
    ):
        sweep(*sides([SMALL], ["speck2f"]), BARE, Place(scheduler="tcp://127.0.0.1:1"))
    with pytest.raises(OptionsError, match="no Dask scheduler answers"):
        sweep(*sides([SMALL], ["speck2f"]), BARE, Place(scheduler="nonsense://x"))


def test_dask_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BackendMissingError, match=r"dynapcnn-mapper\[cluster\]"):
        sweep(*sides([SMALL], ["speck2f"]), BARE, Place(scheduler="tcp://127.0.0.1:1"))
