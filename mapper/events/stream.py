"""Events written as they come, and pixels that never rest."""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mapper.arguments import checked
from mapper.errors import EventError, Finding
from mapper.events.arrays import EVENT_DTYPE, Events, events_from
from mapper.files import Staged, place

__all__ = ["EventWriter", "hot_pixels", "place_all", "without_pixels"]

_PIXEL = np.dtype([("p", "<u2"), ("y", "<u2"), ("x", "<u2")])


@checked
class EventWriter:
    """A .npy file of events that grows by pieces, for recordings larger than memory.

    Use it in a ``with`` block: the file appears under its name when the block ends well, and not at all
    otherwise.

    Raises
    ------
    EventError
        The name does not end in .npy.
    OptionsError
        The file cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path, self.count = Path(path), 0
        if self.path.suffix != ".npy":
            suffix = self.path.suffix or "no suffix"
            raise EventError(Finding(str(path), "events cannot be written in pieces so", suffix, ".npy"))
        self._is_complete = False
        with ExitStack() as stack:
            self._file = stack.enter_context(Staged(self.path))
            self._write_header()
            stack.pop_all()  # from here on it is the block's

    def _write_header(self) -> None:
        # NumPy leaves room in a header for the first axis to grow, so that the last one fits the first.
        header = {"descr": npy.dtype_to_descr(EVENT_DTYPE), "fortran_order": False, "shape": (self.count,)}
        text = io.BytesIO()
        npy.write_array_header_1_0(text, header)
        self._file.write(text.getvalue())

    def complete(self) -> Staged:
        """The whole file, which is to be placed by now."""
        if not self._is_complete:
            self._is_complete = True
            self._file.rewind()
            self._write_header()
        return self._file

    @checked
    def append(self, events: Events) -> None:
        """Write events behind those that are there.

        Raises
        ------
        EventError
            These are no events.
        """
        events = events_from(events, order="any", copy=False)
        self._file.write(np.ascontiguousarray(events, EVENT_DTYPE).tobytes())
        self.count += len(events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None and not self._is_complete:
                place(self.complete())


def place_all(writers: Iterable[EventWriter]) -> None:
    """Let the files of several writers appear before their blocks end: all of them, or none.

    Raises
    ------
    OptionsError
        One of them cannot be written.
    """
    place(*[writer.complete() for writer in writers])


@checked
def hot_pixels(events: Events, *, factor: float = 20.0, rate_hz_min: float = 10.0) -> NDArray[np.void]:
    """Pixels (p, y, x) that spike far more often than the others: defects of a sensor, as a list.

    Parameters
    ----------
    events
        Of the sensor, best with nothing in front of it.
    factor
        How many times the median rate of all pixels that spiked a pixel must exceed, > 1.
    rate_hz_min
        Spikes per second below which no pixel is hot, >= 0.

    Returns
    -------
    array
        Structured, fields p, y, x; the busiest first.

    Raises
    ------
    EventError
        A factor or a rate out of range.
    """
    findings = []
    if not 1 < factor < np.inf:
        findings.append(Finding("factor", "must exceed 1", factor, "> 1"))
    if not 0 <= rate_hz_min < np.inf:
        findings.append(Finding("rate_hz_min", "must not be negative", rate_hz_min, ">= 0", "Hz"))
    if findings:
        raise EventError(*findings)
    events = events_from(events, order="any", copy=False)
    if not len(events):
        return np.empty(0, _PIXEL)
    places, counts = np.unique(_places(events), return_counts=True)
    seconds = max(float(events["t"].max() - events["t"].min()), 1.0) * 1e-6
    hot = (counts > factor * np.median(counts)) & (counts / seconds >= rate_hz_min)
    order = np.argsort(-counts[hot], kind="stable")
    pixels: NDArray[np.void] = places[hot][order]
    return pixels


@checked
def without_pixels(events: Events, pixels: NDArray[np.void]) -> Events:
    """Events of all pixels but these; `pixels` as `hot_pixels` gives them.

    Raises
    ------
    EventError
        These are no events, or no pixels.
    """
    events = events_from(events, order="any", copy=False)
    try:
        places = np.asarray(pixels, _PIXEL)
    except (TypeError, ValueError, OverflowError):
        step = "mapper.events.hot_pixels gives some"
        raise EventError(Finding("pixels", "must be an array of (p, y, x)", next_step=step)) from None
    kept: Events = events[~np.isin(_places(events), places)]
    return kept


def _places(events: Events) -> NDArray[np.void]:
    places = np.empty(len(events), _PIXEL)
    for name in ("p", "y", "x"):
        places[name] = events[name]
    return places
