"""All samples of labelled data, in this process or on this machine's cores, with the same results."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mapper.activity import steps_of
from mapper.deadline import NEVER, Deadline
from mapper.equivalence.accuracy import Accuracy, Judgement, LostIn, table
from mapper.equivalence.exchange import (
    SAMPLES_MAX,
    lost_by_rounding,
    lost_by_spiking,
    lost_spike_by_spike,
)
from mapper.equivalence.judge import CHUNK, Judge, Judged, Source, Tally
from mapper.equivalence.labelled import LabelledData
from mapper.errors import NetworkError, TimeLimitError
from mapper.process import ended_by_ctrl_c, starting_workers, undisturbed, worker_processes
from mapper.wording import counted

__all__ = ["Scores", "scored", "tally"]

# Seconds that are still to come before workers are worth their start, which takes a few.
_WORTH_S = 30.0
# Chunks given out per worker: one under way, and the next without a pause.
_AHEAD = 2


@runtime_checkable
class _Expecting(Protocol):
    """Progress that shows how much is left."""

    def expect(self, total: int) -> None: ...


Chunk = tuple[int, Sequence[Any]]


@dataclass(frozen=True)
class Scores:
    """What labelled data shows.

    Attributes
    ----------
    accuracies
        The table, row by row.
    judgement
        All else; None where not a single sample was run.
    notes
        What the deadline or Ctrl-C left out, and other rows that are not there.
    is_complete
        Whether they left nothing out.
    is_interrupted
        Whether Ctrl-C came.
    """

    accuracies: tuple[Accuracy, ...] = ()
    judgement: Judgement | None = None
    notes: tuple[str, ...] = ()
    is_complete: bool = True
    is_interrupted: bool = False


def scored(
    judge: Judge,
    data: LabelledData | None,
    source: Source | None = None,
    *,
    workers: int | None = None,
    deadline: Deadline = NEVER,
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Run samples as `tally` does, and find the layer where most is lost where that is more than chance."""
    if data is None:
        return Scores()
    done = tally(judge, data, source, workers=workers, deadline=deadline, progress=progress)
    notes, is_complete = [], done.samples == len(data.labels)
    if not is_complete:
        left_out = f"{done.samples} of {counted(len(data.labels), 'sample was', 'samples were')} simulated"
        notes.append(f"labelled data: {left_out}; {done.stopped_by or deadline} came first")
    if done.source_failure:
        notes.append(f"the row of the source is left out: {done.source_failure}")
    if not done.samples:
        return Scores((), None, tuple(notes), is_complete, bool(done.stopped_by))
    answers, labels = done.final(), data.labels[: done.samples]
    lost_in: dict[str, LostIn] = {}
    rows = table(answers, labels, lost_in)
    for above, row in pairwise(rows):
        if row.difference is not None and row.difference.is_loss:
            was_lost = (answers[above.kind] == labels) & (answers[row.kind] != labels)
            is_left_out = True
            with ended_by_ctrl_c(done.interrupt), suppress(TimeLimitError):
                if not done.stopped_by:
                    found = _lost_in(judge, data, source, row.kind, was_lost, deadline)
                    lost_in |= {} if found is None else {row.kind: found}
                    is_left_out = False
            if is_left_out:
                came = done.stopped_by or deadline
                notes.append(f"where {row.kind} loses most was not found: {came} came first")
                is_complete = False
    accuracies, is_interrupted = table(answers, labels, lost_in), bool(done.stopped_by)
    return Scores(accuracies, done.judgement(data), tuple(notes), is_complete, is_interrupted)


def _lost_in(
    judge: Judge, data: LabelledData, source: Source | None, kind: str, was_lost: Any, deadline: Deadline
) -> LostIn | None:
    chosen = np.flatnonzero(was_lost)[:SAMPLES_MAX]

    def pause() -> None:
        deadline.check("layers were exchanged")

    if kind == "float":
        frames = [(data.frame(n), int(data.labels[n])) for n in chosen]
        steps = len(data.rasters[int(chosen[0])])
        is_analog = source is not None and source.is_analog
        return lost_by_spiking(judge.floating, frames, steps, pause) if is_analog else None
    samples = [(data.rasters[n], int(data.labels[n])) for n in chosen]
    if kind == "integer":
        return lost_by_rounding(judge.floating, judge.integer, samples, pause)
    if kind == "spikes":
        return lost_spike_by_spike(judge.integer, judge.config, samples, judge.dt_us, judge.options, pause)
    # Time steps are the integer network, or this program is at fault.
    return None


def tally(
    judge: Judge,
    data: LabelledData,
    source: Source | None = None,
    *,
    workers: int | None = None,
    deadline: Deadline = NEVER,
    progress: Callable[[int], None] | None = None,
) -> Tally:
    """Run samples until all are done or the deadline or Ctrl-C comes; those that are done are the first ones.

    Parameters
    ----------
    source
        What the network was read from, if it can be run; it runs in this process.
    workers
        Processes; 0 for this one alone, None for one a core where the first samples show that it is worth it.
    progress
        Called with the number of samples done; if it has a method `expect`, that with the number of all.
    """
    if isinstance(progress, _Expecting):
        progress.expect(len(data.labels))
    done, outcomes = Tally(data.labels), _outcomes(judge, data, workers, deadline)
    own: list[int] = []
    labelled = steps_of("labelled samples", len(data.labels))
    ends = ended_by_ctrl_c(done.interrupt)
    with ends, labelled as steps, closing(outcomes), suppress(TimeLimitError):
        for start, rasters, samples in outcomes:
            if source is not None and start == len(own):
                deadline.check("labelled samples were simulated")
                frames = [data.frame(start + n) for n in range(len(rasters))]
                try:
                    own += source.answers(rasters, frames)
                except NetworkError as error:
                    done.source_failure, source = str(error), None
            for sample in samples:
                with undisturbed():
                    done.add(sample)
                steps(done.samples)
                if progress is not None:
                    progress(done.samples)
    if source is not None and done.samples:
        done.answers["source"] = list(own[: done.samples])
    return done


def _outcomes(
    judge: Judge, data: LabelledData, workers: int | None, deadline: Deadline
) -> Generator[tuple[int, Sequence[Any], Iterator[Judged] | list[Judged]], None, None]:
    """(first sample, rasters, what became of them), in order; the last ones may be short."""
    starts = deque(range(0, len(data.labels), CHUNK))

    def chunk() -> Chunk:
        start = starts.popleft()
        return start, [data.rasters[n] for n in range(start, min(start + CHUNK, len(data.labels)))]

    def here() -> Iterator[Judged]:
        return judge.run(rasters, lambda: deadline.check("labelled samples were simulated"))

    timed = 0
    while starts and not workers:
        begin = time.perf_counter()
        start, rasters = chunk()
        yield start, rasters, here()
        took, timed = time.perf_counter() - begin, timed + 1
        # The first chunk compiles.
        if workers is None and timed >= 2 and took * len(starts) > _WORTH_S:
            break
    if starts:
        yield from _on_cores(judge, starts, chunk, workers or _cores(), deadline)


def _cores() -> int:
    from joblib import cpu_count  # noqa: PLC0415  # loads slowly; knows of limits put on this process

    return int(cpu_count())


def _on_cores(
    judge: Judge, starts: deque[int], chunk: Callable[[], Chunk], count: int, deadline: Deadline
) -> Iterator[tuple[int, Sequence[Any], list[Judged]]]:
    with starting_workers():
        executor = worker_processes(count)
    under_way = deque[tuple[Chunk, Future[list[Judged]]]]()
    try:
        while starts or under_way:
            while starts and len(under_way) < _AHEAD * count:
                given = chunk()
                with starting_workers():
                    future = executor.submit(_run_chunk, judge, given[1], deadline)
                under_way.append((given, future))
            (start, rasters), future = under_way.popleft()
            samples = future.result()
            yield start, rasters, samples
            if len(samples) < len(rasters):
                return
    # Ctrl-C, and whoever closes this generator, raise what is no Exception; all of it is raised again.
    except BaseException:
        executor.shutdown(wait=True, kill_workers=True)
        raise


def _run_chunk(judge: Judge, rasters: Sequence[Any], deadline: Deadline) -> list[Judged]:
    """What a worker does; Ctrl-C reaches it as well, and is left to the process that started it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return judge.run_all(rasters, deadline)
